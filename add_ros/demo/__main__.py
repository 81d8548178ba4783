"""The demo: `add-ros demo [--kitti DIR]` plays a clip through the detector node and shows the result.

Without --kitti the clip is a drive through the synthetic world. A bag is written, played over DDS by one process,
detected in by a second and recorded by a third; the page that is made from both bags is OUT/index.html. Files of an
earlier demo in OUT are replaced, nothing else. --model takes any detector that add-ros export wrote.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections import Counter, defaultdict
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from add_model.classes import ClassSpec
from add_model.detections import SCORE_THRESHOLD
from add_model.predictor import SHIPPED_MODEL, Predictor, model_file
from add_ros.bags import types
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.convert import write_bag
from add_ros.bags.errors import BagError
from add_ros.bags.sources import FrameSource, open_source, world_frames
from add_ros.demo import pipeline
from add_ros.demo.page import Report, write_page
from add_ros.demo.processes import ProcessError, isolate
from add_ros.demo.results import ResultRun, read_frames, read_run
from add_ros.demo.viewer_bag import write_viewer_bag
from add_ros.transport import config_folder
from training.arguments import at_least, command_parser, share
from training.model_arguments import add_engine_arguments
from training.reported_errors import failed, reported

HERTZ = 10.0
_ATTEMPTS = 3  # the second and third slower, where the machine cannot answer every frame at 10 Hz
_WORLD_FRAMES, _MOST_FRAMES = 50, 150
_STREET, _SEED = 3, 2026  # a drive that no training uses
_PAGE, _PARTS = "index.html", ("input", "result", "viewer", "logs")  # what a demo writes into its folder
_MARK = ".made_by_add_ros_demo"  # an empty file there, without which nothing is replaced


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "demo",
        "Play a clip through the detector node and make a page of the result, OUT/index.html. Without --kitti the clip "
        "is a drive through the synthetic world. Files of an earlier demo in OUT are replaced, nothing else.",
        "--kitti DIR",
    )
    clip = options.add_argument_group("clip")
    clip.add_argument(
        "--kitti", type=Path, metavar="DIR", help="real frames: a KITTI folder or drive, or images with a calib.txt"
    )
    clip.add_argument("--calib", type=Path, metavar="FILE", help="calibration of images that have none beside them")
    clip.add_argument(
        "--frames", type=at_least(1), metavar="N", help=f"at most so many ({_WORLD_FRAMES}, real {_MOST_FRAMES})"
    )
    node = options.add_argument_group("node")
    node.add_argument(
        "--model",
        default=SHIPPED_MODEL.stem,
        metavar="FILE",
        help="an exported .onnx file, or the name of weights that ship here (default %(default)s)",
    )
    add_engine_arguments(node)
    node.add_argument("--score-threshold", type=share, default=SCORE_THRESHOLD, metavar="X", help="default %(default)s")
    out = options.add_argument_group("output")
    out.add_argument(
        "--out", type=Path, default=Path("out/demo"), metavar="DIR", help="folder of the page (default out/demo)"
    )
    return options


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.calib and not arguments.kitti:
        command.error("--calib would do nothing without --kitti")
    return arguments


def _source(arguments: argparse.Namespace) -> FrameSource:
    if arguments.kitti:
        return open_source(arguments.kitti, arguments.calib, rate=HERTZ, limit=arguments.frames or _MOST_FRAMES)
    return world_frames(arguments.frames or _WORLD_FRAMES, _STREET, _SEED, HERTZ)


def _play(bag: Path, out: Path, source: FrameSource, node: list[str]) -> tuple[ResultRun, float, list[str]]:
    """Play at 10 Hz, and slower where frames stay unanswered: the last run, its pace, and what was lost before."""
    earlier: list[str] = []
    pace = 1.0
    while True:
        print(f"playing {source.count} frames at {pace * HERTZ:.3g} Hz through the node ...", flush=True)
        pipeline.run(bag, out / "result", out / "logs", source.count, source.count / HERTZ, pace, node)
        run = read_run(out / "result")
        if len(run.answers) >= source.count or len(earlier) == _ATTEMPTS - 1:
            return run, pace, earlier
        earlier.append(f"At {pace * HERTZ:.3g} Hz {_lost(run, source.count)}")
        print(f"  {earlier[-1]} Is the machine too slow or busy? Once more, slower.", flush=True)
        pace = _slower(pace, run)


def _slower(pace: float, run: ResultRun) -> float:
    """A pace at which the node has time even for the slowest frame of its last second."""
    slowest = float(run.diagnostics.get("processing_time_max_ms", "nan"))
    sustainable = 0.6 * 1000 / slowest / HERTZ if slowest > 0 else 0.0
    return float(np.clip(sustainable, 0.25 * pace, 0.6 * pace))


def _lost(run: ResultRun, frames: int) -> str:
    reasons = [f"{value} {key[16:-1]}" for key, value in run.diagnostics.items() if key.startswith("frames_dropped (")]
    reported = f" The node reports: {', '.join(reasons)}." if reasons else ""
    return f"{frames - len(run.answers)} of {frames} frames were not answered.{reported}"


def _milliseconds(times: np.ndarray) -> str:
    if not len(times):
        return "unknown"
    return f"median {np.median(times):.0f} ms, 95% {np.percentile(times, 95):.0f} ms, largest {times.max():.0f} ms"


def _found(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"


def _report(
    arguments: argparse.Namespace,
    command: str,
    source: FrameSource,
    run: ResultRun,
    pace: float,
    earlier: list[str],
    began: float,
    classes: ClassSpec,
) -> Report:
    real = arguments.kitti is not None
    what = "real camera frames" if real else "rendered frames of a synthetic world, not real images"
    model = Path(run.diagnostics.get("model", "unknown")).name
    shown = [
        f"{source.description[0].upper()}{source.description[1:]}: {what}. Each frame was published as a ROS 2 Image "
        "with CameraInfo from a bag by one process, the detector node in another process answered with 3D boxes over "
        "DDS, and a third recorded them. The boxes below are what was recorded, found in single images.",
        "White boxes are the clip's exact labels." if source.ground_truth and not real else
        "White boxes are the data set's labels." if source.ground_truth else
        "These frames have no labels, so the page can't show how right the boxes are.",
    ]  # fmt: skip
    lost = source.count - len(run.answers)
    processing = run.diagnostics.get("processing_time_ms")
    table = [
        ("Frames published", f"{source.count}, at {HERTZ * pace:.3g} Hz"),
        ("Frames answered", f"{len(run.answers)}, {lost} lost"),
        *(("Played before, too fast for this machine", text) for text in earlier),
        ("Objects detected", f"{_found(run.found())} (score of at least {arguments.score_threshold:g})"),
        ("Latency, frame published to detections received", _milliseconds(run.latencies_ms())),
        ("Processing time in the node, mean of its last second", f"{processing} ms" if processing else "unknown"),
        ("Marker messages for RViz", str(run.marker_messages)),
        ("Model", model),
        ("Device", run.diagnostics.get("device", "unknown")),
        ("Engine", "{engine}, {precision}".format_map(defaultdict(lambda: "unknown", run.diagnostics))),
        ("Date", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
        ("Command", command),
        ("Time for everything but this page", f"{time.monotonic() - began:.0f} s"),
    ]
    problem = _lost(run, source.count) if lost else None
    title = f"3D detection over ROS 2: {'real frames' if real else 'synthetic clip'}"
    return Report(title, shown, problem, table, source.ground_truth, HERTZ, classes)


def _check_replaceable(out: Path, sources: list[Path]) -> None:
    """Raises ValueError where files would be lost that no demo made, or that are the input of this one."""
    there = [name for name in (_PAGE, *_PARTS) if (out / name).exists() or (out / name).is_symlink()]
    if there and not (out / _MARK).is_file():
        raise ValueError(
            f"{out} holds {', '.join(there)} that no demo made, and that this one would replace: name another folder "
            "with --out (make demo OUT=DIR), or move them away"
        )
    for source in sources:
        if any(source.resolve().is_relative_to((out / name).resolve()) for name in _PARTS):
            raise ValueError(f"{source} lies in {out}, in a folder that the demo replaces: name another one with --out")


def _prepare(out: Path) -> None:
    """Make the folder, and remove an earlier demo's files. Raises ValueError where it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARK).touch()
    except OSError as error:
        raise ValueError(
            f"--out {out} cannot be the demo's folder: {error.strerror}; name another one (make demo OUT=DIR)"
        ) from error
    for name in _PARTS:
        if (out / name).exists():
            shutil.rmtree(out / name)


def _run(arguments: argparse.Namespace, command: str) -> int:
    began = time.monotonic()
    out, model = arguments.out, model_file(arguments.model).resolve()
    _check_replaceable(out, [path for path in (arguments.kitti, arguments.calib) if path])
    # A model that cannot be used is an error here, and not in the log of a node. On the CPU: the device's memory is for
    # the node.
    classes = Predictor(model, "cpu").class_spec
    isolate(config_folder())
    source = _source(arguments)
    _prepare(out)
    print(f"writing {out / 'input'}: {source.description} ...", flush=True)
    with CameraBagWriter(out / "input", ground_truth=source.ground_truth) as writer:
        write_bag(source, writer)
    given = {"model": model, "device": arguments.device, "engine": arguments.engine}
    given |= {"score_threshold": arguments.score_threshold, "flip_test": str(arguments.flip_test).lower()}
    node = [text for name, value in given.items() for text in ("-p", f"{name}:={value}")]
    run, pace, earlier = _play(out / "input", out, source, node)
    report = _report(arguments, command, source, run, pace, earlier, began, classes)
    write_viewer_bag(out / "viewer", out / "input", out / "result")
    print("drawing the page ...", flush=True)
    page = out / _PAGE
    write_page(page, read_frames(out / "input", run), report)
    values = dict(report.table)
    print(f"\n{page.resolve()}")
    print(f"  shown    {source.description} ({'real' if arguments.kitti else 'synthetic, not real images'})")
    print(f"  frames   {source.count} in at {HERTZ * pace:.3g} Hz, {len(run.answers)} answered")
    print(f"  objects  {values['Objects detected']}")
    print(f"  latency  {_milliseconds(run.latencies_ms())}, published to received")
    print(f"  view     {out / 'viewer'}, a bag for Foxglove (layout: config/foxglove.json) and RViz")
    print(f"  model    {values['Model']} on {values['Device']}, in {values['Engine']}")
    print(f"  time     {time.monotonic() - began:.0f} s for everything")
    if report.problem:
        return failed(f"{report.problem} Logs: {out / 'logs'}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command; returns 0 when every frame was answered, 1 otherwise with what failed, 130 on Ctrl-C and SIGTERM."""
    arguments = _arguments(argv)
    command = shlex.join(["add-ros", "demo", *(sys.argv[1:] if argv is None else argv)])
    stopped = "interrupted; all its processes have ended"
    kinds = ProcessError, BagError, types.UnknownTypeError
    return reported(partial(_run, arguments, command), *kinds, stopped=stopped)


if __name__ == "__main__":
    sys.exit(main())
