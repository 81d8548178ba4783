"""The options of `add-ros bag evaluate`, and which of them go together."""

from __future__ import annotations

import argparse
from pathlib import Path

from add_ros.bags.many_bags import add_bags, add_processes, are_shared
from training.arguments import add_trust_argument, at_least, command_parser, share
from training.data.camera_info import RECTIFICATIONS
from training.model_arguments import add_engine_arguments, add_ground_arguments

PICTURES = 60  # frames of each run on the page, where --frames names no number


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "bag evaluate",
        "Score a model on a bag with ground truth, or without --model the detections that were recorded: KITTI's "
        "average precision and errors against distance. A --compare option adds a second run and the differences of "
        "the two with confidence intervals.",
        "bag --model weights.onnx --page evaluation.html",
        usage="%(prog)s BAG [BAG ...] [options]",
    )
    add_bags(options, "rosbag2 folders, or .mcap or .db3 files, scored together")
    _add_scored(options)
    _add_topics(options)
    _add_comparison(options)
    add_processes(options)
    _add_output(options)
    return options


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options as given; ends with usage where some do not go together."""
    command = parser()
    arguments = command.parse_args(argv)
    _require_together(command, arguments)
    return arguments


def _add_scored(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is scored")
    what.add_argument("--model", metavar="FILE", help=".onnx or .safetensors, or monodle_lite0, which ships here")
    what.add_argument(
        "--detections", type=Path, metavar="BAG", help="score detections recorded in this other bag, matched by stamp"
    )
    add_engine_arguments(what)
    what.add_argument(
        "--threads", type=at_least(0), default=0, metavar="N", help="CPU threads; 0 (default): all, 4 at most"
    )
    add_ground_arguments(what)
    what.add_argument(
        "--score-threshold",
        type=share,
        metavar="X",
        help="leave out detections below it (default: none)",
    )
    what.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="JSON file or model (default: of --model or KITTI)",
    )
    what.add_argument(
        "--class",
        dest="new_names",
        type=_renaming,
        action="append",
        default=[],
        metavar="NAME=CLASS",
        help="read a name as another, such as vehicle=Car; repeatable",
    )
    what.add_argument(
        "--rectification",
        choices=RECTIFICATIONS,
        default="auto",
        metavar="KIND",
        help="auto, rectified or raw, as the node's",
    )
    add_trust_argument(what)


def _add_topics(parser: argparse.ArgumentParser) -> None:
    topics = parser.add_argument_group("topics, found by type where there is one choice")
    for name, kind in (
        ("image", "Image or CompressedImage"),
        ("camera-info", "CameraInfo"),
        ("ground-truth", "Detection3DArray"),
        ("detections", "Detection3DArray"),
    ):
        topics.add_argument(f"--{name}-topic", metavar="TOPIC", help=kind)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    comparison = parser.add_argument_group("comparison: a second run, like the first but for one thing")
    against = comparison.add_mutually_exclusive_group()
    against.add_argument("--compare-model", metavar="FILE", help="another model")
    against.add_argument("--compare-bag", type=Path, metavar="BAG", help="another bag")
    against.add_argument(
        "--compare-detections", type=Path, metavar="BAG", help="those recorded in this bag (or in BAG)"
    )
    comparison.add_argument("--resamples", type=at_least(20), metavar="N", help="of confidence intervals; default 1000")
    comparison.add_argument(
        "--block",
        type=at_least(1),
        metavar="N",
        help="frames drawn together (default 1 to 20)",
    )
    comparison.add_argument("--seed", type=at_least(0), metavar="N", help="default 0")


def _add_output(parser: argparse.ArgumentParser) -> None:
    out = parser.add_argument_group("what comes out, beside the text")
    out.add_argument("--json", type=Path, metavar="FILE", help="all numbers, frame by frame too")
    out.add_argument("--page", type=Path, metavar="FILE", help="one HTML page: numbers, curves, frames")
    out.add_argument(
        "--frames", type=at_least(0), metavar="N", help=f"frames of each run with pictures (default {PICTURES})"
    )
    out.add_argument("--title", metavar="TEXT", help="heading of the page")
    out.add_argument("--out-bag", type=Path, metavar="BAG", help="a new bag: camera, detections, markers")
    out.add_argument(
        "--score",
        type=share,
        metavar="X",
        help="least score in errors, pictures and tracks (default: best F1 per class; tracks 0.4)",
    )


def _require_together(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if len(arguments.bags) > 1:
        for name in ("detections", "compare_model", "compare_bag", "compare_detections", "page", "out_bag"):
            if getattr(arguments, name) is not None:
                parser.error(f"--{name.replace('_', '-')} is about one bag, not {len(arguments.bags)}")
    if are_shared(parser, arguments) and not arguments.threads:
        arguments.threads = 1
    known = arguments.camera_height is not None or arguments.ground_slope_std is not None
    if known and not (arguments.model or arguments.compare_model):
        parser.error("--camera-height is for models: recorded detections are scored as they are")
    if arguments.model and arguments.detections:
        parser.error("give --model or --detections, not both")
    if arguments.model and arguments.detections_topic and not arguments.compare_detections:
        parser.error("--detections-topic is about recorded detections: a --model is scored by its own, leave it out")
    if not (arguments.compare_model or arguments.compare_bag or arguments.compare_detections):
        alone = [f"--{name}" for name in ("resamples", "block", "seed") if getattr(arguments, name) is not None]
        if alone:
            which = "--compare-model, --compare-bag or --compare-detections"
            parser.error(f"{alone[0]} is about the intervals of a comparison: give {which} too, or leave it out")
    if arguments.page is None:
        for name in ("frames", "title"):
            if getattr(arguments, name) is not None:
                parser.error(f"--{name} is about the page: give --page too, or leave it out")


def _renaming(text: str) -> tuple[str, str]:
    name, equals, other = text.partition("=")
    if not (name and equals and other):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=CLASS")
    return name, other
