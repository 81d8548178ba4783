"""Several bags score as one bag of all their frames would, whoever did the work and whoever died meanwhile."""

import json
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import psutil
import pytest

from add_ros import evaluate_bag
from add_ros.bag_evaluation.options import read_arguments
from add_ros.bag_evaluation.run import EvaluatedRun, joined
from add_ros.bag_evaluation.sides import evaluate_one
from add_ros.bags import convert
from training.data.kitti.labels import detections_table, objects_table
from training.data.world import World
from training.evaluation.average_precision import evaluate
from training.world import write_folder

COUNTS = (16, 5, 6)


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Three bags of different streets and lengths."""
    paths = []
    for number, count in enumerate(COUNTS):
        root = tmp_path_factory.mktemp(f"street{number}")
        world = World(seed=40 + number, width=640, height=192)
        write_folder(root, (world.sample(i) for i in range(count)), 0, "val")
        assert convert.main([str(root), str(root / "bag")]) == 0
        paths.append(root / "bag")
    return paths


def run(*arguments):
    return evaluate_bag.main([str(argument) for argument in arguments])


def read(path):
    found = json.loads(path.read_text())
    del found["command"]
    return found


@pytest.fixture(scope="module")
def one_by_one(bags, tmp_path_factory):
    """The scores of all bags, evaluated by this process."""
    out = tmp_path_factory.mktemp("scores") / "scores.json"
    assert run(*bags, "--model", "monodle_lite0", "--threads", 1, "--json", out) == 0
    return read(out)


def test_they_score_as_all_their_frames(bags, one_by_one):
    options = read_arguments([*map(str, bags), "--model", "monodle_lite0", "--threads", "1"])
    frames = [frame for bag in bags for frame in evaluate_one(options, bag).run.frames]
    labels = [objects_table(frame.objects) for frame in frames]
    expected = evaluate(labels, [detections_table(frame.detections, frame.camera) for frame in frames])
    assert len(frames) == one_by_one["frames_scored"] == sum(COUNTS)
    assert one_by_one["AP"] == expected.to_json() and max(expected.to_json()["R40"]["loose"]["Car"]["3d"]) > 1


@pytest.mark.slow
def test_processes_give_the_same_numbers_though_one_is_killed(bags, one_by_one, tmp_path):
    out = tmp_path / "scores.json"
    command = [sys.executable, "-m", "add_ros.evaluate_bag", *map(str, bags), "--model", "monodle_lite0"]
    command += ["--processes", "2", "--json", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killed = None
    while process.poll() is None and not killed:
        for worker in psutil.Process(process.pid).children(recursive=True):
            try:
                if any(str(bags[0]) in file.path for file in worker.open_files()):
                    worker.kill()
                    killed = worker.pid
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.02)
    _, errors = process.communicate(timeout=120)
    assert killed and process.returncode == 0, errors
    assert read(out) == one_by_one


def test_a_scheduler_that_is_not_there_is_named(bags, capsys, monkeypatch):
    import distributed

    def refused(address, timeout):
        raise OSError(f"timed out after {timeout} s")

    monkeypatch.setattr(distributed, "Client", refused)
    assert run(*bags, "--model", "monodle_lite0", "--scheduler", "tcp://127.0.0.1:1") == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:1: timed out after 10 s" in capsys.readouterr().err


def test_without_dask_it_says_what_to_install(bags, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(*bags, "--model", "monodle_lite0", "--processes", 2) == 1
    assert "pip install 'distributed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a", "b", "--page", "p.html"], "--page is about one bag, not 2"),
        (["a", "b", "--compare-model", "m"], "--compare-model is about one bag"),
        (["a", "b", "--detections", "c"], "--detections is about one bag"),
        (["a", "--processes", "2"], "give more than one"),
        (["a", "b", "./c/../a"], "argument BAG: a and c/../a are the same bag: name it once"),
    ],
)
def test_what_does_not_go_together_is_said(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        read_arguments(options)
    assert message in capsys.readouterr().err


def test_threads_are_one_a_process_unless_given():
    assert read_arguments(["a", "b", "--processes", "2"]).threads == 1
    assert read_arguments(["a", "b", "--processes", "2", "--threads", "2"]).threads == 2
    assert read_arguments(["a", "b"]).threads == 0


def test_notes_and_skipped_images_name_their_bag():
    runs = [EvaluatedRun("m", bag, [], Counter({"no camera_info": n}), [f"odd {n}"]) for n, bag in enumerate("ab", 1)]
    both = joined(runs)
    assert (both.bag, both.skipped, both.notes) == ("a, b", {"no camera_info": 3}, ["a: odd 1", "b: odd 2"])
    assert joined(runs[:1]) is runs[0] and np.isscalar(both.unanswered)
