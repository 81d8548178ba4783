"""What the project survives, in figures: `make soak`, or python benchmarks/soak.py --minutes 30 --seed 0.

Sections share the time: hostile bytes to every reader in this process; hostile models; malformed messages and parameter
requests over DDS to a node of its own; hostile transforms; images at three times its rate; every writer killed again
and again; a training that is killed and resumed; a disk without room. Prints a table for docs/research/robustness.md;
the exit status is 1 where anything was not survived.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import soak_dds
import soak_disk
import soak_kills
import soak_readers
import soak_signals
import soak_tf
import soak_training
import soak_writers
from build_tf2 import environment

from add_model.signals import raise_on_signals

# name -> (its share of the time, what runs it)
SECTIONS = {
    "hostile bytes to readers": (0.1, soak_readers.readers),
    "hostile models": (0.03, soak_readers.models),
    "malformed messages over DDS": (0.13, soak_dds.messages),
    "hostile transforms": (0.12, soak_tf.transforms),
    "overload, three times the node's rate": (0.1, soak_dds.overload),
    "killed writers of files": (0.06, soak_kills.files),
    "killed recorders": (0.06, soak_kills.recorder),
    "killed commands": (0.14, soak_writers.commands),
    "Ctrl-C and SIGTERM": (0.05, soak_signals.signals),
    "a training that is killed and resumed": (0.16, soak_training.training),
    "a disk without room": (0.05, soak_disk.full_disk),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python benchmarks/soak.py", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of all sections together (default 30)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all that is random (default: the time)")
    parser.add_argument("--tf2", type=Path, help="folder that benchmarks/build_tf2.py made, where ROS has no tf2_ros")
    options = parser.parse_args(arguments)
    if options.tf2 and importlib.util.find_spec("tf2_ros") is None:
        # The linker reads its variables at the start alone.
        again = [sys.executable, __file__, "--minutes", str(options.minutes), "--seed", str(options.seed)]
        os.execve(sys.executable, again, os.environ | environment(options.tf2.resolve()))
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    rows, failed = [], False
    with raise_on_signals(), tempfile.TemporaryDirectory(prefix="soak_") as folder:
        os.environ["ROS_LOG_DIR"] = folder
        for number, (name, (share, run)) in enumerate(SECTIONS.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            began = time.monotonic()
            try:
                figures, failures = run(place, 60 * options.minutes * share, options.seed)
            except Exception as error:
                figures, failures = f"ended by {type(error).__name__}: {' '.join(str(error).split())[:200]}", 1
            rows.append((name, f"{time.monotonic() - began:.0f} s", figures, str(failures)))
            print(" | ".join(rows[-1]), flush=True)
            failed |= failures > 0
    cores = len(os.sched_getaffinity(0))
    what = f"{datetime.date.today()}, seed {options.seed}, {options.minutes:g} minutes"
    print(f"\n{what}, {cores} cores ({platform.machine()}), Python {platform.python_version()}")
    print("\n| what | time | figures | not survived |\n|---|---|---|---|")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
