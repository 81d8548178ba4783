"""The matching of some frames by KITTI's rules: what counts, what it overlaps, and the tallies of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.classes import DONT_CARE, ClassSpec, ObjectClass
from add_model.geometry.rotated_iou import ratio
from training.data.kitti.labels import LabelTable
from training.evaluation.difficulty import MIN_HEIGHT, counted, left_out_by_reason, objects_that_count
from training.evaluation.matching import Pairs
from training.evaluation.table_rows import Rows, intersections, meeting, overlapping, portions, sizes
from training.evaluation.tally import Steps, Tally, tally

OVERLAPS = ("strict", "loose")  # see `min_overlap`
# Rounding must not lift an overlap of rotated boxes that equals the threshold above it. In 2D the arithmetic is the
# official kit's own, operation by operation, so that its ties are kept to the last bit.
_ROUNDING = {"bbox": 0.0, "bev": 1e-9, "3d": 1e-9}


def min_overlap(kind: ObjectClass, overlaps: str, metric: str) -> float:
    """The intersection over union that a hit must exceed.

    Args:
        kind: the class.
        overlaps: strict or loose; loose holds on the ground and in 3D only, in the image (bbox, aos) strict is kept.
        metric: bbox, aos, bev or 3d.
    """
    return kind.loose_overlap if overlaps == "loose" and metric in ("bev", "3d") else kind.min_overlap


@dataclass(frozen=True, eq=False)
class FramesTally:
    """F frames, matched.

    frames:    how many there are
    objects:   [class] -> (3, F) how many labelled objects of each frame count for easy, moderate, hard
    tallies:   [class][metric, least overlap] -> tallies for easy, moderate, hard; metric is bbox, bev or 3d
    evaluated: [class][metric] -> whether a detection gives what the metric needs
    aos:       whether every detection has an alpha
    left_out:  [class][reason] -> how many objects don't count for easy, moderate, hard
    """

    frames: int
    objects: dict[str, np.ndarray]
    tallies: dict[str, dict[tuple[str, float], list[Tally]]]
    evaluated: dict[str, dict[str, bool]]
    aos: bool
    left_out: dict[str, dict[str, list[int]]]


def tally_frames(labels: list[LabelTable], results: list[LabelTable], classes: ClassSpec) -> FramesTally:
    """Match results with labels.

    Args:
        labels: one table per frame.
        results: the n-th table belongs to the n-th frame.
        classes: what is scored.

    Raises:
        ValueError: where a detection has no score.
    """
    codes = _codes(classes)
    truths, detections = Rows.of(labels, codes), Rows.of(results, codes)
    if np.isnan(detections["score"]).any():
        raise ValueError("a detection has no score; result files are read with scores=True")
    with np.errstate(over="ignore", invalid="ignore"):  # boxes of absurd size or place overlap nothing
        dont_care = _dont_care_shares(truths[truths.code == codes[DONT_CARE.lower()]], detections)
        by_class = {kind.name: _tally_class(kind, codes, truths, detections, dont_care) for kind in classes}
    return FramesTally(
        frames=truths.frames,
        objects={name: objects_that_count(codes[name.lower()], truths) for name in classes.names},
        tallies=by_class,
        evaluated={name: _evaluated(detections[detections.code == codes[name.lower()]]) for name in classes.names},
        aos=not (detections["alpha"] == -10).any(),
        left_out={name: left_out_by_reason(codes[name.lower()], truths) for name in classes.names},
    )


def _codes(classes: ClassSpec) -> dict[str, int]:
    """A number for each type, by its name in lower case: classes, ignored neighbours, and DontCare."""
    names = [*classes.names, *(name for kind in classes for name in kind.neighbours), DONT_CARE]
    return {name: code for code, name in enumerate(dict.fromkeys(map(str.lower, names)))}


def _dont_care_shares(regions: Rows, detections: Rows) -> dict[str, np.ndarray]:
    """The largest share of each detection that lies in one DontCare region, per metric."""
    size = sizes(detections)
    shares = {metric: np.zeros(len(detections)) for metric in size}
    for _, some in portions(regions, detections):
        region, detection = meeting(some, detections)
        for metric, common in intersections(detections, some, detection, region).items():
            np.maximum.at(shares[metric], detection, ratio(common, size[metric][detection]))
    return shares


def _tally_class(
    kind: ObjectClass,
    codes: dict[str, int],
    truths: Rows,
    detections: Rows,
    dont_care: dict[str, np.ndarray],
) -> dict[tuple[str, float], list[Tally]]:
    """(bbox, bev or 3d, least overlap) -> tallies of one class for easy, moderate, hard."""
    own = codes[kind.name.lower()]
    # Neighbours are ground truth that is always ignored: neither hit nor miss.
    truths = truths[np.isin(truths.code, [own, *(codes[name.lower()] for name in kind.neighbours)])]
    # The kit cuts the height to a whole number first, which makes no difference below whole minima.
    pixels = np.abs(detections["top"] - detections["bottom"])
    # A detection of another class takes part where it is too short: it absorbs a ground truth.
    matchable = (detections.code == own) | (pixels < max(MIN_HEIGHT))
    detections, pixels = detections[matchable], pixels[matchable]
    dont_care = {metric: share[matchable] for metric, share in dont_care.items()}

    truth, detection, overlap = overlapping(truths, detections)
    steps = Steps.of(detections.frame, detections["score"], detections.frames)

    def levels(metric: str, threshold: float) -> list[Tally]:
        threshold += _ROUNDING[metric]
        enough = np.flatnonzero(overlap[metric] > threshold)
        t, d = truth[enough], detection[enough]
        pairs = Pairs(truths.frame[t], t, d, overlap[metric][enough])
        cared = ~(dont_care[metric] > threshold)
        of_levels = []
        for level, minimum in enumerate(MIN_HEIGHT):
            short = pixels < minimum
            counts = (detections.code == own) & ~short
            of_levels.append(
                tally(
                    pairs[(counts | short)[d]],
                    truths.side(counted(truths, own, level), metric),
                    detections.side(counts, metric),
                    steps,
                    cared,
                )
            )
        return of_levels

    # Also of metrics that nothing here is evaluated by: other frames may be.
    thresholds = {metric: {min_overlap(kind, overlaps, metric) for overlaps in OVERLAPS} for metric in overlap}
    return {(metric, least): levels(metric, least) for metric in overlap for least in sorted(thresholds[metric])}


def _evaluated(detections: Rows) -> dict[str, bool]:
    """A metric is evaluated where at least one detection of the class gives what it needs."""
    placed = (detections["x"] != -1000) & (detections["z"] != -1000)
    ground = placed & (detections["width"] > 0) & (detections["length"] > 0)
    solid = ground & (detections["y"] != -1000) & (detections["height"] > 0)
    return {"bbox": bool((detections["left"] >= 0).any()), "bev": bool(ground.any()), "3d": bool(solid.any())}
