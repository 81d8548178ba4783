"""The demo's child processes: in a DDS domain of their own, logged to files, and always ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from add_ros.transport import profile_variables

_PR_SET_PDEATHSIG = 1
_LOG_TAIL = 15  # lines


class ProcessError(Exception):
    """A process of the demo failed; the message ends with the tail of its log."""


def isolate(config: Path) -> None:
    """Set this process's environment, which its children inherit: a ROS domain, this machine alone, large images.

    Args:
        config: folder with fastdds.xml. A Fast DDS profile or transport that the user has set is kept.
    """
    os.environ["ROS_DOMAIN_ID"] = str(50 + os.getpid() % 50)
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ.pop("ROS_LOCALHOST_ONLY", None)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(profile_variables(config, os.environ))


class Child:
    """A running `python -m module arguments`, whose output goes to `log`. It ends with this process."""

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self.name, self.log = module, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops its children in order
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise ProcessError if it has ended."""
        if not self.running:
            raise self.failure(f"ended early with exit code {self._process.returncode}")

    def wait(self, timeout: float) -> None:
        """Wait for its end. Raises ProcessError where it fails or does not end in time."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {timeout:.0f} s") from None
        if code:
            raise self.failure(f"failed with exit code {code}")

    def stop(self, timeout: float = 5.0) -> None:
        """Interrupt it as Ctrl-C does. Raises ProcessError unless it ends with exit code 0 in time."""
        self.check()
        self._process.send_signal(signal.SIGINT)
        self.wait(timeout)

    def end(self) -> None:
        """End it, whatever state it is in."""
        for number, patience in ((signal.SIGINT, 2.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            if not self.running:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)

    def failure(self, what: str) -> ProcessError:
        """An error about this process, with the tail of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
        return ProcessError(f"{self.name} {what}. The end of {self.log}:\n{tail}")


def wait_until(condition, timeout: float, children: list[Child]) -> bool:
    """Poll until condition() holds.

    Args:
        condition: what to wait for.
        timeout: seconds.
        children: have to run meanwhile.

    Returns:
        Whether it held in time.

    Raises:
        ProcessError: as soon as a child has ended.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return True
        for child in children:
            child.check()
        time.sleep(0.05)
    return condition()


def _die_with_parent() -> None:
    # Not SIGTERM: a ROS process that is just starting can miss it, and there is no parent to send it again.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
