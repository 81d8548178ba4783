"""Latency of detectors in ONNX Runtime and torch, all in one run and at the same input.

python benchmarks/latency.py
    the shipped weights in both backends, at 640x192 and 1280x384
python benchmarks/latency.py --models monodle_plain caddn_plain monodetr_plain --backends onnx --threads 1 2 \\
    --sizes 320x96
    the three light detectors side by side

A model is an exported file, the name of weights that ship, or any other name of add_model/registry.py, which is built
and exported here with random weights: they take as long as trained ones. `network` is the graph from the canvas to
candidates; `all` adds what turns these into detections, such as the suppression of several for one object. With both
backends it also prints by how much their candidates' scores differ.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from add_model.backends import Backend
from add_model.backends.onnx_runtime import OnnxBackend
from add_model.backends.pytorch import TorchBackend
from add_model.errors import ModelError
from add_model.export import export_onnx
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, model_file
from add_model.preprocessing import postprocess
from add_model.registry import build
from add_model.weights_file import save

_WARM = 5  # turns that don't count, but no more than those that do


def _file(model: str, folder: Path) -> Path:
    """The model's .onnx file, with its .safetensors beside it."""
    try:
        return model_file(model)
    except ModelError:
        torch.manual_seed(0)
        detector = build(model).eval()
    path = folder / f"{model}.onnx"
    save(path.with_suffix(".safetensors"), model, detector)
    export_onnx(detector, path)
    return path


def _open(path: Path, backend: str, device: str, threads: int) -> Backend:
    if backend == "onnx":
        return OnnxBackend(path, "cpu", threads)
    return TorchBackend(path.with_suffix(".safetensors"), device, threads)


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    """Print a table of medians and 95th percentiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[SHIPPED_MODEL.stem], help="default: %(default)s")
    parser.add_argument("--backends", nargs="+", choices=("onnx", "torch"), default=["onnx", "torch"])
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--sizes", nargs="+", type=_size, default=[(640, 192), (1280, 384)], metavar="WIDTHxHEIGHT")
    parser.add_argument("--device", default="cpu", help="of torch: cpu or cuda")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    canvases = {size: rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for size in options.sizes}
    print(f"{'model':20}{'backend':>8}{'threads':>9}{'canvas':>11}{'network ms':>12}{'95%':>9}{'all ms':>9}{'95%':>9}")
    with tempfile.TemporaryDirectory() as folder:
        files = [_file(model, Path(folder)) for model in options.models]
        for threads in options.threads:
            opened = {(p.stem, b): _open(p, b, options.device, threads) for p in files for b in options.backends}
            for (width, height), canvas in canvases.items():
                measured, scores = _measure(opened, canvas, options.repeats)
                for (model, backend), times in measured.items():
                    values = (f(times[:, i]) for i in (0, 1) for f in (np.median, lambda x: np.percentile(x, 95)))
                    shown = "".join(f"{value:{space}.1f}" for value, space in zip(values, (12, 9, 9, 9), strict=True))
                    print(f"{model:20}{backend:>8}{threads:9}{f'{width}x{height}':>11}{shown}", flush=True)
                for path in files if len(options.backends) == 2 else []:
                    apart = np.abs(scores[path.stem, "onnx"] - scores[path.stem, "torch"]).max()
                    print(f"{path.stem}: scores of both differ by {apart:.1g} at most")


def _measure(opened: dict[tuple[str, str], Backend], canvas: np.ndarray, repeats: int) -> tuple[dict, dict]:
    """(repeats, 2) milliseconds of each: of the network, and of all; and the scores of each, in descending order.

    They take turns, so that whatever else the machine does falls on all alike.
    """
    height, width = canvas.shape[:2]
    focal = 0.5625 * width  # as of KITTI's images
    camera = Camera.pinhole(focal, focal, width / 2, height / 2, width, height)
    taken: dict = {key: [] for key in opened}
    scores, warm = {}, min(_WARM, repeats)
    for turn in range(repeats + warm):
        for key, backend in opened.items():
            start = time.perf_counter()
            candidates = backend(canvas, camera.P)
            middle = time.perf_counter()
            scores[key] = np.sort(candidates.scores)[::-1]
            postprocess(candidates, backend.classes, camera, camera, backend.nms)
            if turn >= warm:
                taken[key].append((1e3 * (middle - start), 1e3 * (time.perf_counter() - start)))
    return {key: np.array(values) for key, values in taken.items()}, scores


if __name__ == "__main__":
    main()
