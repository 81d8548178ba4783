"""What one answer costs, all measured in one run: python benchmarks/speed.py [--parts PART ...] [--streets N]

    engines   the network at 640x192 in each engine on one thread, in turns
    threads   a stream at 10 Hz: latency and CPU time of one answer by threads, with and without idle threads that spin
    around    what is not network: decoding, resampling, padding, suppression, at 1242x375 and at 1080p
    start     opening the model, the first time and the second
    accuracy  what each engine's precision does to the boxes and to average precision, on N streets

CPU time is what this process used, on all its threads; it is comparable on a busy machine, where the time that passed
is not. Ratios are to the first row of each part. `--busy` lets another process compete for a core meanwhile.
benchmarks/latency.py has more models and sizes, distillation_cost.py, loader.py and bag_evaluation.py the rest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from latency import camera_of, installed_engines, measure

from add_model.backends import Backend
from add_model.backends.select import open_backend
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_model.preprocessing import PADDING, pad_to_multiple, postprocess, resample, scaled_size, window
from training.data.kitti.labels import detections_table, objects_table
from training.data.world import World
from training.evaluation.average_precision import evaluate
from training.evaluation.table import rows

PARTS = ("engines", "threads", "around", "start", "accuracy")
_CANVAS = (640, 192)
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def machine() -> str:
    """The processor's features that matter here, and how busy it is."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = set(text.split())
    features = " ".join(feature for feature in _FEATURES if feature in flags)
    return f"{os.cpu_count()} cores of {name[1] if name else '?'} ({features}), load {os.getloadavg()[0]:.1f}"


def table(title: str, columns: list[str], lines: dict[str, list[float]]) -> None:
    """Print medians by row, each with its ratio to the first row's."""
    print(f"\n{title}\n{'':34}{''.join(f'{column:>20}' for column in columns)}")
    first = next(iter(lines.values()))
    for name, values in lines.items():
        cells = (f"{v:.2f} ({v / f:.2f})" if f else f"{v:.2f}" for v, f in zip(values, first, strict=True))
        print(f"{name:34}{''.join(f'{cell:>20}' for cell in cells)}", flush=True)


def engines(repeats: int) -> None:
    """The network alone."""
    canvas = np.random.default_rng(0).integers(0, 255, (*_CANVAS[::-1], 3), dtype=np.uint8)
    opened: dict[tuple[str, str], Backend] = {}
    for engine in installed_engines():
        if engine != "torch":  # its threads and others' get in each other's way: see latency.py
            backend = open_backend(SHIPPED_MODEL, "cpu", 1, engine)[0]
            opened[engine, backend.precision] = backend
    if ("openvino", "bfloat16") in opened:
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        opened["openvino", "float32"] = open_backend(SHIPPED_MODEL, "cpu", 1, "openvino", options)[0]
    times, _ = measure(opened, canvas, repeats)
    lines = {" ".join(key): [float(np.median(t[:, 2])), float(np.median(t[:, 0]))] for key, t in times.items()}
    table("network at 640x192, one thread, ms", ["CPU", "passed"], lines)


def threads(repeats: int) -> None:
    """Answers at 10 Hz, as in the node."""
    canvas = np.random.default_rng(0).integers(0, 255, (1, *_CANVAS[::-1], 3), dtype=np.uint8)
    P = camera_of(*_CANVAS).P[None]
    lines = {}
    for engine in installed_engines():
        for count in (1, 2, 4):
            for spin in ("1", "0") if engine == "onnxruntime" else ("",):
                if engine == "torch":
                    continue
                options = {"session.intra_op.allow_spinning": spin} if spin else {}
                backend = open_backend(SHIPPED_MODEL, "cpu", count, engine, options)[0]
                name = f"{engine} {count} threads{', spinning' if spin == '1' else ''}"
                lines[name] = _stream(lambda backend=backend: backend(canvas, P), repeats)
    table("10 Hz, ms", ["CPU an answer", "latency", "latency 99%"], lines)


def _stream(answer: Callable[[], object], repeats: int) -> list[float]:
    for _ in range(3):
        answer()
    taken, cpu, start = [], time.process_time(), time.perf_counter()
    for turn in range(repeats):
        time.sleep(max(0.0, start + 0.1 * turn - time.perf_counter()))
        before = time.perf_counter()
        answer()
        taken.append(1e3 * (time.perf_counter() - before))
    time.sleep(0.1)
    cpu = 1e3 * (time.process_time() - cpu) / repeats
    return [cpu, float(np.median(taken)), float(np.percentile(taken, 99))]


def around(repeats: int) -> None:
    """Each step by itself, in CPU time."""
    predictor = Predictor(device="cpu", threads=1)
    backend = predictor._backend
    sizes = {"1242x375": 721.5, "1920x1080": 1400.0}
    lines: dict[str, list[float]] = {}
    for size, focal in sizes.items():
        width, height = map(int, size.split("x"))
        sample = World(width=width, height=height, focal=focal, seed=91).sample(3)
        image, camera = sample.image, sample.camera
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        small = scaled_size(camera, backend.focal, 2 * 640 * 192)
        scaled, seen = resample(image, *small), camera.resize(*small)
        canvas, padded = pad_to_multiple(scaled, seen, backend.size_multiple)
        [found] = backend(canvas[None], padded.P[None])
        rows_, columns = canvas.shape[:2]
        steps: dict[str, Callable[[], object]] = {
            "decode JPEG": lambda jpeg=jpeg: cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB),
            "decode JPEG by half": lambda jpeg=jpeg: cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_COLOR_2),
            "resample": lambda image=image, small=small: resample(image, *small),
            "resample (area averages)": lambda image=image, small=small: cv2.resize(
                image, small, interpolation=cv2.INTER_AREA
            ),
            "resample (linear alone)": lambda image=image, small=small: cv2.resize(image, small),
            "pad": lambda scaled=scaled, c=columns, r=rows_: window(scaled, 0, 0, c, r, PADDING),
            "clip and suppress": lambda f=found, camera=camera, padded=padded: postprocess(
                f, predictor.class_spec, camera, padded, backend.nms
            ),
        }
        for name, step in steps.items():
            lines.setdefault(name, []).append(_cpu(step, repeats))
    table("around the network, CPU ms", list(sizes), lines)


def _cpu(step: Callable[[], object], repeats: int) -> float:
    step()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        taken.append(1e3 * (time.process_time() - start))
    return float(np.median(taken))


def start(_: int) -> None:
    """Opening: the first line of a part counts everything, as there is nothing in the cache."""
    lines = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for engine in installed_engines()[:2]:
            for turn in ("first", "second"):
                cpu, passed = time.process_time(), time.perf_counter()
                open_backend(SHIPPED_MODEL, "cpu", 1, engine)
                lines[f"{engine}, {turn} time"] = [
                    1e3 * (time.process_time() - cpu),
                    1e3 * (time.perf_counter() - passed),
                ]
    table("opening the model, ms (the first time with imports)", ["CPU", "passed"], lines)


def accuracy(streets: int) -> None:
    """Average precision (R40, moderate) of cars in each engine, and how far its boxes are from the first one's."""
    world, labels = World(seed=1), []
    predictors = {engine: Predictor(device="cpu", threads=1, engine=engine) for engine in installed_engines()[:2]}
    tables: dict[str, list] = {engine: [] for engine in predictors}
    moved: dict[str, list[float]] = {engine: [] for engine in predictors}
    for index in range(streets):
        sample = world.sample(index)
        labels.append(objects_table(sample.objects))
        found = {engine: p.predict(sample.image, sample.camera) for engine, p in predictors.items()}
        reference = next(iter(found.values()))
        for engine, answer in found.items():
            tables[engine].append(detections_table(answer, sample.camera))
            for i in np.flatnonzero(reference.scores > 0.15):
                same = answer.boxes[answer.names == reference.names[i], :3]
                gap = np.linalg.norm(same - reference.boxes[i, :3], axis=1) / np.linalg.norm(reference.boxes[i, :3])
                moved[engine].append(100 * gap.min() if len(gap) else 100.0)
    lines = {}
    for engine, predictor in predictors.items():
        scores = {
            (name, metric, overlaps): values[1]
            for overlaps in ("strict", "loose")
            for name, metric, _, values in rows(evaluate(labels, tables[engine]), "R40", overlaps)
        }
        lines[f"{engine} {predictor.precision}"] = [
            *(
                scores["Car", metric, overlaps]
                for metric, overlaps in (("3D", "strict"), ("3D", "loose"), ("2D", "strict"))
            ),
            *np.percentile(moved[engine], (50, 95)),
        ]
    columns = ["Car 3D@0.7", "Car 3D@0.5", "Car 2D@0.7", "moved, median %", "moved, 95% %"]
    table(f"{streets} streets of seed 1, moderate", columns, lines)


@contextmanager
def _competing(busy: bool) -> Iterator[None]:
    other = multiprocessing.Process(target=_burn, daemon=True) if busy else None
    if other:
        other.start()
    yield
    if other:
        other.terminate()


def _burn() -> None:
    while True:
        pass


def main() -> None:
    """Print the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1], help="default: all but accuracy")
    parser.add_argument("--repeats", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--streets", type=int, default=200, help="for accuracy; default: %(default)s")
    parser.add_argument("--busy", action="store_true", help="beside a process that keeps one core busy")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}{', beside a busy process' if options.busy else ''}")
    with _competing(options.busy):
        for part in options.parts:
            globals()[part](options.streets if part == "accuracy" else options.repeats)


if __name__ == "__main__":
    main()
