"""A signal at the worst moment: while Python forks, whose hooks lose what is raised in them."""

import os
import signal
import subprocess
import sys

import pytest
from support.paths import ROOT

from add_model.signals import defer_signals, raise_on_signals

pytestmark = pytest.mark.slow

CODE = """
import contextlib, os, signal, subprocess
from add_model.signals import defer_signals, raise_on_signals

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
        "from add_model.signals import raise_on_signals\n"
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


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_a_class_names_its_attributes_is_one_line(name, status):
    """As numpy's do while they are imported; Python up to 3.11 wraps what is raised there."""
    code = (
        "import os, signal, sys\n"
        "sys.argv = ['add-ros']\n"
        "from add_model.signals import arm_programs\n"
        "arm_programs()\n"
        "class Attribute:\n"
        "    def __set_name__(self, owner, name):\n"
        f"        os.kill(os.getpid(), signal.{name}); [None for _ in range(1000)]\n"
        "class Owner:\n"
        "    a = Attribute()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and len(done.stderr.splitlines()) == 1, done.stderr


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with raise_on_signals(), defer_signals():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
@pytest.mark.parametrize(("name", "status", "line"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "stopped by")])
@pytest.mark.parametrize(
    "module", ["training.export", "training", "add_ros.evaluate_bag", "add_ros.node.detector_node"]
)
def test_a_command_that_is_still_importing_ends_with_one_line(module, name, status, line):
    command = [sys.executable, "-X", "importtime", "-m", module, "--help"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for imported in process.stderr:
        if imported.split("|")[-1].strip() == module.split(".")[0]:  # the package, which arms first of all
            process.send_signal(getattr(signal, name))
            break
    said = [text for text in process.communicate(timeout=60)[1].splitlines() if not text.startswith("import time:")]
    assert process.returncode == status
    assert len(said) == 1 and said[0].startswith(line)


def test_what_imports_the_packages_keeps_its_own_handlers():
    code = (
        "import signal; had = signal.getsignal(signal.SIGINT)\n"
        "import training, add_ros; print(signal.getsignal(signal.SIGINT) is had)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "True", run.stderr
