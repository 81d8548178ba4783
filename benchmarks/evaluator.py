"""Time and memory of the evaluator on a generated set: python benchmarks/evaluator.py [--frames N] [--detections N].

Labels and results are written to a folder once; `training.evaluate` then runs as its own process on one core.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_TYPES = ("Car", "Pedestrian", "Cyclist", "Van", "Person_sitting", "Truck", "DontCare")
_SHARES = (0.55, 0.1, 0.06, 0.06, 0.01, 0.02, 0.2)
_SIZES = {"Car": (1.5, 1.6, 3.9), "Pedestrian": (1.8, 0.7, 0.8), "Cyclist": (1.7, 0.6, 1.8)}  # h, w, l
_FOCAL, _CENTRE = 720.0, (620.0, 187.0)


def _object(rng: np.random.Generator, name: str) -> list[float]:
    """The 14 numbers of a label line."""
    height, width, length = np.array(_SIZES.get(name, (2.0, 1.9, 5.0))) * rng.uniform(0.85, 1.15, 3)
    z = rng.uniform(5, 60)
    x, y, rotation_y = rng.uniform(-0.7, 0.7) * z, 1.65, rng.uniform(-np.pi, np.pi)
    u, v, scale = _CENTRE[0] + _FOCAL * x / z, _CENTRE[1] + _FOCAL * y / z, _FOCAL / z
    rectangle = [u - scale * length / 2, v - scale * height, u + scale * length / 2, v]
    truncated, occluded = rng.choice([0, 0.2, 0.4]), rng.integers(0, 3)
    return [truncated, occluded, rotation_y - np.arctan2(x, z), *rectangle, height, width, length, x, y, z, rotation_y]


def _detection(rng: np.random.Generator, truth: list[float]) -> list[float]:
    """The truth as a detector may see it, with its score."""
    noise = np.r_[0, 0, 0.1, np.full(4, 2), np.full(3, 0.05), 0.15, 0.05, 0.4, 0.1]
    found = np.array(truth) + noise * rng.normal(size=14)
    return [-1, -1, *found[2:], rng.uniform()]


def _line(name: str, numbers: list[float]) -> str:
    truncated, occluded, *others = numbers
    score = [repr(others.pop())] if len(others) == 13 else []
    return " ".join([name, f"{truncated:.2f}", f"{occluded:.0f}", *(f"{number:.2f}" for number in others), *score])


def generate(folder: Path, frames: int, detections: int, seed: int = 0) -> None:
    """Write `frames` label files and as many result files of `detections` lines."""
    rng = np.random.default_rng(seed)
    for kind in ("labels", "results"):
        (folder / kind).mkdir(parents=True)
    for frame in range(frames):
        names = rng.choice(_TYPES, size=rng.integers(3, 20), p=_SHARES)
        truths = [(str(name), _object(rng, str(name))) for name in names]
        seen = [(name, truth) for name, truth in truths if name in _SIZES]
        found = [(name, _detection(rng, truth)) for name, truth in seen][:detections]
        while len(found) < detections:
            if seen and rng.random() < 0.3:
                name, truth = seen[rng.integers(len(seen))]
            else:
                name = str(rng.choice(list(_SIZES)))
                truth = _object(rng, name)
            found.append((name, _detection(rng, truth)))
        for kind, rows in (("labels", truths), ("results", found)):
            text = "".join(_line(name, numbers) + "\n" for name, numbers in rows)
            (folder / kind / f"{frame:06d}.txt").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=3769)
    parser.add_argument("--detections", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where the set is kept; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "set"
        if not folder.exists():
            generate(folder, arguments.frames, arguments.detections)
        command = [sys.executable, "-m", "training.evaluate"]
        command += ["--labels", str(folder / "labels"), "--results", str(folder / "results")]
        one_core = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=one_core, cwd=Path(__file__).resolve().parent.parent)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = usage.ru_utime + usage.ru_stime
    print(f"{arguments.frames} frames of {arguments.detections} detections: {seconds:.2f} s CPU, start included")
    print(f"peak memory {usage.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
