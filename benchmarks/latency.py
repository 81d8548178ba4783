"""Latency of detectors in each engine, all in one run, in turns and at the same input.

python benchmarks/latency.py
    the shipped weights in all engines that are installed, at 640x192 and 1280x384
python benchmarks/latency.py --models monodle_plain caddn_plain monodetr_plain --engines onnxruntime --threads 1 2 \\
    --sizes 320x96
    the three light detectors side by side

A model is an exported file, the name of weights that ship, or any other name of add_model/registry.py, which is built
and exported here with random weights: they take as long as trained ones. `network` is the graph from the canvas to
candidates, as time that passed and as time of the CPU, which says more on a busy machine; `all` adds what turns these
into detections, such as the suppression of several for one object. With several engines it also prints by how much
their candidates' scores differ from the first one's.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from add_model.backends import Backend
from add_model.backends.select import open_backend
from add_model.errors import ModelError
from add_model.export import export_onnx
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, model_file
from add_model.preprocessing import postprocess
from add_model.registry import build
from add_model.weights_file import save

ENGINES = ("onnxruntime", "openvino", "torch")
_WARM = 5  # turns that don't count, but no more than those that do


def exported(model: str, folder: Path) -> Path:
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


def installed_engines() -> list[str]:
    """Those of `ENGINES` that are there."""
    return [engine for engine in ENGINES if importlib.util.find_spec(engine) is not None]


def camera_of(width: int, height: int) -> Camera:
    """A camera with the field of view of KITTI's."""
    focal = 0.5625 * width
    return Camera.pinhole(focal, focal, width / 2, height / 2, width, height)


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    """Print a table of medians and 95th percentiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[SHIPPED_MODEL.stem], help="default: %(default)s")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=installed_engines(), help="default: all")
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--sizes", nargs="+", type=_size, default=[(640, 192), (1280, 384)], metavar="WIDTHxHEIGHT")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    canvases = {size: rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for size in options.sizes}
    titles = f"{'model':20}{'engine':>12}{'precision':>10}{'threads':>8}{'canvas':>10}"
    print(f"{titles}{'network ms':>11}{'95%':>8}{'CPU ms':>8}{'all ms':>8}{'95%':>8}")
    with tempfile.TemporaryDirectory() as folder:
        files = [exported(model, Path(folder)) for model in options.models]
        for threads in options.threads:
            opened = {
                (path.stem, engine): open_backend(path, options.device, threads, engine)[0]
                for path in files
                for engine in options.engines
            }
            for (width, height), canvas in canvases.items():
                measured, scores = measure(opened, canvas, options.repeats)
                for (model, engine), times in measured.items():
                    median, late = np.median(times, axis=0), np.percentile(times, 95, axis=0)
                    backend = opened[model, engine]
                    row = f"{model:20}{engine:>12}{backend.precision:>10}{threads:8}{f'{width}x{height}':>10}"
                    print(
                        f"{row}{median[0]:11.1f}{late[0]:8.1f}{median[2]:8.1f}{median[1]:8.1f}{late[1]:8.1f}",
                        flush=True,
                    )
                for path in files:
                    for engine in options.engines[1:]:
                        apart = np.abs(scores[path.stem, engine] - scores[path.stem, options.engines[0]]).max()
                        print(f"{path.stem}: scores of {engine} and {options.engines[0]} differ by {apart:.1g} at most")


def measure(opened: dict[tuple[str, str], Backend], canvas: np.ndarray, repeats: int) -> tuple[dict, dict]:
    """(repeats, 3) milliseconds of each, and the scores of each, in descending order.

    The columns: of the network, of all, of the network in CPU time. They take turns, so that whatever else the machine
    does falls on all alike.
    """
    height, width = canvas.shape[:2]
    camera = camera_of(width, height)
    taken: dict = {key: [] for key in opened}
    scores, warm = {}, min(_WARM, repeats)
    for turn in range(repeats + warm):
        for key, backend in opened.items():
            start, cpu = time.perf_counter(), time.process_time()
            [candidates] = backend(canvas[None], camera.P[None])
            middle, cpu = time.perf_counter(), time.process_time() - cpu
            scores[key] = np.sort(candidates.scores)[::-1]
            postprocess(candidates, backend.classes, camera, camera, backend.nms)
            if turn >= warm:
                taken[key].append((1e3 * (middle - start), 1e3 * (time.perf_counter() - start), 1e3 * cpu))
    return {key: np.array(values) for key, values in taken.items()}, scores


if __name__ == "__main__":
    main()
