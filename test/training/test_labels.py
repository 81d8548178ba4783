"""add-ros labels: a data set's labels to a tool and back, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from training import inspect_data, labels
from training.data.kitti.calib import write_calib
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import write_results
from training.data.label_formats.formats import FORMATS
from training.data.world.lidar import VELODYNE_TO_CAMERA, points, scan
from training.data.world.world import World
from training.world import write_folder

WRITTEN = [name for name, kind in FORMATS.items() if kind.write]
WORLD = World(width=310, height=94, focal=180)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of the synthetic world with scans, whose lidar is not level with the camera."""
    root = tmp_path_factory.mktemp("world")
    samples = [WORLD.sample(i) for i in range(4)]
    write_folder(root, samples, 0, "train", scanner=True)
    turn = np.eye(3) + 0.03 * np.array([[0, 1, 0], [-1, 0, 0.5], [0, -0.5, 0]])
    turn = np.linalg.qr(turn)[0] * np.sign(np.diag(np.linalg.qr(turn)[1]))
    to_camera = np.c_[VELODYNE_TO_CAMERA[:, :3] @ turn, (0.1, 0.4, -0.2)]
    for i, sample in enumerate(samples):
        seen = points(scan(sample.depth, sample.camera, np.random.default_rng(i)), sample.camera)
        in_camera = seen[:, :3] @ VELODYNE_TO_CAMERA[:, :3].T
        moved = (in_camera - to_camera[:, 3]) @ np.linalg.inv(to_camera[:, :3]).T
        path = root / "training" / "velodyne" / f"{i:06d}.bin"
        path.write_bytes(np.c_[moved, np.zeros(len(moved))].astype("<f4").tobytes())
        write_calib(root / "training" / "calib" / f"{i:06d}.txt", sample.camera.P, to_camera)
    return root


@pytest.fixture
def data(made, tmp_path):
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("axes", [[], ["--camera-axes"]])
def test_labels_come_back_from_each_tool(name, axes, data, tmp_path, capsys):
    assert labels.main(["export", "--data", str(data), "--format", name, "--out", str(tmp_path / "out"), *axes]) == 0
    shutil.copytree(data / "training" / "label_2", tmp_path / "old")
    arguments = ["import", "--data", str(data), "--format", name, "--from", str(tmp_path / "out"), *axes]
    assert labels.main(arguments) == 1 and "are there already: give --replace" in capsys.readouterr().err
    assert labels.main([*arguments, "--replace"]) == 0
    after = KittiFolder(data)
    total = 0
    for i in range(4):
        new = after.objects(i)
        old_path = tmp_path / "old" / f"{i:06d}.txt"
        lines = old_path.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("DontCare")]
        boxes = np.array([list(map(float, line.split()[8:15])) for line in kept]).reshape(-1, 7)
        solid = np.isfinite(new.boxes).all(axis=1)
        written = (data / "training" / "label_2" / f"{i:06d}.txt").read_text().splitlines()
        got = np.array([list(map(float, line.split()[8:15])) for line in written if line[:4] != "Dont"]).reshape(-1, 7)
        np.testing.assert_allclose(got, boxes, atol=2e-6)
        assert sorted(new.names[~solid]) == sorted(line.split()[0] for line in lines if line.startswith("DontCare"))
        assert len(new) == len(lines)
        total += len(boxes)
    assert total > 8


def test_a_data_set_without_labels_gets_those_of_the_tool(data, tmp_path, capsys):
    labels.main(["export", "--data", str(data), "--format", "sustechpoints", "--out", str(tmp_path / "out")])
    shutil.rmtree(data / "training" / "label_2")
    (tmp_path / "out" / "000002.json").unlink()
    (tmp_path / "out" / "other.json").write_text("[]")
    capsys.readouterr()
    assert (
        labels.main(["import", "--data", str(data), "--format", "sustechpoints", "--from", str(tmp_path / "out")]) == 0
    )
    captured = capsys.readouterr()
    assert captured.out.startswith("3 frames, ") and "Car'" in captured.out
    assert "1 frames of the data set are not in the files" in captured.err
    assert "1 frames in the files are none of the data set" in captured.err
    assert sorted(p.name for p in (data / "training" / "label_2").iterdir()) == [
        "000000.txt",
        "000001.txt",
        "000003.txt",
    ]


def test_labels_that_do_not_fit_the_scans_are_refused_unless_trusted(data, tmp_path, capsys):
    labels.main(["export", "--data", str(data), "--format", "sustechpoints", "--out", str(tmp_path / "out")])
    for path in (tmp_path / "out").iterdir():
        content = json.loads(path.read_text())
        for item in content:
            item["psr"]["position"]["y"] *= -1
            item["psr"]["rotation"]["z"] *= -1
        path.write_text(json.dumps(content))
    capsys.readouterr()
    arguments = [
        "import",
        "--data",
        str(data),
        "--format",
        "sustechpoints",
        "--from",
        str(tmp_path / "out"),
        "--replace",
    ]
    before = (data / "training" / "label_2" / "000000.txt").read_text()
    assert labels.main(arguments) == 1
    assert "if the labels are read with y to the right" in capsys.readouterr().err
    assert (data / "training" / "label_2" / "000000.txt").read_text() == before
    assert labels.main([*arguments, "--trust"]) == 0


def test_pre_labels_go_to_the_tool_with_their_scores(data, tmp_path):
    from add_model.detections import Detections

    frames, results = KittiFolder(data), tmp_path / "results"
    results.mkdir()
    for i, name in enumerate(frames.ids):
        objects = frames.objects(i)
        objects = objects[np.isfinite(objects.boxes).all(axis=1)]
        scores = np.linspace(0.9, 0.1, len(objects))
        found = Detections(objects.names, scores, objects.boxes, objects.boxes2d, scores)
        write_results(results / f"{name}.txt", found, frames.camera(i))
    options = ["--data", str(data), "--format", "datumaro", "--results", str(results), "--min-score", "0.5"]
    assert labels.main(["export", *options, "--out", str(tmp_path / "pre.json")]) == 0
    items = json.loads((tmp_path / "pre.json").read_text())["items"]
    scores = [found["attributes"]["score"] for item in items for found in item["annotations"]]
    assert scores and min(scores) >= 0.5 and max(scores) == 0.9


def test_what_cannot_be_done_is_one_sentence(data, tmp_path, capsys):
    for arguments, sentence in (
        (["export", "--data", str(tmp_path / "no"), "--format", "cvat", "--out", "x"], "no such folder"),
        (["export", "--data", str(data), "--format", "cvat", "--out", str(data)], "exists already"),
        (["import", "--data", str(data), "--format", "labelcloud", "--from", str(tmp_path / "no")], "no .json files"),
    ):
        assert labels.main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zebra.json").write_text("[]")
    assert (
        labels.main(["import", "--data", str(data), "--format", "sustechpoints", "--from", str(tmp_path / "other")])
        == 1
    )
    assert "no frame is one of" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--data", "x"], ["exprot"]])
def test_a_command_without_its_action_names_them_in_a_line(words, capsys):
    for command, actions in ((labels.main, "export or import"), (inspect_data.main, "check or classes")):
        with pytest.raises(SystemExit) as left:
            command(words)
        assert left.value.code == 2
        assert f"error: {actions} comes first" in capsys.readouterr().err
