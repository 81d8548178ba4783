"""What the flip test brings: python benchmarks/flip_test.py [--kitti DIR --held-out MODEL IDS ...]

The same images seen once, and with the flip test. AP_R40 moderate, percent, on unseen streets and, with --held-out, on
real frames, each seen by the model that was trained without it; the difference with its 95% interval (bootstrap over
images). Then the processor time and the time that passed of one image of KITTI's size, both ways taking turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from latency import installed_engines
from seen import Seen, add_held_out_argument, held_out, moderate, seen, streets, tally
from speed import once

from add_model.predictor import Predictor
from training.evaluation.bootstrap import interval, resamples

SEED, RESAMPLES = 1, 200
MEASURES = (
    ("Car", "bbox", "strict"), ("Car", "bev", "strict"), ("Car", "3d", "strict"), ("Car", "bev", "loose"),
    ("Car", "3d", "loose"), ("Pedestrian", "bbox", "strict"), ("Pedestrian", "3d", "loose"),
    ("Cyclist", "bbox", "strict"), ("Cyclist", "3d", "loose"),
)  # fmt: skip


def compare(name: str, once: list[Seen], flipped: list[Seen]) -> None:
    """Print a row for each measure."""
    both = [tally(images) for images in (once, flipped)]
    drawn = [np.array([moderate(of, MEASURES, w) for w in resamples(len(once), RESAMPLES, seed=SEED)]) for of in both]
    low, high = interval(drawn[1] - drawn[0])
    values = [moderate(of, MEASURES) for of in both]
    for i, (kind, metric, overlaps) in enumerate(MEASURES):
        print(
            f"{name:8} {kind:10} {metric:4} {overlaps:6} {values[0][i]:6.2f} -> {values[1][i]:6.2f}"
            f"  ({low[i]:+.1f} to {high[i]:+.1f})"
        )


def measure_time(repeats: int = 40) -> None:
    """Print milliseconds of one image, in each engine."""
    (sample,) = streets(SEED, 0, 1)
    for engine in installed_engines()[:2]:
        for threads in (1, 2):
            ways = [Predictor(device="cpu", threads=threads, engine=engine, flip_test=flip) for flip in (False, True)]
            taken: list[list[tuple[float, float]]] = [[], []]
            for _ in range(repeats):
                for way, times in zip(ways, taken, strict=True):
                    times.append(once(lambda way=way: way.predict(sample.image, sample.camera)))
            cpu, passed = np.median(np.array(taken)[:, 3:], axis=1).T
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
        compare("KITTI", *(held_out(options.kitti, options.held_out, flip) for flip in (False, True)))
    ways = [Predictor(device="cpu", engine="onnxruntime", flip_test=flip) for flip in (False, True)]
    compare("streets", *(seen(way, streets(SEED, 0, options.streets)) for way in ways))
    measure_time()


if __name__ == "__main__":
    main()
