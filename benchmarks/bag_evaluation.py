"""Speed and memory of scoring a model on long bags: python benchmarks/bag_evaluation.py [--frames 200 2000].

One drive through the synthetic world is rendered and written over and over, with stamps that go on, until a bag has its
frames; `add_ros.evaluate_bag` then runs as a process of its own. Frames per second are wall time with start, model and
scoring included. Memory is what that process holds after a tenth, half and nine tenths of its time, and the most. With
--page it makes the page too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import psutil

from add_model.predictor import SHIPPED_MODEL
from add_ros.bags.camera_writer import CameraBagWriter
from training.data.world import World

ROOT = Path(__file__).resolve().parent.parent
_EPOCH, _PERIOD = 10**18, 10**8  # nanoseconds: 10 Hz
_LOOK = 0.2  # seconds between two looks at its memory


def write(bag: Path, frames: int, distinct: int, width: int, height: int) -> None:
    """A bag of `frames` frames with JPEG images, of which `distinct` differ."""
    drive = list(World(seed=2026, width=width, height=height).clip(3, distinct, 10.0))
    with CameraBagWriter(bag, compressed_images=True) as writer:
        for i, sample in enumerate(islice(cycle(drive), frames)):
            writer.write(replace(sample, id=f"{i:06d}"), _EPOCH + i * _PERIOD)


class Measured(NamedTuple):
    """Seconds that passed and of CPU, and MiB of memory: what the process held, in time, and the most."""

    seconds: float
    cpu: float
    held: list[float]
    peak: float

    def after(self, share: float) -> float:
        """MiB held after this share of the time, with scoring at its end."""
        return self.held[min(len(self.held) - 1, int(share * len(self.held)))]


def evaluate(bag: Path, page: bool) -> Measured:
    """Score the shipped model on a bag, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "add_ros.evaluate_bag", str(bag), "--model", SHIPPED_MODEL.stem]
        command += ["--json", str(Path(folder) / "scores.json")]
        command += ["--page", str(Path(folder) / "page.html")] if page else []
        before, began, held = cpu_of_children(), time.monotonic(), [0.0]
        process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            with suppress(psutil.Error):  # it has just ended
                held.append(process.memory_info().rss / 2**20)
            time.sleep(_LOOK)
        if process.returncode:
            sys.exit(process.returncode)  # its own sentence on stderr says why
        seconds = time.monotonic() - began
    return Measured(
        seconds, cpu_of_children() - before, held, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    )


def cpu_of_children() -> float:
    """Seconds of CPU of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--distinct", type=int, default=100, help="frames that are rendered (default 100)")
    parser.add_argument("--size", type=int, nargs=2, default=(1242, 375), help="pixels, default 1242 375")
    parser.add_argument("--page", action="store_true", help="make the page of 60 frames too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for frames in sorted(arguments.frames):  # the largest process so far is the last one's
            bag = Path(folder) / f"bag_{frames}"
            write(bag, frames, arguments.distinct, *arguments.size)
            done = evaluate(bag, arguments.page)
            held = ", ".join(f"{done.after(share):.0f}" for share in (0.1, 0.5, 0.9))
            size = sum(file.stat().st_size for file in bag.iterdir()) / 2**20
            print(
                f"{frames} frames of {arguments.size[0]}x{arguments.size[1]} ({size:.0f} MiB): {done.seconds:.1f} s, "
                f"{frames / done.seconds:.1f} frames/s, {1000 * done.cpu / frames:.0f} ms of CPU a frame, "
                f"memory {held} MiB after 10, 50 and 90% of the time, peak {done.peak:.0f} MiB, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
