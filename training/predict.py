"""add-ros predict: run a model over KITTI frames and write KITTI result files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from training.arguments import add_trust_argument, command_parser
from training.data.kitti.dataset import DEPTH_SOURCES, KittiError, KittiFolder, split_folder
from training.data.kitti.labels import write_results
from training.data.kitti.splits import PUBLISHED, lacking, read_ids
from training.model_arguments import (
    add_engine_arguments,
    add_ground_arguments,
    add_model_argument,
    ground,
    predictor_options,
)
from training.progress_bar import counted
from training.reported_errors import print_notes, reported

if TYPE_CHECKING:
    from training.teacher_predictor import TeacherPredictor


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
    frames.add_argument(
        "--ids", metavar="FILE", help=f"file of frame ids, here or in --kitti, or {published} (default: all)"
    )
    frames.add_argument(
        "--split", choices=("training", "testing"), default="training", help="folder of --kitti (default: training)"
    )
    add_trust_argument(frames)
    model = options.add_argument_group("model")
    which = model.add_mutually_exclusive_group()
    add_model_argument(which)
    which.add_argument("--teacher", type=Path, metavar="CKPT", help="a trained teacher, which sees depth, instead")
    model.add_argument("--depth", choices=DEPTH_SOURCES, help="what the teacher sees (default: as in its training)")
    add_engine_arguments(model)
    add_ground_arguments(model)
    out = options.add_argument_group("output")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the result files, new or empty")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    command = parser()
    options = command.parse_args(arguments)
    if options.teacher is None and options.depth is not None:
        command.error("--depth is what a --teacher sees; a student's model looks at images alone")
    if options.teacher is not None and (options.camera_height, options.ground_slope_std) != (None, None):
        command.error("--camera-height and --ground-slope-std are for a --model; a --teacher sees depth")
    return reported(partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    if options.out.is_dir() and any(options.out.iterdir()):
        raise OSError(f"{options.out} is not empty: old results would be scored with the new ones; empty it")
    teacher, note = _teacher(options)
    frames, notes = _frames(options)
    predict, how, more = _predictor(options, frames, teacher)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"--out {options.out} cannot be a folder: {error.strerror}; give one that is new or empty"
        ) from error
    print_notes([*frames.notes, *notes, note, more])
    found = 0
    try:
        for index in counted(range(len(frames)), "frames", "predict"):
            detections, camera = predict(index)
            write_results(options.out / f"{frames.ids[index]}.txt", detections, camera)
            found += len(detections)
    except (ValueError, OSError) as error:
        raise OSError(f"{error}; {options.out} has the results of {index} of {len(frames)} frames") from error
    print(f"{len(frames)} frames, {found} detections by {how} -> {options.out}")


def _teacher(options: argparse.Namespace) -> tuple[TeacherPredictor | None, str | None]:
    """The teacher of --teacher, whose depth --depth is by default, and a note on another one."""
    if options.teacher is None:
        return None, None
    from training.objectives.teacher import other_depth  # needs torch
    from training.teacher_predictor import TeacherPredictor

    teacher = TeacherPredictor(options.teacher, options.device)
    known = teacher.trained_depth if teacher.trained_depth in DEPTH_SOURCES else "lidar"
    options.depth = options.depth or known
    return teacher, other_depth(teacher.trained_depth, options.depth)


def _frames(options: argparse.Namespace) -> tuple[KittiFolder, list[str]]:
    """The frames, with or without labels, and notes on those that are left out."""
    ids = read_ids(options.ids, options.kitti) if options.ids else None
    folder, split = options.kitti, options.split
    training = split_folder(folder, "training")
    if split == "training" and options.depth != "object" and not _all_labelled(training, ids):
        folder, split = training, "testing"  # of an export without labels: nothing here looks at them
    notes: list[str] = []
    if options.depth == "lidar":
        every = ids if ids is not None else KittiFolder(folder, split=split, trust_calibration=True).ids
        scans = {path.stem for path in (split_folder(folder, split) / "velodyne").glob("*.bin")}
        ids = [name for name in every if name in scans]
        notes = lacking([name for name in every if name not in scans], "frame", "scan, and is left out")
        if not ids:
            raise KittiError(f"{folder}: no frame has a scan in velodyne, which --teacher with --depth lidar needs")
    return KittiFolder(folder, ids, split, depth=options.depth, trust_calibration=options.trust_calibration), notes


def _all_labelled(folder: Path, ids: list[str] | None) -> bool:
    """Whether each frame, all images where no ids are given, has a label file."""
    wanted = ids if ids is not None else [path.stem for path in (folder / "image_2").glob("*.*")]
    return set(wanted) <= {path.stem for path in (folder / "label_2").glob("*.txt")}


def _predictor(
    options: argparse.Namespace, frames: KittiFolder, teacher: TeacherPredictor | None
) -> tuple[Callable[[int], tuple[Detections, Camera]], str, str | None]:
    """What detects in a frame by its index, with the frame's camera, what that is, and a note on it."""
    plane = ground(options)
    if teacher is not None:
        return lambda index: (teacher.predict(frames, index), frames.camera(index)), f"teacher {options.teacher}", None
    predictor = Predictor(options.model, **predictor_options(options))

    def predict(index: int) -> tuple[Detections, Camera]:
        sample = frames.sample(index)
        return predictor.predict(sample.image, sample.camera, ground=plane), sample.camera

    return predict, predictor.description, predictor.device_note


if __name__ == "__main__":
    sys.exit(main())
