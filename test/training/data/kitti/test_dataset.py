"""KITTI's object layout is read as it stands, and every broken file is named at the start."""

from __future__ import annotations

import pickle
import shutil

import cv2
import numpy as np
import pytest

from training.data.images import ImageError, image_size, read_image
from training.data.kitti.calib import CalibrationError, read_calib, write_calib
from training.data.kitti.dataset import KittiError, KittiFolder, split_folder
from training.data.kitti.splits import published_split, read_ids

P2 = np.array([[700.5, 0, 59.25, 44.857], [0, 701.5, 17.125, 0.216], [0, 0, 1, 0.00274]])
LABEL = "Car 0.10 1 1.20 10.00 5.00 60.00 30.00 1.50 1.60 3.90 1.00 1.65 12.00 -1.57\n"
DONT_CARE = "DontCare -1 -1 -10 5.00 2.00 9.00 8.00 -1 -1 -1 -1000 -1000 -1000 -10\n"
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """Three frames of training, one of testing; the third is a JPEG of another size."""
    root = tmp_path / "kitti"
    for split, ids in (("training", ("000000", "000001", "000002")), ("testing", ("000000",))):
        for name in ("image_2", "calib", "velodyne", "depth_2", *(["label_2"] if split == "training" else [])):
            (root / split / name).mkdir(parents=True)
        for i in ids:
            last = i == "000002"
            width, height = (100, 30) if last else (120, 40)
            image = np.full((height, width, 3), (10, 20, 200), np.uint8)  # BGR: red
            assert cv2.imwrite(str(root / split / "image_2" / f"{i}.{'jpg' if last else 'png'}"), image)
            write_calib(root / split / "calib" / f"{i}.txt", P2)
            with open(root / split / "calib" / f"{i}.txt", "a") as file:
                file.write("Tr_velo_to_cam: 0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3\n")
            np.array([[10, 0, 0, 0.5]], np.float32).tofile(root / split / "velodyne" / f"{i}.bin")
            depth = np.full((height, width), 2570, np.uint16)
            assert cv2.imwrite(str(root / split / "depth_2" / f"{i}.png"), depth)
            if split == "training":
                (root / split / "label_2" / f"{i}.txt").write_text("" if last else LABEL + DONT_CARE)
    return root


@pytest.mark.parametrize("held", ["image_2", "label_2"])
def test_a_split_is_its_folder_where_that_holds_images_or_labels_alone(tmp_path, held):
    (tmp_path / "training").mkdir()
    assert split_folder(tmp_path, "training") == tmp_path
    (tmp_path / "training" / held).mkdir()
    assert split_folder(tmp_path, "training") == tmp_path / "training"
    assert split_folder(tmp_path / "training", "training") == tmp_path / "training"
    assert split_folder(tmp_path, "testing") == tmp_path


def test_labelled_frames_without_an_image_are_told(folder):
    def notes(frames):
        return [note for note in frames.notes if "P2" not in note]  # these images are tiny for their focal length

    assert notes(KittiFolder(folder)) == []
    (folder / "training" / "image_2" / "000001.png").unlink()
    (folder / "training" / "label_2" / "000007.txt").write_text("")  # and no calib: of another source
    frames = KittiFolder(folder)
    assert frames.ids == ["000000", "000002"] and notes(frames) == ["1 labelled frame has no image: 000001"]
    assert notes(KittiFolder(folder, ["000000"])) == []
    (folder / "training" / "image_2" / "000002.jpg").unlink()
    assert notes(KittiFolder(folder)) == ["2 labelled frames have no image: 000001, 000002"]


def test_a_calibration_of_another_resolution_is_told(folder):
    """Images that were resized without their calib are read as ever, and learnt from at wrong distances."""
    assert not KittiFolder(folder, ["000000"]).doubts
    image = folder / "training" / "image_2" / "000000.png"
    assert cv2.imwrite(str(image), np.zeros((80, 240, 3), np.uint8))
    frames = KittiFolder(folder, ["000000", "000001"])
    (note,) = frames.notes
    assert list(frames.doubts) == ["000000"]
    assert note.startswith("1 frames have a P2 that looks wrong") and "2 times its first two rows" in note


def test_a_frame_is_what_its_files_say(folder):
    frames = KittiFolder(folder)
    assert len(frames) == 3 and frames.ids == ["000000", "000001", "000002"]
    sample = frames.sample(0)
    assert sample.id == "000000" and sample.image.shape == (40, 120, 3) and sample.image.dtype == np.uint8
    assert (sample.image == (200, 20, 10)).all(), "RGB"
    np.testing.assert_array_equal(sample.camera.P, P2)
    assert (sample.camera.width, sample.camera.height) == (120, 40)
    assert sample.objects.names.tolist() == ["Car", "DontCare"] and sample.depth is None
    np.testing.assert_allclose(sample.objects.boxes[0], [1, 0.9, 12, 3.9, 1.6, 1.5, -1.57])
    other = frames.sample(2)
    assert (other.camera.width, other.camera.height) == (100, 30) == (frames.camera(2).width, frames.camera(2).height)
    assert len(other.objects) == 0


def test_the_split_folder_itself_is_accepted_and_testing_has_no_labels(folder):
    assert len(KittiFolder(folder / "training")) == 3
    testing = KittiFolder(folder, split="testing", depth="lidar")
    assert len(testing) == 1 and len(testing.sample(0).objects) == 0
    assert len(KittiFolder(folder / "testing", split="testing")) == 1
    with pytest.raises(ValueError, match="labels, which the testing split does not have"):
        KittiFolder(folder, split="testing", depth="object")


def test_ids_choose_and_order_the_frames(folder):
    assert [KittiFolder(folder, ["000002", "000000"]).sample(i).id for i in (0, 1)] == ["000002", "000000"]


def test_depth_sources(folder):
    dense = KittiFolder(folder, depth="dense").sample(0).depth
    assert dense.dtype == np.float32 and (dense == np.float32(2570 / 256)).all()
    # One point 10 m ahead of the velodyne: (0.1, -0.2, 9.7) in the camera's frame.
    lidar = KittiFolder(folder, depth="lidar").sample(0).depth
    depth = 9.7 + P2[2, 3]
    u, v = (700.5 * 0.1 + 59.25 * 9.7 + 44.857) / depth, (701.5 * -0.2 + 17.125 * 9.7 + 0.216) / depth
    assert np.argwhere(lidar).tolist() == [[round(v), round(u)]]
    assert lidar.max() == pytest.approx(depth, abs=1e-5)
    surfaces = KittiFolder(folder, depth="object").sample(0).depth
    assert 9 < surfaces[surfaces > 0].min() < 12
    with pytest.raises(ValueError, match="depth source 'stereo' is unknown"):
        KittiFolder(folder, depth="stereo")


def test_all_broken_files_are_named_in_one_error(folder):
    training = folder / "training"
    (training / "image_2" / "000000.png").write_bytes(b"")
    whole = (training / "image_2" / "000001.png").read_bytes()
    (training / "image_2" / "000001.png").write_bytes(whole[: len(whole) // 2])
    (training / "image_2" / "000002.jpg").unlink()
    (training / "calib" / "000001.txt").write_text("P2: 1 2 3\n")
    (training / "label_2" / "000000.txt").write_text("Car 0.1 1 x\n")
    (training / "label_2" / "000001.txt").unlink()
    (training / "velodyne" / "000002.bin").write_bytes(b"123")
    with pytest.raises(KittiError) as caught:
        KittiFolder(folder, ["000000", "000001", "000002", "000009"], depth="lidar")
    message = str(caught.value)
    assert "4 of 4 frames cannot be used" in message
    for part in (
        "image_2/000000.png: the file is empty",
        "image_2/000001.png: the file is cut off",
        "image_2/000002.png",
        "calib/000001.txt, line 1: 'P2' needs 12 numbers, it has 3",
        "label_2/000000.txt, line 1",
        "label_2/000001.txt",
        "velodyne/000002.bin: 3 bytes",
        "calib/000009.txt",
    ):
        assert part in message, part
    assert sum(map(len, caught.value.problems.values())) == 11


def test_long_lists_are_capped_but_counted(folder):
    with pytest.raises(KittiError) as caught:
        KittiFolder(folder, [f"1{i:05d}" for i in range(500)])
    assert "image missing (500)" in str(caught.value) and "and 490 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 50
    assert len(caught.value.problems["image missing"]) == 500


@pytest.mark.parametrize("stored", [np.zeros((40, 120), np.uint8), np.zeros((40, 120, 3), np.uint16)])
def test_depth_images_of_another_kind_are_refused(folder, stored):
    cv2.imwrite(str(folder / "training" / "depth_2" / "000000.png"), stored)
    with pytest.raises(KittiError, match=r"depth_2/000000.png: .*16-bit"):
        KittiFolder(folder, depth="dense")


def test_depth_images_of_another_size_are_refused(folder):
    cv2.imwrite(str(folder / "training" / "depth_2" / "000001.png"), np.zeros((40, 119), np.uint16))
    with pytest.raises(KittiError, match="119x40 pixels, its image has 120x40"):
        KittiFolder(folder, depth="dense")


def test_folders_that_are_no_kitti_folders_are_refused(tmp_path, folder):
    with pytest.raises(KittiError, match="no such folder"):
        KittiFolder(tmp_path / "nowhere")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(KittiError, match=r"not KITTI's object layout: training/image_2 .* found kitti, pictures"):
        KittiFolder(tmp_path)
    with pytest.raises(KittiError, match="no ids given"):
        KittiFolder(folder, [])
    with pytest.raises(KittiError, match=r"id given twice \(1\)"):
        KittiFolder(folder, ["000000", "000000"])
    shutil.rmtree(folder / "training" / "label_2")
    with pytest.raises(KittiError, match="split 'testing'"):
        KittiFolder(folder)


def test_a_folder_travels_to_workers(folder):
    frames = pickle.loads(pickle.dumps(KittiFolder(folder)))
    assert frames.sample(1).id == "000001"


def test_calibrations_of_all_layouts(tmp_path):
    numbers = " ".join(f"{value:.6e}" for value in P2.ravel())
    R, Tr = "0 1 0 0 0 1 1 0 0", "0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3"
    path = tmp_path / "calib.txt"
    path.write_text(f"P0: x\nP2: {numbers}\n\n")
    calib = read_calib(path)
    np.testing.assert_allclose(calib.P2, P2)
    assert calib.Tr_velo_to_cam is None and (calib.R0_rect == np.eye(3)).all()
    with pytest.raises(CalibrationError, match="no 'Tr_velo_to_cam'"):
        calib.velodyne_to_camera(np.zeros((1, 3)))
    for keys in (("P2:", "R0_rect:", "Tr_velo_to_cam:"), ("P2:", "R_rect", "Tr_velo_cam")):
        path.write_text("".join(f"{k} {v}\n" for k, v in zip(keys, (numbers, R, Tr), strict=True)))
        calib = read_calib(path)
        # (1, 2, 3) -> Tr: (-1.9, -3.2, 0.7) -> R: (y, z, x)
        np.testing.assert_allclose(calib.velodyne_to_camera(np.array([[1.0, 2, 3]])), [[-3.2, 0.7, -1.9]])
    raw = tmp_path / "calib_cam_to_cam.txt"
    raw.write_text(f"calib_time: 09-Jan-2012 13:57:47\nR_rect_00: {R}\nP_rect_02: {numbers}\n")
    (tmp_path / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0.1 -0.2 -0.3\n")
    np.testing.assert_allclose(read_calib(raw).velodyne_to_camera(np.array([[1.0, 2, 3]])), [[-3.2, 0.7, -1.9]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing"),
        ("P0: 1 2\nP1: 3", "found P0, P1"),
        ("\nP2: 1 2 3 4 5 6 7 8 9 10 11", "line 2: 'P2' needs 12 numbers, it has 11"),
        ("P2: 1 2 3 4 5 6 7 8 9 10 11 x", "line 1: 'P2' needs 12 numbers: .*'x'"),
        ("P2: 1 2 3 4 5 6 7 8 9 10 11 nan", "not finite"),
        ("P2: 0 0 0 0 0 0 0 0 0 0 0 0", "not calibrated"),
        ("P2: 7 0 1 0 0 7 1 0 0 0 1 0\nP2: 8 0 1 0 0 7 1 0 0 0 1 0", "line 2: 'P2' stands twice"),
        ("P2: 7 0 1 0 0 7 1 0 0 0 1 0\nR0_rect: 1", "'R0_rect' needs 9 numbers, it has 1"),
        ("\x89PNG\x00\x01\x02\ufffd", "'P2: ' with 12 numbers"),
    ],
)
def test_bad_calibrations_name_file_line_and_key(tmp_path, text, message):
    path = tmp_path / "odd.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calib(path)
    assert str(path) in str(caught.value)


def test_written_calibrations_come_back_exactly(tmp_path):
    P = P2 + 1e-13 * RNG.random((3, 4))
    write_calib(tmp_path / "c.txt", P)
    assert (read_calib(tmp_path / "c.txt").P2 == P).all()


def test_published_split_is_whole_and_disjoint():
    train, val = published_split("chen_train"), published_split("chen_val")
    assert (len(train), len(val)) == (3712, 3769) and not set(train) & set(val)
    assert sorted(train + val) == [f"{i:06d}" for i in range(7481)] == published_split("trainval")
    assert train == sorted(train) and val == sorted(val)
    assert train[:3] == ["000000", "000003", "000007"] and val[:3] == ["000001", "000002", "000004"]
    with pytest.raises(ValueError, match="chen_train, chen_val, trainval"):
        published_split("chen_test")


def test_published_split_is_the_published_one(kitti_mini):
    for name in ("chen_train", "chen_val"):
        assert read_ids(name) == (kitti_mini / "ImageSets" / f"{name}.txt").read_text().split()


def test_ids_from_a_file(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("\ufeff# mine\r\n000003\r\n\r\n 000001 \r\n", encoding="utf-8")
    assert read_ids(path) == ["000003", "000001"]
    for text, message in (
        ("000001\n000002\n000001\n", "line 3: id 000001 stands in line 1"),
        ("000001 1\n", "line 1: one frame id per line"),
        ("../000001\n", "line 1: one frame id per line"),
        ("\n# none\n", "no frame ids"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_ids(path)
    with pytest.raises(FileNotFoundError, match="chen_train"):
        read_ids(tmp_path / "chen_trian")


def test_ids_of_a_path_from_here_go_before_those_of_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    (root / "ids").write_text("000002\n")
    assert read_ids("ids", root) == read_ids(root / "ids", root) == ["000002"]
    (tmp_path / "ids").write_text("000001\n")
    assert read_ids("ids", root) == ["000001"]
    with pytest.raises(FileNotFoundError, match=rf"ids at nowhere or {root}/nowhere; give"):
        read_ids("nowhere", root)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("size", [(1, 1), (37, 5), (1300, 3)])
def test_image_headers_tell_the_size(tmp_path, suffix, size):
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), RNG.integers(0, 256, (size[1], size[0], 3), np.uint8))
    assert image_size(path) == size
    path.write_bytes(path.read_bytes()[:-4][: 1 << 20])
    cut = path.read_bytes()[: path.stat().st_size * 2 // 3]
    path.write_bytes(cut)
    with pytest.raises(ImageError, match="image"):
        image_size(path)


def test_images_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("text.png", "empty.png", "nowhere.png"):
        for read in (read_image, image_size):
            with pytest.raises(ImageError, match=name):
                read(tmp_path / name)


def test_grey_and_16_bit_images_become_rgb(tmp_path):
    for i, stored in enumerate((np.full((4, 6), 7, np.uint8), np.full((4, 6, 3), 7 * 257, np.uint16))):
        cv2.imwrite(str(tmp_path / f"{i}.png"), stored)
        image = read_image(tmp_path / f"{i}.png")
        assert image.shape == (4, 6, 3) and image.dtype == np.uint8 and (image == 7).all()


def test_real_frames_are_read(kitti_mini):
    frames = KittiFolder(kitti_mini, read_ids(kitti_mini / "ImageSets" / "val.txt"))
    assert len(frames) == 25
    sample = frames.sample(0)
    assert sample.image.shape[2] == 3 and sample.camera.P[0, 3] != 0 and len(sample.objects)
    with pytest.raises(KittiError, match=r"velodyne file missing \(20\)"):
        KittiFolder(kitti_mini, depth="lidar")
