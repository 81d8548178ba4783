"""add-ros predict --teacher: the teacher sees each frame's scan, and its results become labels to learn from."""

import shutil

import numpy as np
import pytest
import torch

from add_model.errors import ModelError
from add_model.registry import adapter_for, build
from training import labels, predict
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import read_table
from training.data.views import Scenes
from training.data.world.world import World
from training.lightning_module import LitDetector
from training.objectives import TeacherTraining
from training.teacher_predictor import TeacherPredictor
from training.world import write_folder

COUNT = 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A teacher with random weights, whose depth branch says something."""
    torch.manual_seed(0)
    detector = build("monodle_plain")
    branch = adapter_for("monodle_plain").depth_branch(detector)
    for weight in branch.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    parts = {"detector.": detector, "objective.depth_branch.": branch}
    weights = {f"{head}{name}": value for head, part in parts.items() for name, value in part.state_dict().items()}
    path = tmp_path_factory.mktemp("teacher") / "last.ckpt"
    torch.save({"model_name": "monodle_plain", "state_dict": weights}, path)
    return path


@pytest.fixture
def data(tmp_path):
    """An export without labels, one of whose frames has no scan."""
    world = World(width=310, height=94, focal=180)
    write_folder(tmp_path / "data", map(world.sample, range(COUNT)), 0, "all", scanner=True)
    shutil.move(tmp_path / "data" / "training" / "label_2", tmp_path / "hidden")
    (tmp_path / "data" / "training" / "velodyne" / "000002.bin").unlink()
    return tmp_path / "data"


def run(*arguments):
    return predict.main([*map(str, arguments), "--device", "cpu"])


def test_results_are_those_of_the_teacher_as_validation_has_it(checkpoint, data, tmp_path, capsys):
    assert run("--kitti", data, "--teacher", checkpoint, "--out", tmp_path / "pre") == 0
    captured = capsys.readouterr()
    assert "1 frame has no scan, and is left out: 000002" in captured.err and captured.out.startswith("3 frames, ")
    module = LitDetector("monodle_plain", init_weights=None, objective=TeacherTraining())
    module.load_state_dict(torch.load(checkpoint)["state_dict"])
    frames = KittiFolder(data / "training", ["000000", "000001", "000003"], "testing", depth="lidar")
    scenes = Scenes(frames, module.detector.focal, module.detector.size_multiple)
    for i, name in enumerate(frames.ids):
        with torch.inference_mode():
            expected = module.eval()._detect(scenes[i])
        table = read_table(tmp_path / "pre" / f"{name}.txt", scores=True)
        assert len(table) == len(expected) > 0
        np.testing.assert_allclose(table.values[:, -1], expected.scores, rtol=1e-5)


def test_the_teacher_looks_at_depth(checkpoint, data, tmp_path):
    scores = []
    for name, near in (("near", 0.5), ("far", 2.0)):
        for path in (data / "training" / "velodyne").iterdir():
            points = np.fromfile(path, "<f4").reshape(-1, 4)
            path.write_bytes((points * np.float32([near, near, near, 1])).tobytes())
        assert run("--kitti", data, "--teacher", checkpoint, "--out", tmp_path / name) == 0
        scores.append(read_table(tmp_path / name / "000000.txt", scores=True).values[:, -1])
    assert len(scores[0]) != len(scores[1]) or not np.allclose(*scores)


def test_pre_labels_become_labels_of_the_data_set(checkpoint, data, tmp_path, capsys):
    assert run("--kitti", data, "--teacher", checkpoint, "--out", tmp_path / "pre") == 0
    tables = {path.stem: read_table(path, scores=True) for path in (tmp_path / "pre").iterdir()}
    least = float(np.median(np.concatenate([table.values[:, -1] for table in tables.values()])))
    options = ["--data", data, "--format", "kitti", "--from", tmp_path / "pre", "--min-score", least, "--trust"]
    assert labels.main(["import", *map(str, options)]) == 0
    frames = KittiFolder(data, sorted(tables))
    assert labels.main(["import", *map(str, options[:-2]), "1.5", "--trust", "--replace"]) == 1
    assert "no box has a score of 1.5 or more, the best has 0." in capsys.readouterr().err
    for i, (_, table) in enumerate(sorted(tables.items())):
        kept = table.values[table.values[:, -1] >= least]
        objects = frames.objects(i)
        np.testing.assert_allclose(objects.boxes[:, 3:6], kept[:, [9, 8, 7]])
        np.testing.assert_allclose(objects.boxes[:, 0], kept[:, 10])


def test_what_is_no_teacher_or_has_no_scan_is_one_sentence(checkpoint, data, tmp_path, capsys):
    student = tmp_path / "student.ckpt"
    held = torch.load(checkpoint)
    held["state_dict"] = {k: v for k, v in held["state_dict"].items() if k.startswith("detector.")}
    torch.save(held, student)
    assert run("--kitti", data, "--teacher", student, "--out", tmp_path / "a") == 1
    assert "is no teacher: train one with model.objective TeacherTraining" in capsys.readouterr().err
    for usage, words in (
        (("--depth", "lidar"), "--depth is what a --teacher sees"),
        (("--teacher", checkpoint, "--camera-height", 1), "are for a --model"),
        (("--teacher", checkpoint, "--ground-slope-std", 1), "are for a --model"),
    ):
        with pytest.raises(SystemExit) as end:
            run("--kitti", data, *usage, "--out", tmp_path / "a")
        assert end.value.code == 2 and words in capsys.readouterr().err
    shutil.rmtree(data / "training" / "velodyne")
    assert run("--kitti", data, "--teacher", checkpoint, "--out", tmp_path / "a") == 1
    assert "no frame has a scan in velodyne" in capsys.readouterr().err


def test_a_student_detects_in_an_export_without_labels(data, tmp_path):
    assert run("--kitti", data, "--out", tmp_path / "found") == 0
    assert len(list((tmp_path / "found").iterdir())) == COUNT


def test_a_teacher_runs_in_torch_alone(checkpoint):
    with pytest.raises(ModelError, match="device npu: torch runs a teacher, on cpu or cuda"):
        TeacherPredictor(checkpoint, "npu")


@pytest.mark.parametrize(
    ("trained", "options", "seen", "noted"),
    [
        (None, (), "lidar", False),
        ("object", (), "object", False),
        ("object", ("--depth", "lidar"), "lidar", True),
        (None, ("--depth", "object"), "object", False),
        ("dense and lidar", (), "lidar", True),
    ],
)
def test_a_teacher_sees_the_depth_of_its_training(checkpoint, data, tmp_path, capsys, trained, options, seen, noted):
    shutil.copytree(tmp_path / "hidden", data / "training" / "label_2")
    held = torch.load(checkpoint) | ({"depth_source": trained} if trained else {})
    torch.save(held, tmp_path / "teacher.ckpt")
    assert run("--kitti", data, "--teacher", tmp_path / "teacher.ckpt", *options, "--out", tmp_path / "a") == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{COUNT - (seen == 'lidar')} frames, ")  # one has no scan
    note = f"note: the teacher was trained with {trained} depth and now sees {seen} depth, at which it may be worse\n"
    assert (note in said.err) == noted == ("trained with" in said.err)
    assert run("--kitti", data, "--teacher", checkpoint, "--depth", seen, "--out", tmp_path / "b") == 0
    for path in (tmp_path / "b").iterdir():
        assert (tmp_path / "a" / path.name).read_text() == path.read_text()
