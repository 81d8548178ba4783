"""The benchmark of long bags, with a very short one."""

import re
import subprocess
import sys

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.slow


def benchmark(*arguments):
    command = [sys.executable, "benchmarks/bag_evaluation.py", "--frames", "2", "--distinct", "2", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_tiny_run_measures():
    done = benchmark("--size", "320", "96")
    assert done.returncode == 0, done.stderr
    assert re.match(r"2 frames of 320x96 \(\d+ MiB\): [\d.]+ s, [\d.]+ frames/s, \d+ ms of CPU a frame", done.stdout)
