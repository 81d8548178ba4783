"""What the flip test brings: python benchmarks/flip_test.py [--kitti DIR --held-out MODEL IDS ...]

The same images seen once, and with the flip test. AP_R40 moderate, percent, on unseen streets and, with --held-out, on
real frames, each seen by the model that was trained without it; the difference with its 95% interval (bootstrap over
images). Then the processor time and the time that passed of one image of KITTI's size, both ways taking turns.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from seen import add_held_out_argument, held_out, print_changes, seen, streets
from speed import in_turns, lean_engines

from add_model.predictor import Predictor

SEED, RESAMPLES = 1, 200
MEASURES = (
    ("Car", "bbox", "strict"), ("Car", "bev", "strict"), ("Car", "3d", "strict"), ("Car", "bev", "loose"),
    ("Car", "3d", "loose"), ("Pedestrian", "bbox", "strict"), ("Pedestrian", "3d", "loose"),
    ("Cyclist", "bbox", "strict"), ("Cyclist", "3d", "loose"),
)  # fmt: skip


def measure_time(repeats: int = 40) -> None:
    """Print milliseconds of one image, in each engine."""
    (sample,) = streets(SEED, 0, 1)
    for engine in lean_engines():
        for threads in (1, 2):
            ways = [Predictor(device="cpu", threads=threads, engine=engine, flip_test=flip) for flip in (False, True)]
            works = [partial(way.predict, sample.image, sample.camera) for way in ways]
            cpu, passed = np.transpose(in_turns(works, repeats))
            print(
                f"{engine:12} {threads} threads: CPU {cpu[0]:.1f} -> {cpu[1]:.1f} ms, passed {passed[0]:.1f} -> "
                f"{passed[1]:.1f} ms"
            )


def main() -> None:
    """Compare, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="folder in KITTI's object layout")
    add_held_out_argument(parser)
    parser.add_argument("--streets", type=int, default=300, help="default: %(default)s")
    options = parser.parse_args()
    if options.held_out:
        found = [held_out(options.kitti, options.held_out, flip) for flip in (False, True)]
        print_changes(f"{'KITTI':8}", *found, MEASURES, SEED, RESAMPLES)
    ways = [Predictor(device="cpu", engine="onnxruntime", flip_test=flip) for flip in (False, True)]
    found = [seen(way, streets(SEED, 0, options.streets)) for way in ways]
    print_changes(f"{'streets':8}", *found, MEASURES, SEED, RESAMPLES)
    measure_time()


if __name__ == "__main__":
    main()
