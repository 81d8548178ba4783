"""What `add-ros bag export --processes 2` saves: python benchmarks/bag_export.py [--bags 4] [--repeats 3].

The same bags of JPEG images and labels are exported by one process and by two, taking turns, as PNG. Seconds are those
that pass, with the start of the processes, and those of the CPU in all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bag_evaluation import ROOT, cpu_of_children, write


def export(bags: list[Path], out: Path, processes: int) -> tuple[float, float]:
    """Seconds that pass, and of the CPU."""
    command = [sys.executable, "-m", "add_ros.export_bag", *map(str, bags), "--out", str(out)]
    cpu, began = cpu_of_children(), time.monotonic()
    subprocess.run([*command, "--processes", str(processes)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, cpu_of_children() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bags", type=int, default=4)
    parser.add_argument("--frames", type=int, default=300, help="of each bag")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    taken: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        bags = [Path(folder) / f"bag_{i}" for i in range(arguments.bags)]
        for bag in bags:
            write(bag, arguments.frames, 30, 1242, 375)
        for turn in range(arguments.repeats):
            for processes, runs in taken.items():
                runs.append(export(bags, Path(folder) / f"{turn}_{processes}", processes))
    print(f"{arguments.bags} bags of {arguments.frames} frames, load {os.getloadavg()[0]:.1f}")
    for processes, runs in taken.items():
        passed, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{processes} processes: median {passed:.1f} s passed, {cpu:.1f} s of CPU; passed in turn: ", end="")
        print(", ".join(f"{seconds:.1f}" for seconds, _ in runs))


if __name__ == "__main__":
    main()
