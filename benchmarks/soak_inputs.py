"""What the attacks on commands read, and how these are run: processes of their own, whose ends are judged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LONGEST = 300.0  # seconds of one command


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    error: str


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """`add-ros COMMAND` as a group of its own, in a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        [sys.executable, "-m", "add_ros", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell starts behind it ignores it
    )


def run(command: list[str], folder: Path) -> Done:
    """The same to its end."""
    process = start(command, folder)
    try:
        _, error = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        kill(process)
        return Done(-1, f"not done after {_LONGEST:.0f} s")
    return Done(process.returncode, error)


def kill(process: subprocess.Popen[str]) -> bool:
    """SIGKILL to the process and its children; whether it was still running."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def make(folder: Path) -> None:
    """`kitti` (rendered streets with scans), `bag`, and `results` of the shipped model. Raises RuntimeError."""
    small = ["--width", "320", "--height", "96", "--focal", "360"]
    for command in (
        ["world", "--out", "kitti", "--frames", "8", "--scanner", *small],
        ["bag", "convert", "kitti", "bag"],
        ["predict", "--kitti", "kitti", "--device", "cpu", "--out", "results"],
    ):
        done = run(command, folder)
        if done.status:
            raise RuntimeError(f"{' '.join(command)} ended with {done.status}: {done.error[-300:]}")


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by relative path, without what a killed process left unfinished."""
    whole = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".part")
    return {str(path.relative_to(folder)): path.read_bytes() for path in whole}
