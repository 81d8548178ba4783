"""Folders and texts that were on macOS and Windows: what these leave behind is passed over, their texts are read."""

import shutil

import cv2
import numpy as np
import pytest
from support.label_lines import label

from training.data.camera_info import read_camera_info
from training.data.kitti.calib import read_calib, write_calib
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import read_objects
from training.data.kitti.sequences import open_sequence
from training.data.kitti.splits import read_ids
from training.data.kitti.timestamps import read_timestamps
from training.data.kitti.velodyne import scans_of
from training.evaluation.folders import read_frames

P2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        "
OST = "image_width: 1242\nimage_height: 375\ncamera_matrix: [700, 0, 620, 0, 700, 180, 0, 0, 1]\n"
LEFT = (".DS_Store", "Thumbs.db", "desktop.ini")
ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big-endian, with a mark": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "lines of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "lines of old Macs": lambda text: text.replace("\n", "\r").encode(),
    "PowerShell": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
}


def litter(folder):
    """What macOS and Windows leave in it, beside each file too."""
    for path in [path for path in folder.rglob("*") if path.name[0] != "."]:
        path.with_name(f"._{path.name}").write_bytes(APPLE)
    for below in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        for name in LEFT:
            (below / name).write_bytes(b"\0\0\0\1Bud1")


@pytest.fixture
def kitti(tmp_path):
    root = tmp_path / "kitti"
    for name in ("image_2", "calib", "label_2", "velodyne"):
        (root / "training" / name).mkdir(parents=True)
    for i in range(2):
        cv2.imwrite(str(root / "training" / "image_2" / f"{i:06d}.png"), np.zeros((375, 1242, 3), np.uint8))
        write_calib(root / "training" / "calib" / f"{i:06d}.txt", P2)
        (root / "training" / "label_2" / f"{i:06d}.txt").write_text(label() + "\n")
        np.zeros(4, np.float32).tofile(root / "training" / "velodyne" / f"{i:06d}.bin")
    return root


def test_what_systems_leave_in_a_kitti_folder_is_passed_over(kitti):
    litter(kitti)
    frames = KittiFolder(kitti)
    assert frames.ids == ["000000", "000001"] and frames.notes == []
    assert len(open_sequence(kitti)) == 2
    images = [frames.image_path(i) for i in range(2)]
    assert scans_of(images, kitti / "training" / "velodyne").stamps is None


def test_what_systems_leave_beside_labels_and_results_is_passed_over(kitti, tmp_path):
    labels = kitti / "training" / "label_2"
    results = tmp_path / "results"
    results.mkdir()
    (results / "000000.txt").write_text(label(score=0.5) + "\n")
    litter(labels)
    litter(results)
    assert read_frames(labels, results).ids == ["000000", "000001"]


def test_what_systems_leave_beside_images_is_passed_over(kitti, tmp_path):
    folder = tmp_path / "drive"
    shutil.copytree(kitti / "training" / "image_2", folder / "images")
    write_calib(folder / "calib.txt", P2)
    (folder / "__MACOSX").mkdir()
    cv2.imwrite(str(folder / "__MACOSX" / "a.png"), np.zeros((9, 9, 3), np.uint8))
    litter(folder)
    assert [path.name for path in open_sequence(folder).images] == ["000000.png", "000001.png"]
    (folder / "calib.txt").unlink()
    (folder / "ost.yaml").write_text(
        "image_width: 1242\nimage_height: 375\ncamera_matrix: [700, 0, 620, 0, 700, 180, 0, 0, 1]"
    )
    (folder / "._ost.yaml").write_text((folder / "ost.yaml").read_text())
    assert open_sequence(folder).camera.fu == 700


def test_what_systems_leave_beside_tracking_drives_is_passed_over(kitti):
    base = kitti / "training"
    (base / "image_02").mkdir()
    shutil.copytree(base / "image_2", base / "image_02" / "0003")
    shutil.copytree(base / "image_2", base / "image_02" / "._0003")
    shutil.rmtree(base / "image_2")
    for name in ("0003", "._0003"):
        write_calib(base / "calib" / f"{name}.txt", P2)
    assert open_sequence(kitti).name == "0003"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_are_read_in_every_encoding(tmp_path, encoding):
    path, encode = tmp_path / "file.txt", ENCODINGS[encoding]
    path.write_bytes(encode(f"{label()}\n{label('Van')}\n"))
    assert read_objects(path).names.tolist() == ["Car", "Van"]
    path.write_bytes(encode("000001\n000002\n"))
    assert read_ids(path) == ["000001", "000002"]
    path.write_bytes(encode("1.25\n2.5\n"))
    assert read_timestamps(path).tolist() == [1_250_000_000, 2_500_000_000]
    write_calib(path, P2)
    path.write_bytes(encode(path.read_text()))
    np.testing.assert_array_equal(read_calib(path).P2, P2)
    yaml = tmp_path / "ost.yaml"
    yaml.write_bytes(
        encode("image_width: 1242\nimage_height: 375\ncamera_matrix: [700, 0, 620, 0, 700, 180, 0, 0, 1]\n")
    )
    assert read_camera_info(yaml).camera.fu == 700


@pytest.mark.parametrize(
    "name",
    [".DS_Store", ".ipynb_checkpoints", "@eaDir", "THUMBS.DB", "Desktop.ini", "__MACOSX", "Icon\r", "lost+found"],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_things_that_systems_leave_are_no_data(kitti, tmp_path, name, kind):
    """fastai 488, MIST 33, openneuro 2520, cellfinder-napari 88; folders of Jupyter and of a Synology."""
    drive = tmp_path / "drive"
    shutil.copytree(kitti / "training" / "image_2", drive / "images")
    write_calib(drive / "calib.txt", P2)
    for folder in (*(kitti / "training").iterdir(), kitti, drive, drive / "images"):
        if kind == "file":
            (folder / name).write_bytes(APPLE)
            continue
        (folder / name).mkdir()
        for file in ("000000.png", "000000.txt", "000000.bin"):
            (folder / name / file).write_bytes(APPLE)
    assert KittiFolder(kitti).ids == ["000000", "000001"] and KittiFolder(kitti).notes == []
    assert [path.name for path in open_sequence(drive).images] == ["000000.png", "000001.png"]


def test_a_number_with_a_mark_in_front_is_a_number(tmp_path):
    """numpy 18861: the mark of UTF-8 makes the first value none for others."""
    path = tmp_path / "timestamps.txt"
    path.write_bytes(b"\xef\xbb\xbf1.25\n2.5\n")
    assert read_timestamps(path).tolist() == [1_250_000_000, 2_500_000_000]
    path.write_bytes("\ufeff\n000001\n\n000002  \n".encode("utf-16-le"))
    assert read_ids(path) == ["000001", "000002"]
