"""Score KITTI result files: add-ros evaluate --labels DIR --results DIR [--classes FILE] [--json FILE].

Prints the official benchmark's table (2D, AOS, BEV, 3D; easy, moderate, hard) and writes it as JSON:
[R40, R11][strict, loose][class][metric], and how many objects count, objects[class], each for easy, moderate and hard.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from add_model.atomic_io import write_atomically
from add_model.classes import KITTI_CLASSES
from add_model.metadata import read_classes
from training.arguments import command_parser
from training.evaluation.average_precision import evaluate
from training.evaluation.folders import read_frames
from training.evaluation.table import format_table
from training.reported_errors import reported


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "evaluate",
        "Print the official benchmark's table of result files: average precision in 2D, AOS, BEV and 3D for easy, "
        "moderate and hard objects.",
        "--labels DIR/training/label_2 --results results --ids chen_val",
    )
    files = options.add_argument_group("what is scored")
    files.add_argument("--labels", required=True, metavar="DIR", help="KITTI label files, such as training/label_2")
    files.add_argument("--results", required=True, metavar="DIR", help="result files, one per frame: ID.txt")
    files.add_argument(
        "--ids", metavar="FILE", help="frame ids to score, one per line, or chen_val (default: all labelled)"
    )
    files.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="classes to score: a JSON file, or a model that names them (default: KITTI's)",
    )
    out = options.add_argument_group("output")
    out.add_argument("--json", type=Path, metavar="FILE", help="where to write the table as JSON")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 where the input cannot be scored."""
    return reported(partial(_run, parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    classes = read_classes(options.classes) if options.classes else KITTI_CLASSES
    frames = read_frames(options.labels, options.results, options.ids, classes)
    scores = evaluate(frames.labels, frames.results, classes)
    print(format_table(scores))
    print(f"{len(frames.ids)} frames, {sum(map(len, frames.results))} detections")
    for note in frames.notes():
        print(note)
    if options.json:
        result = scores.to_json() | {"objects": scores.objects}
        write_atomically(options.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
