"""Latency of the shipped weights in ONNX Runtime and torch, at 640x192 and 1280x384, in one run.

python benchmarks/latency.py [--threads N] [--device cuda]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from add_model.backends.onnx_runtime import OnnxBackend
from add_model.backends.pytorch import TorchBackend
from add_model.predictor import SHIPPED_MODEL

SIZES = ((640, 192), (1280, 384))


def main() -> None:
    """Print a table of medians and 95th percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of torch: cpu or cuda")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    backends = {
        "ONNX Runtime, cpu": OnnxBackend(SHIPPED_MODEL, "cpu", options.threads),
        f"torch, {options.device}": TorchBackend(
            SHIPPED_MODEL.with_suffix(".safetensors"), options.device, options.threads
        ),
    }
    rng = np.random.default_rng(0)
    print(f"{'backend':22}{'canvas':>12}{'median ms':>12}{'p95 ms':>10}")
    for width, height in SIZES:
        canvas = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        P = np.array([[0.5625 * width, 0, width / 2, 0], [0, 0.5625 * width, height / 2, 0], [0, 0, 1, 0]])
        taken: dict[str, list[float]] = {name: [] for name in backends}
        for turn in range(options.repeats + 5):
            # Taking turns, so that whatever else the machine does falls on both alike.
            for name, backend in backends.items():
                start = time.perf_counter()
                backend(canvas, P)
                if turn >= 5:
                    taken[name].append(1e3 * (time.perf_counter() - start))
        for name, values in taken.items():
            print(f"{name:22}{f'{width}x{height}':>12}{np.median(values):12.1f}{np.percentile(values, 95):10.1f}")


if __name__ == "__main__":
    main()
