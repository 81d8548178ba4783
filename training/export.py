"""add-ros export: a training checkpoint -> .onnx and .safetensors, as the predictor loads them."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from add_model.classes import ClassSpec
from add_model.detectors.base import Detector
from add_model.export import export_onnx
from add_model.metadata import read_classes
from add_model.weights_file import load, save
from training.arguments import command_parser
from training.checkpoints import is_teacher, load_checkpoint, trained_detector
from training.errors import TrainingError
from training.reported_errors import reported

_SUFFIXES = (".safetensors", ".onnx")


def read_checkpoint(path: Path) -> tuple[str, Detector]:
    """The model's name and the detector of a checkpoint that `LitDetector` wrote. Unpickles no code.

    Raises TrainingError where it is not such a checkpoint, ModelError where its model is unknown or not its weights'.
    """
    checkpoint = load_checkpoint(path)
    if is_teacher(checkpoint):
        raise TrainingError(
            f"{path} is a teacher: it needs ground-truth depth beside the image, which no robot has. Export a student"
            " of it (model.objective ADDDistillation)"
        )
    return checkpoint["model_name"], trained_detector(checkpoint, path)


def write(name: str, detector: Detector, out: Path) -> tuple[Path, Path]:
    """Write `out`.safetensors and `out`.onnx, each whole or not at all, and return their paths.

    Raises TrainingError where they can't be written.
    """
    weights, graph = (out.with_name(out.name + suffix) for suffix in _SUFFIXES)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent) as folder:
            save(Path(folder, weights.name), name, detector)
            # From the file, so that what was written is what is exported.
            export_onnx(load(Path(folder, weights.name)), Path(folder, graph.name))
            for path in (weights, graph):
                os.replace(Path(folder, path.name), path)
    except OSError as error:
        raise TrainingError(f"cannot write {weights} and {graph}: {error}") from error
    return weights, graph


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "export",
        "Write the detector of a training checkpoint as .safetensors and .onnx, which the node, the bag tools and "
        "Predictor load.",
        "--checkpoint runs/monodle_lite0_kitti/last.ckpt --out weights",
    )
    files = options.add_argument_group("files")
    files.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="a .ckpt of add-ros fit")
    files.add_argument("--out", type=Path, required=True, metavar="PATH", help="without suffix, such as weights/mine")
    files.add_argument(
        "--classes", type=Path, metavar="FILE", help="classes with calibrated scores, of add-ros calibrate"
    )
    return options


def _same_classes(classes: ClassSpec, own: ClassSpec, path: Path) -> ClassSpec:
    if not classes.same_coding(own):
        raise TrainingError(
            f"--classes {path} has other classes or mean sizes than the checkpoint's {', '.join(own.names)}:"
            " write the file from a model of the same run"
        )
    return classes


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return reported(partial(_run, parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    out = options.out.with_suffix("") if options.out.suffix in _SUFFIXES else options.out
    name, detector = read_checkpoint(options.checkpoint)
    print(f"exporting {name}, which takes some seconds ...", file=sys.stderr)
    if options.classes:
        detector.classes = _same_classes(read_classes(options.classes), detector.classes, options.classes)
    for path in write(name, detector, out):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
