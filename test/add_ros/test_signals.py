"""A signal at the worst moment: while Python forks, whose hooks lose what is raised in them."""

import os
import signal
import subprocess
import sys

import pytest
from support.paths import ROOT

from add_ros.signals import defer_signals, raise_on_signals

CODE = """
import contextlib, os, signal, subprocess
from add_ros.signals import defer_signals, raise_on_signals

os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.{name}))
children = []
try:
    with raise_on_signals(), {guard}:
        children.append(subprocess.Popen(["true"], preexec_fn=int))
except KeyboardInterrupt:
    print("interrupted", len(children))
else:
    print("lost", len(children))
[child.wait() for child in children]
"""


def said(name, guard):
    code = CODE.format(name=name, guard=guard)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout.split()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_process_is_started_is_not_lost(name):
    assert said(name, "contextlib.nullcontext()") == ["lost", "1"]  # what is guarded against
    assert said(name, "defer_signals()") == ["interrupted", "1"]


def test_a_signal_within_code_that_is_made_of_a_string_leaves_the_exit_code(tmp_path):
    """Such as that of dataclasses and message types, when a module is run by `python -m`."""
    code = (
        "import os, signal, sys\n"
        "from add_ros.signals import raise_on_signals\n"
        "try:\n"
        "    with raise_on_signals():\n"
        "        exec('os.kill(os.getpid(), signal.SIGINT); [None for _ in range(1000)]')\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    (tmp_path / "stopped.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-m", "stopped"], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 130


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with raise_on_signals(), defer_signals():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
