"""How commands end: one exit status for what a user can mend, one line on stderr, and notes that nobody swallows."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from support.paths import ROOT

from add_model.backends import select
from add_model.errors import ModelError
from training import calibrate_scores, track
from training.errors import TrainingError
from training.reported_errors import print_notes, reported
from training.world import main as world


class OwnError(Exception):
    """Of one command."""


@pytest.mark.parametrize(
    "error", [ModelError("no"), TrainingError("no"), ValueError("no"), OSError("no"), OwnError("no")]
)
def test_what_a_user_can_mend_is_one_line_and_status_1(error, capsys):
    def work():
        raise error

    assert reported(work, OwnError) == 1
    assert capsys.readouterr().err == "error: no\n"


def test_a_fault_of_the_program_and_usage_pass():
    def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        reported(work)
    with pytest.raises(SystemExit):
        reported(lambda: exec("raise SystemExit(2)"))


def test_work_that_ends_well_gives_its_own_status():
    assert reported(lambda: None) == 0 and reported(lambda: 1) == 1


STOPPED = """
import signal, sys
from training.reported_errors import reported
number = signal.Signals[sys.argv[1]]
before = signal.getsignal(number)
status = reported(lambda: signal.raise_signal(number), stopped="interrupted; nothing is left")
assert signal.getsignal(number) is before
sys.exit(status)
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_command_says_what_became_of_its_files(name, status):
    """In a process of its own: rclpy may have handlers of signals in this one."""
    done = subprocess.run([sys.executable, "-c", STOPPED, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "interrupted; nothing is left\n")


def test_equal_notes_are_one(capsys):
    print_notes(["a", None, "b", "a"])
    assert capsys.readouterr().err == "note: a\nnote: b\n"


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Two frames, of which one has a label of no type of KITTI's."""
    root = tmp_path_factory.mktemp("world")
    assert world(["--out", str(root), "--frames", "2", "--width", "310", "--height", "94"]) == 0
    with (root / "training" / "label_2" / "000001.txt").open("a") as file:
        file.write("Forklift 0.0 0 0.0 10 10 60 60 1.5 1.6 3.9 0.0 1.6 20.0 0.0\n")
    return root


def test_tracking_notes_what_is_odd_about_its_images_and_a_device_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(select, "cuda_devices", lambda: 0)
    (tmp_path / "calib.txt").write_text("P2: 180 0 155 0 0 180 47 0 0 0 1 0\n")
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((94, 310, 3), 4000, np.uint16))
    assert track.main([str(tmp_path), "--device", "cuda:3", "--no-flip-test", "--engine", "onnxruntime"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2 and "2 images have 16 bits, such as 0.png, and" in notes[0]
    assert notes[1] == "note: device 'cuda:3' was asked for, but no CUDA device was found; running on the CPU"


def test_calibrating_notes_what_is_odd_about_its_frames(frames, tmp_path, capsys):
    listed = frames / "ImageSets" / "train.txt"
    given = ["--data", str(frames), "--ids", str(listed), "--out", str(tmp_path / "classes.json")]
    status = calibrate_scores.main(["--model", "monodle_lite0", *given])
    said = capsys.readouterr().err
    assert status == 0 and "note: labels of types that KITTI does not have: 1 'Forklift'\n" in said
    assert json.loads((tmp_path / "classes.json").read_text())
