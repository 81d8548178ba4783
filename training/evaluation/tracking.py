"""Scores of tracks by KITTI's rules: HOTA, MOTA, IDF1 and id switches, computed by the trackeval package.

trackeval knows two classes, cars and pedestrians. Every class is given to it as its pedestrians, and what scoring
ignores beside the class as its sitting people: the rules for both of its classes are the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from add_model.classes import DONT_CARE, ClassSpec, ObjectClass
from add_model.detections import Detections
from training.data.sample import Objects

_NAME, _BESIDE = "Pedestrian", "Person"  # trackeval's names for a class, and for what is ignored beside it
_TRUNCATED = 0.15  # share outside the image from which KITTI's tracking labels call an object truncated
_REACH = 4.0  # metres between centres on the ground at which two boxes have nothing in common


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """One image: its labelled objects with their tracks (N,), -1 for DontCare, and what was found with its ids (M,)."""

    objects: Objects
    tracks: np.ndarray
    found: Detections
    ids: np.ndarray


@dataclass(frozen=True)
class TrackScores:
    """The scores of one class over all drives.

    hota, deta, assa: percent, mean over all thresholds of similarity
    mota, idf1:  percent, at a similarity of 0.5
    switches: of ids
    objects, found: labelled objects and found ones that count, in all images
    """

    hota: float
    deta: float
    assa: float
    mota: float
    idf1: float
    switches: int
    objects: int
    found: int


class MissingTrackevalError(ImportError):
    """trackeval is not installed; the message says how to install it."""


def track_scores(
    drives: Mapping[str, Sequence[TrackedFrame]], kind: ObjectClass, on_ground: bool = False
) -> TrackScores:
    """Score the tracks of one class.

    Args:
        drives: the images of each drive in order, by the drive's name.
        kind: the class; its neighbours are ignored, as are DontCare regions, objects lower than 25 pixels that match
            nothing, and labelled objects that are largely occluded or truncated, with what matches them.
        on_ground: how alike two boxes are: False is KITTI's way, the overlap of their 2D boxes; True takes the distance
            of their centres on the ground, 0.5 at 2 m and 0 at 4 m, which is what a planner asks about. What is ignored
            is decided in the image in both.

    Returns:
        The scores.

    Raises:
        MissingTrackevalError: where trackeval is not installed.
    """
    hota, clear, identity, dataset_of = _trackeval()
    with tempfile.TemporaryDirectory() as folder:
        sequences = {f"{i:04d}": frames for i, frames in enumerate(drives.values())}
        _write(Path(folder), sequences, kind)
        dataset = dataset_of(folder)
        prepared = {}
        for name, frames in sequences.items():
            raw = dataset.get_raw_seq_data("tracks", name)
            prepared[name] = dataset.get_preprocessed_seq_data(raw, _NAME.lower())
            if on_ground:
                _measure_on_ground(prepared[name], frames, kind)
    by_metric = [
        metric.combine_sequences({name: metric.eval_sequence(data) for name, data in prepared.items()})
        for metric in (hota, clear, identity)
    ]
    h, c, i = by_metric
    return TrackScores(
        *(100 * float(np.mean(h[field])) for field in ("HOTA", "DetA", "AssA")),
        100 * float(c["MOTA"]),
        100 * float(i["IDF1"]),
        int(c["IDSW"]),
        sum(data["num_gt_dets"] for data in prepared.values()),
        sum(data["num_tracker_dets"] for data in prepared.values()),
    )


def score_lines(name: str, frames: Sequence[TrackedFrame], classes: ClassSpec) -> list[str]:
    """HOTA and its like of each class that is labelled, as text.

    Args:
        name: of the drive.
        frames: its images in order.
        classes: those to score.

    Raises:
        MissingTrackevalError: where trackeval is not installed.
    """
    lines = []
    for on_ground in (False, True):
        lines.append(f"by {'distance on the ground' if on_ground else 'overlap in the image'} (percent):")
        for kind in classes:
            s = track_scores({name: frames}, kind, on_ground)
            if s.objects:
                lines.append(
                    f"  {kind.name:<12}HOTA {s.hota:5.1f}  DetA {s.deta:5.1f}  AssA {s.assa:5.1f}  MOTA {s.mota:6.1f}  "
                    f"IDF1 {s.idf1:5.1f}  id switches {s.switches}  objects {s.objects}"
                )
    return lines


def _trackeval() -> tuple[Any, Any, Any, Any]:
    try:
        from trackeval.datasets import Kitti2DBox
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise MissingTrackevalError(
            f"scores of tracks need the package trackeval ({error}): pip install --no-deps trackeval pycocotools "
            "tabulate (requirements/tracking.txt)"
        ) from error
    quiet = {"PRINT_CONFIG": False}

    def dataset_of(folder: str) -> Any:
        return Kitti2DBox(
            {
                **quiet,
                "GT_FOLDER": folder,
                "TRACKERS_FOLDER": folder,
                "TRACKERS_TO_EVAL": ["tracks"],
                "CLASSES_TO_EVAL": [_NAME.lower()],
            }
        )

    return HOTA(), CLEAR(quiet), Identity(quiet), dataset_of


def _write(folder: Path, sequences: Mapping[str, Sequence[TrackedFrame]], kind: ObjectClass) -> None:
    for part in ("label_02", "tracks/data"):
        (folder / part).mkdir(parents=True)
    counts = "".join(f"{name} empty 000000 {len(frames):06d}\n" for name, frames in sequences.items())
    (folder / "evaluate_tracking.seqmap.training").write_text(counts, encoding="utf-8")
    beside = {name.lower() for name in kind.neighbours}
    for name, frames in sequences.items():
        labels, found = [], []
        for number, frame in enumerate(frames):
            objects = frame.objects
            for i in range(len(objects)):
                label = objects.names[i].lower()
                if label != DONT_CARE.lower() and label != kind.name.lower() and label not in beside:
                    continue
                as_name = {DONT_CARE.lower(): DONT_CARE, kind.name.lower(): _NAME}.get(label, _BESIDE)
                truncated = int(objects.truncated[i] > _TRUNCATED)
                labels.append(
                    _line(number, frame.tracks[i], as_name, truncated, objects.occluded[i], objects.boxes2d[i])
                )
            for i in _of_class(frame.found, kind):
                line = _line(number, frame.ids[i], _NAME, -1, -1, frame.found.boxes2d[i])
                found.append(f"{line} {float(frame.found.scores[i])!r}")
        for part, lines in (("label_02", labels), ("tracks/data", found)):
            (folder / part / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _line(number: int, track: int, name: str, truncated: int, occluded: int, box: np.ndarray) -> str:
    edges = " ".join(repr(float(edge)) for edge in box)
    return f"{number} {int(track)} {name} {truncated} {int(occluded)} -10 {edges} -1 -1 -1 -1000 -1000 -1000 -10"


def _of_class(found: Detections, kind: ObjectClass) -> np.ndarray:
    return np.flatnonzero(np.char.lower(found.names.astype(str)) == kind.name.lower())


def _measure_on_ground(data: dict[str, Any], frames: Sequence[TrackedFrame], kind: ObjectClass) -> None:
    """Replace trackeval's similarities of what it kept, found again by 2D boxes, by those on the ground."""
    for t, frame in enumerate(frames):
        labelled = _rows(data["gt_dets"][t], frame.objects.boxes2d)
        found = _rows(data["tracker_dets"][t], frame.found.boxes2d)
        apart = frame.objects.boxes[labelled][:, None, [0, 2]] - frame.found.boxes[found][:, [0, 2]]
        data["similarity_scores"][t] = np.clip(1 - np.hypot(*np.moveaxis(apart, 2, 0)) / _REACH, 0, 1)


def _rows(kept: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The row (K,) of each kept 2D box (K, 4) among all (N, 4)."""
    if not len(kept):
        return np.empty(0, dtype=int)
    return (kept[:, None] == boxes).all(axis=2).argmax(axis=1)
