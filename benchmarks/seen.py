"""What a detector found in labelled images: the images themselves are not kept."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.splits import read_ids
from training.data.sample import Objects, Sample
from training.data.world import World


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


def held_out(root: Path | None, parts: Sequence[tuple[str, str]]) -> list[Seen]:
    """The frames of `--held-out`, each seen by its own model."""
    if root is None:
        raise SystemExit("error: --held-out is about frames of --kitti: give that too")
    return [
        one
        for model, ids in parts
        for one in seen(Predictor(model, device="cpu", engine="onnxruntime", threads=1), frames(root, Path(ids)))
    ]
