"""The walk-through of docs/user/own_camera.md, scaled down: another camera's bag to a model of one's own."""

import importlib
import json
import sys

import numpy as np
import pytest
import yaml
from support.paths import ROOT
from support.training_bench import Training

from add_model.classes import ClassSpec
from add_model.metadata import read_classes
from add_model.registry import adapter_for, build
from add_ros import export_bag
from training import export as export_model
from training import inspect_data, labels, predict
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids

sys.path.insert(0, str(ROOT / "benchmarks"))
walk = importlib.import_module("own_camera")
del sys.path[0]

NAMES = walk.NAMES
SMALL = {"width": 320, "height": 180, "focal": 200.0}


def record(path, street, count, labelled):
    return walk.record(path, [street], count, labelled, SMALL)


def run(command, *arguments):
    assert command([str(a) for a in arguments]) == 0


@pytest.mark.slow
def test_from_bags_to_a_model_of_ones_own_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = record(tmp_path / "drive_1", 0, 7, 6), record(tmp_path / "drive_2", 3, 4, 4)
    run(export_bag.main, first, second, "--out", "data", "--level")
    run(inspect_data.main, "check", "data", "--page", "check.html")
    run(inspect_data.main, "classes", "data", "--names", *NAMES.values(), "--out", "classes.yaml")
    classes = yaml.safe_load((tmp_path / "classes.yaml").read_text())["model"]["classes"]
    assert [kind["name"] for kind in classes] == list(NAMES.values())
    lists = {p.stem for p in (tmp_path / "data" / "ImageSets").iterdir()}
    assert lists == {"train", "val", "trainval", "unlabelled"}

    # Boxes stand on the floor: the export has turned them to the level view.
    frames = KittiFolder("data", read_ids("data/ImageSets/trainval.txt"))
    boxes = np.concatenate([frames.objects(i).boxes for i in range(len(frames))])
    bottoms = boxes[:, 1] + boxes[:, 5] / 2
    assert np.median(bottoms) == pytest.approx(1.1, abs=0.1)  # the robot sways

    import torch

    torch.manual_seed(0)
    spec = ClassSpec.from_json(json.dumps(classes))
    detector = build("monodle_plain", spec)
    parts = {"detector.": detector, "objective.depth_branch.": adapter_for("monodle_plain").depth_branch(detector)}
    weights = {f"{head}{key}": value for head, part in parts.items() for key, value in part.state_dict().items()}
    torch.save({"model_name": "monodle_plain", "class_spec": spec.to_json(), "state_dict": weights}, "teacher.ckpt")
    run(predict.main, "--kitti", "data", "--teacher", "teacher.ckpt", "--device", "cpu", "--out", "pre")
    run(labels.main, "export", "--data", "data", "--results", "pre", "--format", "sustechpoints", "--out", "correct")
    few = ("--kitti", "data", "--ids", "data/ImageSets/unlabelled.txt", "--teacher", "teacher.ckpt", "--device", "cpu")
    run(predict.main, *few, "--out", "few")
    assert [p.stem for p in (tmp_path / "few").iterdir()] == read_ids("data/ImageSets/unlabelled.txt") == ["000006"]
    run(labels.main, "export", "--data", "data", "--format", "cvat", "--out", "cvat")
    run(labels.main, "import", "--data", "data", "--format", "cvat", "--from", "cvat", "--replace")

    distil = {"class_path": "training.objectives.ADDDistillation", "init_args": {"teacher": "teacher.ckpt"}}
    config = {
        "model": {"name": "monodle_plain", "init_weights": None, "objective": distil},
        "data": {
            "class_path": "training.data.data_module.KittiData",
            "init_args": {
                "train": "ImageSets/train.txt", "val": "ImageSets/val.txt", "depth": "lidar", "batch_size": 2,
                "num_workers": 0, "augmentation": {"size": [64, 64]},
            },
        },
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False, "limit_train_batches": 2},
    }  # fmt: skip
    (tmp_path / "student.yaml").write_text(yaml.safe_dump(config))
    training = Training(
        tmp_path, "fit", "--config", "student.yaml", "--config", "classes.yaml", "--data", "data",
        "--run-dir", "run", "--monitor", "val/forklift_3d_moderate",
    )  # fmt: skip
    assert training.finish() == 0, training.text()
    run(export_model.main, "--checkpoint", "run/last.ckpt", "--out", "mine")
    assert read_classes(tmp_path / "mine.onnx").names == tuple(NAMES.values())
    run(predict.main, "--kitti", "data", "--ids", "data/ImageSets/val.txt", "--model", "mine.onnx", "--out", "found")
    assert len(list((tmp_path / "found").iterdir())) == len((tmp_path / "data/ImageSets/val.txt").read_text().split())


def test_the_page_has_the_commands_that_are_timed():
    page = " ".join((ROOT / "docs/user/own_camera.md").read_text().replace("\\\n", " ").split())
    for command in (*walk.COMMANDS, *walk.NODE):
        assert command in page
