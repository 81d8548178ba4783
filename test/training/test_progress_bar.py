"""Progress of commands: lines for logs at the right times with the right figures, a bar in a terminal."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from support.paths import ROOT

from training.progress_bar import counted, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved: clock[0] is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr("training.progress_bar.time.monotonic", lambda: now[0])
    return now


def test_lines_come_after_ten_seconds_and_then_every_thirty(clock, capsys):
    done = []
    for item in counted(range(100), "frames", "predict"):
        clock[0] += 1
        done.append(item)
    assert done == list(range(100))
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        "predict: 10 of 100 frames, 1 frames/s, 0:01:30 left",
        "predict: 40 of 100 frames, 1 frames/s, 0:01:00 left",
        "predict: 70 of 100 frames, 1 frames/s, 0:00:30 left",
        "predict: 100 of 100 frames, 1 frames/s, 0:00:00 left",
    ]


def test_what_is_done_within_ten_seconds_prints_nothing(clock, capsys):
    for _ in counted(range(50), "frames", "predict"):
        clock[0] += 0.199
    assert capsys.readouterr() == ("", "")


def test_the_number_of_what_has_a_length_is_known_and_others_are_counted_without_it(clock, capsys):
    for items in (range(3), iter(range(3))):
        for _ in counted(items, "images", "drive"):
            clock[0] += 10
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "drive: 1 of 3 images, 0.1 images/s, 0:00:20 left",
        "drive: 1 images, 0.1 images/s",
    ]


class Terminal(io.StringIO):
    """Text that says that it is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(4, "frames", "predict") as bar:
        bar.update(4)
        bar.refresh()
    shown = sys.stderr.getvalue()
    assert re.search(r"predict: 100%.*4/4", shown)
    assert shown.rstrip("\r").rsplit("\r", 1)[-1].strip() == ""


def test_an_error_between_two_items_is_raised(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    def broken():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(counted(broken(), "frames", "read", 2))


def test_a_bar_shares_nothing_with_other_processes():
    """A semaphore, which tqdm makes for that, would be warned of as leaked where the command is killed."""
    code = (
        "import multiprocessing, sys\n"
        "from multiprocessing import resource_tracker\n"
        "multiprocessing.set_start_method('forkserver')\n"  # as it is from Python 3.14 on
        "sys.stderr.isatty = lambda: True\n"
        "from training.progress_bar import counted\n"
        "assert list(counted(range(3), 'frames', 'predict')) == [0, 1, 2]\n"
        "print(resource_tracker._resource_tracker._fd)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
