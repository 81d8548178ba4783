"""add-ros data: what is wrong with a data set is named, a good one passes, and classes are measured."""

import shutil

import cv2
import numpy as np
import pytest
import yaml

from add_model.classes import KITTI_CLASSES, ClassSpec
from training import inspect_data
from training.data.kitti.calib import write_calib
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import write_objects
from training.data.world.world import World
from training.world import write_folder

COUNT = 24  # frames: fewer would be too few for a judgement


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    world = World(width=310, height=94, focal=180)
    write_folder(root, map(world.sample, range(COUNT)), 0, "train", scanner=True)
    ids = [f"{i:06d}" for i in range(COUNT)]
    for name, part in (("train", ids[:18]), ("val", ids[18:])):
        (root / "ImageSets" / f"{name}.txt").write_text("".join(f"{i}\n" for i in part))
    return root


@pytest.fixture
def data(made, tmp_path):
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def relabel(data, change):
    """Write the labels anew: change(objects) -> objects."""
    frames = KittiFolder(data)
    for i, name in enumerate(frames.ids):
        write_objects(data / "training" / "label_2" / f"{name}.txt", change(frames.objects(i)))


def boxes(change):
    from dataclasses import replace

    return lambda objects: replace(objects, boxes=change(objects.boxes))


def check(data, capsys, *options):
    status = inspect_data.main(["check", str(data), *options])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_good_data_set_passes_with_its_counts_and_a_page(data, tmp_path, capsys):
    status, out, err = check(data, capsys, "--page", str(tmp_path / "check.html"), "--pictures", "3")
    assert status == 0 and "fault" not in err
    frames = KittiFolder(data)
    every = [frames.objects(i) for i in range(COUNT)]
    cars = sum(int((objects.names == "Car").sum()) for objects in every)
    (row,) = (line.split() for line in out.splitlines() if line.split()[:1] == ["Car"])
    assert int(row[1]) == cars == sum(map(int, row[3:8]))
    page = (tmp_path / "check.html").read_text()
    assert page.count("<figure>") == 3 and f">{cars}<" in page
    assert "train: 18 frames" in out and "val: 6 frames" in out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (boxes(lambda b: np.c_[b[:, :6], 100 * b[:, 6]]), "degrees, where radians are needed"),
        (boxes(lambda b: np.multiply(b, [-1, 1, 1, 1, 1, 1, 1])), "do not lie where the 3D boxes project"),
        (boxes(lambda b: np.full_like(b, np.nan)), "no object has a 3D box"),
    ],
    ids=["degrees", "mirrored", "2D alone"],
)
def test_faults_that_make_training_useless_are_named(change, sentence, data, capsys):
    relabel(data, change)
    status, _, err = check(data, capsys)
    assert status == 1 and sentence in err


def test_scans_of_another_place_are_a_fault(data, capsys):
    for path in (data / "training" / "velodyne").iterdir():
        points = np.fromfile(path, "<f4").reshape(-1, 4)
        path.write_bytes((points + np.float32([0, 25, 0, 0])).tobytes())
    status, _, err = check(data, capsys)
    assert status == 1 and "have no points of the scans" in err


def test_frames_and_pictures_in_two_splits_are_named(data, capsys):
    images = data / "training" / "image_2"
    again = cv2.imread(str(images / "000003.png"))
    cv2.imwrite(str(images / "000020.jpg"), again, [cv2.IMWRITE_JPEG_QUALITY, 85])
    (images / "000020.png").unlink()
    status, out, _ = check(data, capsys)
    assert status == 0 and "1 pictures of val are in train too (000003 and 000020)" in out
    with (data / "ImageSets" / "val.txt").open("a") as file:
        file.write("000001\n")
    assert "1 frames are in both train and val" in check(data, capsys)[2]


def test_oddities_are_notes_and_no_faults(data, capsys):
    def one_large_and_one_bare(objects, count=iter(range(99))):  # noqa: B008
        number = next(count)
        if number == 0:
            return objects[:0]
        grown = objects.boxes.copy()
        if number == 1:
            grown[np.flatnonzero(objects.names == "Car")[:1], 3] *= 3
        return boxes(lambda _: grown)(objects)

    relabel(data, one_large_and_one_bare)
    status, out, _ = check(data, capsys)
    assert status == 0 and "frames have no object: 000000" in out and "are far from their class's: 000001" in out


def test_calibrations_that_are_of_other_images_are_faults(data, capsys):
    frames = KittiFolder(data)
    for i, name in enumerate(frames.ids):
        half = np.diag([0.25, 0.25, 1]) @ frames.calib(i).P2
        write_calib(data / "training" / "calib" / f"{name}.txt", half, frames.calib(i).Tr_velo_to_cam)
    status, _, err = check(data, capsys)
    assert status == 1 and f"the calibration of {COUNT} frames can hardly be of their images" in err


def test_headings_that_were_never_labelled_are_noted(data, capsys):
    relabel(data, boxes(lambda b: np.c_[b[:, :6], np.where(np.isnan(b[:, 6]), np.nan, 0.0)]))
    assert "Car: 100% of the headings are about 0 degrees, all the same" in check(data, capsys)[1]


def test_classes_are_measured_and_go_into_a_training(data, tmp_path, capsys):
    from dataclasses import replace

    relabel(data, lambda objects: replace(objects, names=np.where(objects.names == "Car", "fork_lift", objects.names)))
    assert (
        inspect_data.main(
            ["classes", str(data), "--names", "fork_lift", "Pedestrian", "--out", str(tmp_path / "c.yaml")]
        )
        == 0
    )
    content = yaml.safe_load((tmp_path / "c.yaml").read_text())["model"]["classes"]
    frames = KittiFolder(data)
    every = [frames.objects(i) for i in range(COUNT)]
    sizes = np.concatenate([o.boxes[o.names == "fork_lift"][:, 3:6] for o in every])
    assert content[0]["name"] == "fork_lift" and content[0]["min_overlap"] == 0.7
    np.testing.assert_allclose(content[0]["mean_size"], np.nanmean(sizes, axis=0), atol=6e-4)
    assert content[1]["look_alikes"] == ["Person_sitting"]
    assert inspect_data.main(["classes", str(data), "--out", str(tmp_path / "c.json"), "--least", "1"]) == 0
    spec = ClassSpec.from_json((tmp_path / "c.json").read_text())
    assert spec.names[0] == "fork_lift" and "DontCare" not in spec.names
    assert inspect_data.main(["classes", str(data), "--names", "zebra"]) == 1
    assert "no 3D box is labelled zebra; types with boxes: fork_lift (" in capsys.readouterr().err


def test_a_class_of_its_own_is_no_look_alike(data, capsys):
    from dataclasses import replace

    relabel(
        data, lambda o: replace(o, names=np.where((o.names == "Car") & (np.arange(len(o)) % 2 == 1), "Van", o.names))
    )
    assert inspect_data.main(["classes", str(data), "--names", "Car", "Van"]) == 0
    car, _ = yaml.safe_load(capsys.readouterr().out)["model"]["classes"]
    assert car["look_alikes"] == ["Truck"] and "neighbours" not in car
    assert KITTI_CLASSES.classes[0].look_alikes == ("Van", "Truck")


def test_frames_without_labels_are_left_out(data, capsys):
    (data / "training" / "label_2" / "000023.txt").unlink()
    assert f"{COUNT - 1} frames" in check(data, capsys)[1]
