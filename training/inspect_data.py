"""add-ros data: look at a data set before it is trained on, and measure its classes."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from add_model.atomic_io import write_atomically
from add_model.classes import ClassSpec, ObjectClass
from add_model.geometry.camera import Camera
from training.arguments import action_of, at_least, command_parser
from training.data.astyx.dataset import LABELS as ASTYX_LABELS
from training.data.astyx.dataset import AstyxFrames
from training.data.frame_sources import LabelledFrames
from training.data.images import read_image
from training.data.inspection.class_sizes import chosen, measure
from training.data.inspection.duplicates import across_splits, fingerprint
from training.data.inspection.judgement import class_row, judge
from training.data.inspection.survey import BINS, Survey, shared_ids
from training.data.kitti.dataset import KittiFolder, split_folder
from training.data.kitti.splits import PUBLISHED, read_ids
from training.data.kitti360.dataset import Kitti360Frames
from training.data.nuscenes.dataset import NuscenesFrames
from training.data.nuscenes.splits import SPLITS
from training.data.sample import Objects
from training.progress_bar import counted
from training.reported_errors import print_notes, reported
from training.spread import spread

_ACTIONS = {
    "check": (
        "Look at a data set before it is trained on: counts by class, distance, size and heading, boxes "
        "without points, 2D boxes beside their 3D boxes, calibrations that do not fit, pictures in two splits. With "
        "--page a page of pictures.",
        "data --page check.html",
    ),
    "classes": (
        "Measure classes from labels: mean sizes, for model.classes of a training and --classes of evaluators.",
        "data --out classes.yaml",
    ),
}


def parser(action: str) -> argparse.ArgumentParser:
    """The options of 'check' and 'classes'."""
    options = command_parser(f"data {action}", *_ACTIONS[action])
    options.add_argument("data", type=Path, metavar="DIR", help="KITTI's object layout, nuScenes, KITTI-360 or Astyx")
    frames = options.add_argument_group("frames")
    frames.add_argument(
        "--ids",
        metavar="SPLIT",
        help=f"text file with a frame's id (of nuScenes a scene's name) a line, or a split of the data set: of KITTI "
        f"{', '.join(PUBLISHED)}; of nuScenes {', '.join(SPLITS)}; of KITTI-360 train or val; of Astyx all "
        "(default: all labelled frames of KITTI's layout and of Astyx, else train, of v1.0-mini mini_train)",
    )
    if action == "check":
        page = options.add_argument_group("page")
        page.add_argument("--page", type=Path, metavar="FILE", help="HTML page to write")
        page.add_argument("--pictures", type=at_least(0), default=12, metavar="N", help="frames on the page (12)")
        return options
    classes = options.add_argument_group("classes")
    classes.add_argument("--names", nargs="+", metavar="CLASS", help="classes, in this order (default: by frequency)")
    classes.add_argument(
        "--least", type=at_least(1), default=10, metavar="N", help="boxes a class needs without --names (10)"
    )
    classes.add_argument(
        "--out", type=Path, metavar="FILE", help=".yaml: an overlay for --config; .json: for --classes (default: print)"
    )
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command line, 'check' or 'classes' first.

    Returns the exit status: 1 where the data set cannot be read, or has faults that make training useless.
    """
    action, rest = action_of("data", tuple(_ACTIONS), arguments)
    return reported(partial(_run, action, rest))


def _run(action: str, words: list[str]) -> int | None:
    options = parser(action).parse_args(words)
    frames = _open(options)
    if action == "classes":
        return _classes(frames, options)
    return _check(frames, options, shlex.join(["add-ros", "data", action, *words]))


def _labelled(root: Path) -> list[str] | None:
    """The frames that have a label file, where others have none; None where all have."""
    folder = split_folder(root, "training")
    labels = {path.stem for path in (folder / "label_2").glob("*.txt")}
    images = {path.stem for path in (folder / "image_2").iterdir()} if (folder / "image_2").is_dir() else set()
    return sorted(images & labels) if labels and images - labels else None


def _open(options: argparse.Namespace) -> LabelledFrames:
    """The frames of a data set, whose layout its folders tell."""
    root = options.data
    if (root / "calibration" / "perspective.txt").is_file():
        return Kitti360Frames(root, options.ids or "train")
    if (root / ASTYX_LABELS).is_dir():
        return AstyxFrames(root, options.ids or "all")
    if tables := [path.parent.name for path in root.glob("v1.0-*/scene.json")]:
        return _open_nuscenes(root, tables, options.ids)
    ids = read_ids(options.ids, root) if options.ids else _labelled(root)
    return KittiFolder(root, ids, trust_calibration=True)


def _open_nuscenes(root: Path, tables: Sequence[str], ids: str | None) -> NuscenesFrames:
    """The scenes of a split, in the tables that have it; those of the largest labelled part without one. Noted."""
    asked = {"mini_train": "-mini", "mini_val": "-mini", "test": "-test"}.get(ids or "", "-trainval")
    version, *others = sorted(tables, key=lambda name: (not name.endswith(asked), name.endswith("-test"), name))
    scenes = ids or {"mini": "mini_train", "test": "test"}.get(version.rpartition("-")[2], "train")
    frames = NuscenesFrames(root, scenes, version)
    passed = f"; {', '.join(others)} passed over" if others else ""
    frames.notes.append(f"tables of {version}, scenes of {scenes}{passed}")
    return frames


def _classes(frames: LabelledFrames, options: argparse.Namespace) -> None:
    print_notes(frames.notes)
    measured = measure(frames.objects(i) for i in counted(range(len(frames)), "frames", "measure"))
    spec = chosen(measured, options.names, options.least)
    for kind in measured:
        mark = "" if spec.index(kind.name) >= 0 else "  (not a class: too few, or not named)"
        mean, deviation = kind.sizes.mean(axis=0), kind.sizes.std(axis=0)
        text = " x ".join(f"{m:.3f} ±{d:.3f}" for m, d in zip(mean, deviation, strict=True))
        print(f"{kind.name}: {len(kind.sizes)} boxes, {text} m{mark}", file=sys.stderr)
    as_json = options.out is not None and options.out.suffix == ".json"
    text = spec.to_json() + "\n" if as_json else overlay(spec)
    if options.out is None:
        print(text, end="")
    else:
        write_atomically(options.out, text)
        print(f"{', '.join(spec.names)} -> {options.out}", file=sys.stderr)


def overlay(spec: ClassSpec) -> str:
    """The classes as a configuration that `add-ros fit --config` takes beside a recipe."""
    lines = ["# Classes measured from labels by add-ros data classes.", "model:", "  classes:"]
    for kind in spec:
        usual = asdict(ObjectClass(kind.name, kind.mean_size))
        values = {k: v for k, v in asdict(kind).items() if k in ("name", "mean_size") or v != usual[k]}
        # JSON is YAML.
        fields = ", ".join(f"{key}: {json.dumps(value)}" for key, value in values.items())
        lines.append(f"    - {{{fields}}}")
    return "\n".join(lines) + "\n"


def _check(frames: LabelledFrames, options: argparse.Namespace, command: str) -> int:
    survey, prints = Survey(), {}
    for index in counted(range(len(frames)), "frames", "check"):
        image, camera, points, objects = _frame(frames, index)
        survey.add(frames.ids[index], objects, camera, points)
        prints[frames.ids[index]] = fingerprint(image)
    splits = dict(_splits(frames))
    said = judge(survey, frames.doubts, across_splits(prints, splits), dict(shared_ids(splits)))
    head = [
        "class",
        "boxes",
        "2D alone",
        *(f"from {edge} m" for edge in BINS),
        "length x width x height, m",
        "no points",
    ]
    rows = [class_row(name, kind, BINS) for name, kind in sorted(survey.classes.items())]
    counts = [
        f"{len(frames)} frames, {survey.objects} 3D boxes, {survey.dont_care} DontCare regions, {survey.scans} scans"
    ]
    counts += [f"{name}: {len(ids)} frames" for name, ids in splits.items()]
    counts += frames.notes
    print(f"{frames.folder}: {counts[0]}")
    for row in [head, *rows]:
        print("  " + "  ".join(cell.ljust(12) for cell in row).rstrip())
    for line in [*counts[1:], *said.remarks]:
        print(f"note: {line}")
    for line in said.faults:
        print(f"fault: {line}", file=sys.stderr)
    if options.page:
        _write_page(
            frames, options, command, [("Faults", said.faults), ("Counts", counts), ("Notes", said.remarks)], head, rows
        )
    return 1 if said.faults else 0


def _frame(frames: LabelledFrames, index: int) -> tuple[np.ndarray, Camera, np.ndarray | None, Objects]:
    return read_image(frames.image_path(index)), frames.camera(index), frames.points(index), frames.objects(index)


def _splits(frames: LabelledFrames) -> Iterator[tuple[str, list[str]]]:
    """The lists of ImageSets that name frames of these, of KITTI's layout alone."""
    if not isinstance(frames, KittiFolder):
        return
    for path in sorted((frames.folder.parent / "ImageSets").glob("*.txt")):
        try:
            ids = read_ids(path)
        except ValueError:
            continue  # not a list of frames
        if path.stem != "unlabelled" and set(ids) & set(frames.ids):
            yield path.stem, ids


def _write_page(
    frames: LabelledFrames,
    options: argparse.Namespace,
    command: str,
    lines: Sequence[tuple[str, Sequence[str]]],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    from training.report.contact_sheet import Table, picture, render  # needs jinja2 and matplotlib

    pictures = []
    for index in spread(len(frames), options.pictures):
        image, camera, points, objects = _frame(frames, index)
        solid = np.isfinite(objects.boxes).all(axis=1)
        caption = f"{frames.ids[index]}: {int(solid.sum())} boxes"
        pictures.append(picture(image, camera, points, objects.boxes[solid], objects.names[solid].tolist(), caption))
    page = render(f"Data set {options.data.name}", command, lines, pictures, [Table("Classes", head, rows)])
    write_atomically(options.page, page)
    print(f"written: {options.page}")


if __name__ == "__main__":
    sys.exit(main())
