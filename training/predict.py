"""add-ros predict: run a model over KITTI frames and write KITTI result files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from add_model.errors import ModelError
from add_model.predictor import SHIPPED_MODEL, Predictor
from training.arguments import command_parser
from training.data.kitti.dataset import KittiError, KittiFolder
from training.data.kitti.labels import write_results
from training.data.kitti.splits import PUBLISHED, read_ids


def _failed(reason: object) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "predict",
        "Run a model over KITTI frames and write KITTI result files.",
        "--kitti DIR --ids chen_val --model weights.onnx --out results",
    )
    frames = options.add_argument_group("frames")
    frames.add_argument("--kitti", type=Path, required=True, metavar="DIR", help="folder in KITTI's object layout")
    published = " or ".join(PUBLISHED)
    frames.add_argument("--ids", metavar="FILE", help=f"file of frame ids, or {published} (default: all)")
    frames.add_argument(
        "--split", choices=("training", "testing"), default="training", help="folder of --kitti (default: training)"
    )
    frames.add_argument(
        "--trust-calibration", action="store_true", help="give no warning about intrinsics that look wrong"
    )
    model = options.add_argument_group("model")
    model.add_argument(
        "--model", default=SHIPPED_MODEL.stem, metavar="FILE", help=".onnx or .safetensors file (default: %(default)s)"
    )
    model.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    out = options.add_argument_group("output")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the result files, new or empty")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.out.is_dir() and any(options.out.iterdir()):
        return _failed(f"{options.out} is not empty: old results would be scored with the new ones; empty it")
    try:
        ids = read_ids(options.ids) if options.ids else None
        frames = KittiFolder(options.kitti, ids, options.split, trust_calibration=options.trust_calibration)
        predictor = Predictor(options.model, options.device)
    except (ModelError, KittiError, ValueError, OSError) as error:
        return _failed(error)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _failed(f"--out {options.out} cannot be a folder: {error.strerror}; give one that is new or empty")
    for note in (*frames.notes, *filter(None, [predictor.device_note])):
        print(note, file=sys.stderr)
    found = 0
    try:
        for index in tqdm(range(len(frames)), unit="frame", disable=not sys.stderr.isatty()):
            sample = frames.sample(index)
            detections = predictor.predict(sample.image, sample.camera)
            write_results(options.out / f"{sample.id}.txt", detections, sample.camera)
            found += len(detections)
    except (KittiError, ValueError, OSError) as error:
        return _failed(f"{error}; {options.out} has the results of {index} of {len(frames)} frames")
    print(f"{len(frames)} frames, {found} detections -> {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
