"""A signal at the worst moment: while Python forks, whose hooks lose what is raised in them."""

import signal
import subprocess
import sys

import pytest

from add_ros.interruption import deferred, orderly

CODE = """
import contextlib, os, signal, subprocess
from add_ros.interruption import deferred, orderly

os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.{name}))
children = []
try:
    with orderly(), {guard}:
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
    assert said(name, "deferred()") == ["interrupted", "1"]


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with orderly(), deferred():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
