"""What a detector found in labelled images, which are not kept, and how good it is, as rows of a CSV file."""

from __future__ import annotations

import argparse
import csv
import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from add_model.classes import KITTI_CLASSES
from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import detections_table, objects_table
from training.data.kitti.splits import read_ids
from training.data.sample import Objects, Sample
from training.data.world import World
from training.evaluation.average_precision import Tallies, tallies
from training.evaluation.bootstrap import interval, resamples


@dataclass(frozen=True, eq=False)
class Seen:
    """The objects of an image, and what was found in it."""

    objects: Objects
    camera: Camera
    found: Detections


def seen(predictor: Predictor, samples: Iterable[Sample]) -> list[Seen]:
    """All samples through a detector."""
    return [Seen(s.objects, s.camera, predictor.predict(s.image, s.camera)) for s in samples]


def frames(root: Path, ids: Path) -> Iterable[Sample]:
    """The listed frames of a folder in KITTI's layout."""
    folder = KittiFolder(root, read_ids(ids))
    return (folder.sample(index) for index in range(len(folder)))


def streets(seed: int, first: int, count: int) -> Iterable[Sample]:
    """Streets of the synthetic world as `add-ros world --seed` draws them."""
    return map(World(seed=seed).sample, range(first, first + count))


def level_streets(width: int, height: int, focal: float, above_ground: float, seed: int) -> World:
    """Streets as a level camera of this size and height sees them."""
    return World(
        width=width, height=height, focal=focal, focal_range=(1, 1), principal_range=(0, 0), baseline=(0, 0, 0),
        camera_height=(above_ground, above_ground), pitch=(0, 0), roll=(0, 0), seed=seed,
    )  # fmt: skip


def tally(images: Iterable[Seen]) -> Tallies:
    """What was right in each image, for KITTI's classes."""
    pairs = [(objects_table(one.objects), detections_table(one.found, one.camera)) for one in images]
    return tallies([labels for labels, _ in pairs], [results for _, results in pairs], KITTI_CLASSES)


def moderate(
    counts: Tallies, measures: Sequence[tuple[str, str, str]], weights: np.ndarray | None = None
) -> np.ndarray:
    """AP_R40, moderate, percent, of a weighted set of the images; NaN where a class was never found.

    measures: class, metric and 'strict' or 'loose' of each
    """
    levels = [counts.by_overlap[overlaps][name][metric] for name, metric, overlaps in measures]
    return np.array([100 * of[1].curves(weights)[0][1:].mean() if of else np.nan for of in levels])


def print_changes(
    name: str, before: list[Seen], after: list[Seen], measures: Sequence[tuple[str, str, str]], seed: int, count: int
) -> None:
    """A row for each measure of the same images seen in two ways, with the change's 95% interval by `count` draws."""
    both = [tally(images) for images in (before, after)]
    draws = list(resamples(len(before), count, seed=seed))
    drawn = [np.array([moderate(of, measures, weights) for weights in draws]) for of in both]
    low, high = interval(drawn[1] - drawn[0])
    values = [moderate(of, measures) for of in both]
    for i, (kind, metric, overlaps) in enumerate(measures):
        change = f"{values[0][i]:6.2f} -> {values[1][i]:6.2f}  ({low[i]:+.1f} to {high[i]:+.1f})"
        print(f"{name} {kind:10} {metric:4} {overlaps:6} {change}", flush=True)


def write_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Write a CSV file of these rows and of today's date, where they have none, and say so."""
    today = datetime.date.today().isoformat()
    made = [row | {"date": row.get("date", today)} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(made[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(made)
    print(f"{len(made)} rows -> {path}")


def add_held_out_argument(parser: argparse.ArgumentParser) -> None:
    """--held-out MODEL IDS, once for each part of a cross-validation."""
    parser.add_argument(
        "--held-out",
        nargs=2,
        action="append",
        default=[],
        metavar=("MODEL", "IDS"),
        help="frames of --kitti that this model's training did not see; for each model of a cross-validation",
    )


def held_out(root: Path | None, parts: Sequence[tuple[str, str]], flip_test: bool = True) -> list[Seen]:
    """The frames of `--held-out`, each seen by its own model."""
    if root is None:
        raise SystemExit("error: --held-out is about frames of --kitti: give that too")
    found = []
    for model, ids in parts:
        predictor = Predictor(model, device="cpu", engine="onnxruntime", threads=1, flip_test=flip_test)
        found += seen(predictor, frames(root, Path(ids)))
    return found
