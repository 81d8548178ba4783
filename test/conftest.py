"""What all tests share: an own corner of the ROS graph for each process, KITTI frames where there are some."""

from __future__ import annotations

import gc
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent


def _domain() -> str:
    """A ROS domain of this process's own: runs side by side, and the workers of one run, don't hear each other."""
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    run, number = (os.getppid(), int(worker[1])) if worker else (os.getpid(), 0)
    return str(1 + (7 * run + number) % 100)  # above 101 the ports collide with Linux's ephemeral ones


# Before anything imports rclpy; processes that tests start inherit it.
os.environ["ROS_DOMAIN_ID"] = _domain()
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(ROOT / "config" / "fastdds.xml")
_LOGS = tempfile.TemporaryDirectory(prefix="add_ros_test_log_")  # removed when the run ends
os.environ["ROS_LOG_DIR"] = _LOGS.name
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTHON_COLORS"] = "0"  # argparse's, from Python 3.14 on

# The same examples in each run: a test that fails here fails everywhere.
settings.register_profile("add_ros", deadline=None, derandomize=True, database=None)
settings.load_profile("add_ros")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: side by side, no process is left with a long one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting makes half a million objects and no garbage: looking for some takes a quarter of its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_teardown() -> None:
    """A torch backend sets the threads of its whole process: with more than one, workers would wait for each other."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != int(os.environ["OMP_NUM_THREADS"]):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def kitti_mini() -> Path:
    """A folder with a few frames of KITTI: the environment variable KITTI_MINI, else one beside this repository."""
    folder = Path(os.environ.get("KITTI_MINI", ROOT.parent / "shared" / "kitti_mini"))
    if not folder.is_dir():
        pytest.skip(f"no KITTI frames at {folder}; set KITTI_MINI to a folder with some")
    return folder
