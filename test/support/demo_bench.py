"""The demo as a user starts it: what its tests share."""

import subprocess
import sys

from support.paths import ROOT


def start_demo(*arguments):
    """`python -m add_ros.demo` with these arguments, its output and errors in pipes."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "add_ros.demo", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
