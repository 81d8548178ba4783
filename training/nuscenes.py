"""add-ros nuscenes: run a model over nuScenes' key frames and write what its official evaluation takes."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from itertools import groupby
from pathlib import Path

from add_model.atomic_io import require_writable, write_atomically
from add_model.predictor import Predictor
from training.arguments import command_parser
from training.data.nuscenes.dataset import CAMERAS, NuscenesFrames
from training.data.nuscenes.splits import SPLITS
from training.data.nuscenes.submission import Submission
from training.model_arguments import add_engine_arguments, add_model_argument, predictor_options
from training.progress_bar import counted
from training.reported_errors import print_notes, reported


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "nuscenes",
        "Run a model over nuScenes' key frames and write the JSON that nuscenes-devkit scores as detections.",
        "DIR --scenes val --model weights.onnx --out results.json",
    )
    frames = options.add_argument_group("frames")
    frames.add_argument("root", type=Path, metavar="DIR", help="folder that holds samples/ and the tables' folder")
    frames.add_argument("--scenes", default="val", metavar="SPLIT", help=f"{', '.join(SPLITS)}, or a file (val)")
    frames.add_argument("--version", default="v1.0-trainval", metavar="NAME", help="tables' folder (v1.0-trainval)")
    frames.add_argument("--cameras", nargs="+", default=CAMERAS, metavar="CAM", help="channels (default: all six)")
    model = options.add_argument_group("model")
    add_model_argument(model)
    add_engine_arguments(model)
    out = options.add_argument_group("output")
    out.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return reported(partial(_run, parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    require_writable(options.out)
    frames = NuscenesFrames(options.root, options.scenes, options.version, options.cameras)
    predictor = Predictor(options.model, **predictor_options(options))
    print_notes([*frames.notes, predictor.device_note])
    submission = _predict(frames, predictor)
    write_atomically(options.out, json.dumps(submission.content()))
    for reason, count in submission.left_out.items():
        if count:
            print(f"left out: {count}, {reason}", file=sys.stderr)
    found = sum(map(len, submission.results.values()))
    print(f"{len(submission.results)} samples, {len(frames)} images, {found} detections -> {options.out}")


def _predict(frames: NuscenesFrames, predictor: Predictor) -> Submission:
    submission = Submission()
    for token, indices in groupby(counted(range(len(frames)), "frames", "predict"), frames.sample_token):
        views = []
        for index in indices:
            frame = frames.sample(index)
            views.append((predictor.predict(frame.image, frame.camera), frames.camera_to_global(index)))
        submission.add(token, views)
    return submission


if __name__ == "__main__":
    sys.exit(main())
