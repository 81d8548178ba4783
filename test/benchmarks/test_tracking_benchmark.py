"""The benchmark of tracks, on a very short drive."""

import re
import subprocess
import sys

import pytest
from support.paths import ROOT

pytest.importorskip("trackeval", reason="trackeval is not installed: requirements/tracking.txt")


def test_a_tiny_run_scores_all_kinds_of_detections():
    command = [sys.executable, "benchmarks/tracking.py", "--drives", "1", "--frames", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall("^synthetic drives", done.stdout, re.M)) == 3
    means = [float(value) for value in re.findall(r"ground +mean +HOTA +([\d.]+)", done.stdout)]
    # Of each drive three thresholds, and the camera's motion unknown.
    assert len(means) == 12 and means[4] > 50  # three in ten dropped, else exact
    assert done.stdout.count("standing cars jump") == 9
