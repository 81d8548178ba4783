"""All that has a speed, measured in one run and printed as one table: python benchmarks/speed.py [--parts PART ...]

    engines   the network at 640x192 in each engine on one thread, in turns
    threads   a stream at 10 Hz by threads, with and without idle threads that spin
    first     the first answer at the size of a 1080p camera, when the model was warmed up at another and at this one
    around    what is not network, at 1242x375: decoding, resampling, padding, suppression
    around_1080p   the same at 1920x1080
    opening   the model, the first time (with imports, nothing in the cache) and the second
    startup   the node over DDS: from the first image of a camera that comes later, to the first detections
    bag       scoring a model on a bag, a frame, start and scoring included, without and with the page
    step      one training step: student alone, teacher, student + ADD (distillation_cost.py has other models)
    loader    one image of the training loader, with --kitti

CPU time is what the measured processes used, on all their threads; it is comparable on a busy machine, where the time
that passed is not. Ratios are to the first row of each part. `--busy` lets another process compete for a core.
Other models and sizes: latency.py; what precision does to boxes: engine_accuracy.py; many starts: startup.py.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from latency import camera_of, installed_engines, measure

from add_model.backends import Backend
from add_model.backends.select import open_backend
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_model.preprocessing import (
    PADDING,
    pad_to_multiple,
    postprocess,
    preprocess,
    resample,
    scaled_size,
    window,
)
from add_ros.bags.messages import compressed_image
from add_ros.bags.types import typestore
from add_ros.images import rgb_from_compressed
from training.data.world import World

Rows = dict[str, tuple[float, float]]  # name -> milliseconds of CPU, milliseconds that passed; NaN where not measured
_CANVAS = (640, 192)
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
_BAG_FRAMES = 100


def machine() -> str:
    """The processor's features that matter here, and how busy it is."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = set(text.split())
    features = " ".join(feature for feature in _FEATURES if feature in flags)
    return f"{os.cpu_count()} cores of {name[1] if name else '?'} ({features}), load {os.getloadavg()[0]:.1f}"


def engines(options: argparse.Namespace) -> Rows:
    """The network alone."""
    canvas = np.random.default_rng(0).integers(0, 255, (*_CANVAS[::-1], 3), dtype=np.uint8)
    opened: dict[tuple[str, str], Backend] = {}
    for engine in lean_engines():
        backend = open_backend(SHIPPED_MODEL, "cpu", 1, engine)[0]
        opened[engine, backend.precision] = backend
    if ("openvino", "bfloat16") in opened:
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        opened["openvino", "float32"] = open_backend(SHIPPED_MODEL, "cpu", 1, "openvino", hint)[0]
    times, _ = measure(opened, canvas, options.repeats)
    return {" ".join(key): (float(np.median(t[:, 2])), float(np.median(t[:, 0]))) for key, t in times.items()}


def threads(options: argparse.Namespace) -> Rows:
    """Answers at 10 Hz, as in the node."""
    canvas = np.random.default_rng(0).integers(0, 255, (1, *_CANVAS[::-1], 3), dtype=np.uint8)
    P = camera_of(*_CANVAS).P[None]
    lines: Rows = {}
    for engine in lean_engines():
        for count in (1, 2, 4):
            for spin in ("1", "0") if engine == "onnxruntime" else ("",):
                given = {"session.intra_op.allow_spinning": spin} if spin else {}
                backend = open_backend(SHIPPED_MODEL, "cpu", count, engine, given)[0]
                name = f"{engine} {count} threads{', spinning' if spin == '1' else ''}"
                lines[name] = _stream(lambda backend=backend: backend(canvas, P), options.repeats)
    return lines


def first(options: argparse.Namespace) -> Rows:
    """Each measured on a predictor of its own, a few times."""
    width, height, focal = 1920, 1080, 1115.0
    camera = Camera.pinhole(focal, focal, width / 2, height / 2, width, height)
    common = Camera.pinhole(720, 720, 640, 192, 1280, 384)  # the node's, as long as it knows no camera
    image = World(width=width, height=height, focal=focal, seed=91).sample(3).image
    lines: Rows = {}
    for engine in lean_engines():
        for name, warm in (("warmed up elsewhere", common), ("warmed up there", camera)):
            taken = []
            for _ in range(max(3, options.repeats // 10)):
                predictor = Predictor(device="cpu", threads=1, engine=engine)
                predictor.warm_up(warm)
                taken.append(once(lambda p=predictor: p.predict(image, camera)))
            lines[f"{engine}, {name}"] = tuple(np.median(taken, axis=0))
    return lines


def around(options: argparse.Namespace, width: int = 1242, height: int = 375, focal: float = 721.5) -> Rows:
    """Each step by itself."""
    predictor = Predictor(device="cpu", threads=1)
    backend = predictor._backend
    sample = World(width=width, height=height, focal=focal, seed=91).sample(3)
    image, camera = sample.image, sample.camera
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    small = scaled_size(camera, backend.focal, 2 * 640 * 192)
    scaled, seen = resample(image, *small), camera.resize(*small)
    canvas, padded = pad_to_multiple(scaled, seen, backend.size_multiple)
    [found] = backend(canvas[None], padded.P[None])
    rows, columns = canvas.shape[:2]
    steps: dict[str, Callable[[], object]] = {
        "decode JPEG": lambda: cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB),
        "decode JPEG by half": lambda: cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_COLOR_2),
        "resample": lambda: resample(image, *small),
        "resample (area averages)": lambda: cv2.resize(image, small, interpolation=cv2.INTER_AREA),
        "resample (linear alone)": lambda: cv2.resize(image, small),
        "pad": lambda: window(scaled, 0, 0, columns, rows, PADDING),
        "clip and suppress": lambda: postprocess(found, predictor.class_spec, camera, padded, backend.nms),
    }
    message = compressed_image(typestore(), image, 0, "eye")
    message.data = jpeg.reshape(-1)

    def all_around(by_half: bool) -> None:
        _, seen = preprocess(rgb_from_compressed(message, None, by_half), camera, backend.focal, backend.size_multiple)
        postprocess(found, predictor.class_spec, camera, seen, backend.nms)

    steps["all, the JPEG decoded in full"] = lambda: all_around(False)
    steps["all, the JPEG decoded by half"] = lambda: all_around(True)
    return {name: _repeated(step, options.repeats) for name, step in steps.items()}


def around_1080p(options: argparse.Namespace) -> Rows:
    """The same of a larger camera."""
    return around(options, 1920, 1080, 1400.0)


def opening(_: argparse.Namespace) -> Rows:
    """The first time counts everything, as there is nothing in the cache."""
    lines: Rows = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = folder
        for engine in lean_engines():
            for turn in ("first", "second"):
                lines[f"{engine}, {turn} time"] = once(lambda e=engine: open_backend(SHIPPED_MODEL, "cpu", 1, e))
        os.environ.pop("XDG_CACHE_HOME")
        os.environ |= {"XDG_CACHE_HOME": kept} if kept else {}
    return lines


def startup(options: argparse.Namespace) -> Rows:
    """A few starts; their worst, too."""
    import startup as starts

    given = starts.parser().parse_args([])
    starts.isolate(starts.config_folder())
    seconds = [starts.start("node first", 1 + n, given)["image to detections"] for n in range(options.starts)]
    nothing = float("nan")
    return {"median": (nothing, 1e3 * float(np.median(seconds))), "slowest": (nothing, 1e3 * max(seconds))}


def bag(_: argparse.Namespace) -> Rows:
    """A process of its own for each."""
    from bag_evaluation import evaluate, write

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bag"
        write(path, _BAG_FRAMES, 10, 1242, 375)
        lines: Rows = {}
        for name, page in (("scores", False), ("scores and page", True)):
            measured = evaluate(path, page)
            lines[name] = 1e3 * measured.cpu / _BAG_FRAMES, 1e3 * measured.seconds / _BAG_FRAMES
    return lines


def step(options: argparse.Namespace) -> Rows:
    """The arms of distillation_cost.py in turns, on one thread."""
    import torch
    from distillation_cost import ARMS, Arm, batch_of

    torch.set_num_threads(1)
    model = "monodle_plain"
    batch, arms = batch_of(model, (224, 96), 8, "cpu"), {name: Arm(name, model, "cpu") for name in ARMS}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ARMS}
    for turn in range(max(4, options.repeats // 4)):
        for name, arm in arms.items():
            passed, cpu = arm.step(batch)
            if turn >= 2:
                taken[name].append((1e3 * cpu, 1e3 * passed))
    return {name: tuple(np.median(times, axis=0)) for name, times in taken.items()}


def loader(options: argparse.Namespace) -> Rows:
    """Nothing without KITTI's frames."""
    from loader import MODELS, Over, rate

    from training.data.kitti.dataset import KittiFolder

    lines: Rows = {}
    for model, size in MODELS.items() if options.kitti else ():
        images, cpu = rate(Over(model, KittiFolder(options.kitti, None), size, 300), 2, 16)
        lines[f"{size[0]}x{size[1]}, 2 workers"] = cpu, 1e3 / images
    return lines


PARTS = {
    "engines": engines, "threads": threads, "first": first, "around": around, "around_1080p": around_1080p,
    "opening": opening, "startup": startup, "bag": bag, "step": step, "loader": loader,
}  # fmt: skip


def lean_engines() -> list[str]:
    """Without torch: its threads and others' get in each other's way."""
    return [engine for engine in installed_engines() if engine != "torch"]


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the CPU, and of the clock."""
    cpu, passed = time.process_time(), time.perf_counter()
    work()
    return 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - passed)


def in_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[tuple[float, float]]:
    """The medians of `once` of each, taking turns; the first three turns do not count."""
    taken = [[once(work) for work in works] for _ in range(repeats)]
    return [(float(cpu), float(passed)) for cpu, passed in np.median(np.array(taken)[3:], axis=0)]


def _repeated(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    work()
    return tuple(np.median([once(work) for _ in range(repeats)], axis=0))


def _stream(answer: Callable[[], object], repeats: int) -> tuple[float, float]:
    for _ in range(3):
        answer()
    taken, cpu, start = [], time.process_time(), time.perf_counter()
    for turn in range(repeats):
        time.sleep(max(0.0, start + 0.1 * turn - time.perf_counter()))
        taken.append(once(answer)[1])
    time.sleep(0.1)
    return 1e3 * (time.process_time() - cpu) / repeats, float(np.median(taken))


@contextmanager
def _competing(busy: bool) -> Iterator[None]:
    other = multiprocessing.get_context("fork").Process(target=_burn, daemon=True) if busy else None
    if other:
        other.start()
    yield
    if other:
        other.terminate()


def _burn() -> None:
    while True:
        pass


def _cell(value: float, reference: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f} ({value / reference:.2f})"


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--repeats", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--starts", type=int, default=5, help="of the node; default: %(default)s")
    parser.add_argument("--kitti", type=Path, help="a folder in KITTI's object layout, for the loader")
    parser.add_argument("--busy", action="store_true", help="beside a process that keeps one core busy")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}{', beside a busy process' if options.busy else ''}\n")
    print("| part | what | CPU ms (ratio) | passed ms (ratio) |\n|---|---|---|---|")
    with _competing(options.busy):
        for part in options.parts:
            rows = PARTS[part](options)
            for name, values in rows.items():
                cells = (_cell(*pair) for pair in zip(values, next(iter(rows.values())), strict=True))
                print(f"| {part} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
