"""Ctrl-C and SIGTERM to every command at any moment, from its first import on: one line, 130 or 143, soon."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from soak_inputs import kill, make, start
from soak_training import config
from soak_writers import WRITERS

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_PATIENCE = 30.0  # seconds
_ALLOWED = {"fit": 2.0}  # seconds of the processor from the signal to the end; others have 1


def signals(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures) of signals to each command in turn."""
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    make(folder)
    (folder / "tiny.yaml").write_text(config())
    commands = {name: writer.command for name, writer in WRITERS.items()}
    commands["fit"] = ["fit", "--config", "tiny.yaml", "--run-dir", "OUT/run"]
    sent, slowest, wrong, round_ = 0, dict.fromkeys(commands, 0.0), [], 0
    while time.monotonic() < end:
        for name, command in commands.items():
            out = folder / f"{name.replace(' ', '_').replace(',', '')}_{round_}"
            out.mkdir()
            process = start([word.replace("OUT", str(out)) for word in command], folder)
            number = list(_STATUS)[int(rng.integers(2))]
            _wait_for_handlers(process)
            time.sleep(rng.uniform(0.0, 3.0))
            if process.poll() is not None:
                process.communicate()
                continue
            before = _processor(process)
            os.kill(process.pid, number)
            sent += 1
            problem, took = _end(process, number, before)
            slowest[name] = max(slowest[name], took)
            if not problem and took > _ALLOWED.get(name, 1.0):
                problem = f"took {took:.1f} s of the processor"
            if problem:
                wrong.append(f"{name}: {problem}")
        round_ += 1
    worst = f"; not survived: {', '.join(wrong[:6])}" if wrong else ""
    slow = max(slowest, key=lambda name: slowest[name])
    return f"{sent} signals to {len(commands)} commands, the slowest end {slowest[slow]:.2f} s ({slow}){worst}", len(
        wrong
    )


def _wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Until the command's own handler of SIGTERM is there; before that the interpreter starts."""
    bit = 1 << (signal.SIGTERM - 1)
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        if caught & bit:
            return
        time.sleep(0.002)


def _processor(process: subprocess.Popen[str]) -> float:
    """Seconds of the processor that it has had."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _end(process: subprocess.Popen[str], number: int, before: float) -> tuple[str | None, float]:
    """What is wrong with its end, and how long that took."""
    used, end = before, time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            used = _processor(process)
        except (OSError, IndexError):
            break
        time.sleep(0.01)
    if process.poll() is None and time.monotonic() >= end:
        kill(process)
        return "did not end", used - before
    _, error = process.communicate()
    # A shell has 130 of what ends by SIGINT itself, too: in the last moment, when Python has put its handlers away.
    if process.returncode not in (0, _STATUS[number], -number):
        return f"status {process.returncode}: {' '.join(error.split())[-120:]}", used - before
    if "Traceback" in error:
        return f"a traceback: {error.strip().splitlines()[-1][:100]}", used - before
    return None, used - before
