"""KITTI's object benchmark: average precision and orientation similarity, by the rules of the official kit.

`evaluate` scores tables held in memory (`training.data.kitti.labels` makes them from files, objects or detections);
`training.evaluation.folders` reads whole folders. For KITTI's own classes, percentages agree with the official C++
program. Where that divides 0 by 0, because every detection above a threshold is ignored, precision is 0 here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec, ObjectClass
from add_model.geometry.rotated_iou import ratio
from training.data.kitti.labels import LabelTable
from training.evaluation.difficulty import MIN_HEIGHT, counted, left_out_by_reason, objects_that_count
from training.evaluation.matching import Pairs
from training.evaluation.table_rows import Rows, intersections, meeting, overlapping, portions, sizes
from training.evaluation.tally import Steps, Tally, tally

METRICS = ("bbox", "aos", "bev", "3d")
OVERLAPS = ("strict", "loose")  # see `min_overlap`
POINTS = {"R40": slice(1, None), "R11": slice(0, None, 4)}
# Rounding must not lift an overlap of rotated boxes that equals the threshold above it. In 2D the arithmetic is the
# official kit's own, operation by operation, so that its ties are kept to the last bit.
_ROUNDING = {"bbox": 0.0, "bev": 1e-9, "3d": 1e-9}


@dataclass(frozen=True, eq=False)
class Scores:
    """What `evaluate` finds. Dictionaries have the classes in the order of `classes`.

    Attributes:
        curves: `[strict, loose][class][metric]` is (3, 41) precision (for aos orientation similarity), 0 to 1, at the
            tally's `RECALLS` for easy, moderate and hard, monotone; None where the official kit does not evaluate
        objects: `[class]` is how many labelled objects count for easy, moderate and hard
        classes: those that were scored
        left_out: `[class][reason]` is how many of the others don't count, by the first reason of each
    """

    curves: dict[str, dict[str, dict[str, np.ndarray | None]]]
    objects: dict[str, list[int]]
    classes: ClassSpec = KITTI_CLASSES
    left_out: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def percent(self, points: str = "R40", overlaps: str = "strict") -> dict[str, dict[str, list[float] | None]]:
        """Average precision in percent.

        Args:
            points: R40 or R11, the recalls that are averaged over.
            overlaps: strict or loose, see `min_overlap`.

        Returns:
            `[class][metric]`: percent for easy, moderate, hard; None where not evaluated.
        """
        return {
            name: {metric: _average(curve, POINTS[points]) for metric, curve in curves.items()}
            for name, curves in self.curves[overlaps].items()
        }

    def to_json(self) -> dict[str, dict[str, dict[str, dict[str, list[float] | None]]]]:
        """`[R40, R11][strict, loose][class][metric]`: percent for easy, moderate, hard."""
        return {points: {overlaps: self.percent(points, overlaps) for overlaps in self.curves} for points in POINTS}


def min_overlap(kind: ObjectClass, overlaps: str, metric: str) -> float:
    """The intersection over union that a hit must exceed.

    Args:
        kind: the class.
        overlaps: strict or loose; loose holds on the ground and in 3D only, in the image (bbox, aos) strict is kept.
        metric: one of `METRICS`.
    """
    return kind.loose_overlap if overlaps == "loose" and metric in ("bev", "3d") else kind.min_overlap


def _average(curve: np.ndarray | None, points: slice) -> list[float] | None:
    return None if curve is None else [float(value) for value in 100 * curve[:, points].mean(axis=1)]


@dataclass(frozen=True, eq=False)
class Tallies:
    """What average precision depends on, kept apart by frame.

    frames:     how many there are
    objects:    [class] -> (3, F) how many labelled objects of each frame count for easy, moderate, hard
    by_overlap: [strict, loose][class][bbox, bev, 3d] -> tallies for easy, moderate, hard; None where the official kit
                does not evaluate
    aos:        whether every detection has an alpha
    classes:    those that are scored
    left_out:   as `Scores` has it
    """

    frames: int
    objects: dict[str, np.ndarray]
    by_overlap: dict[str, dict[str, dict[str, list[Tally] | None]]]
    aos: bool
    classes: ClassSpec = KITTI_CLASSES
    left_out: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def scores(self, weights: np.ndarray | None = None) -> Scores:
        """The scores of a weighted set of the frames.

        What is evaluated at all is decided by the whole set: a resampling that draws no detection of a class scores 0.

        Args:
            weights: (F,) whole numbers, how often each frame is in the set; None takes each once.
        """
        done: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # both sets of overlaps share the tallies in 2D
        curves: dict[str, dict[str, dict[str, np.ndarray | None]]] = {}
        for overlaps, by_class in self.by_overlap.items():
            curves[overlaps] = {name: dict.fromkeys(METRICS) for name in by_class}
            for name, metrics in by_class.items():
                for metric, levels in metrics.items():
                    if levels is None:
                        continue
                    if id(levels) not in done:
                        precision, similarity = zip(*(level.curves(weights) for level in levels), strict=True)
                        done[id(levels)] = np.stack(precision), np.stack(similarity)
                    curves[overlaps][name][metric] = done[id(levels)][0]
                    if metric == "bbox" and self.aos:
                        curves[overlaps][name]["aos"] = done[id(levels)][1]
        often = np.ones(self.frames, dtype=int) if weights is None else weights
        objects = {name: (by_frame @ often).tolist() for name, by_frame in self.objects.items()}
        return Scores(curves, objects, self.classes, self.left_out)


def evaluate(labels: Iterable[LabelTable], results: Iterable[LabelTable], classes: ClassSpec = KITTI_CLASSES) -> Scores:
    """Score results against labels.

    Args:
        labels: one table per frame.
        results: the n-th table belongs to the n-th frame, empty where nothing was found.
        classes: what is scored, with the overlaps and the ignored neighbours of each class.

    Raises:
        ValueError: where the numbers of frames differ or a detection has no score.
    """
    return tallies(labels, results, classes).scores()


def tallies(labels: Iterable[LabelTable], results: Iterable[LabelTable], classes: ClassSpec = KITTI_CLASSES) -> Tallies:
    """The matching of `evaluate`, for scoring the same frames with several weightings. Takes and raises the same."""
    codes = _codes(classes)
    truths, detections = Rows.of(labels, codes), Rows.of(results, codes)
    if truths.frames != detections.frames:
        raise ValueError(f"{truths.frames} frames of labels but {detections.frames} of results")
    if np.isnan(detections["score"]).any():
        raise ValueError("a detection has no score; result files are read with scores=True")
    aos = not (detections["alpha"] == -10).any()
    with np.errstate(over="ignore", invalid="ignore"):  # boxes of absurd size or place overlap nothing
        dont_care = _dont_care_shares(truths[truths.code == codes[DONT_CARE.lower()]], detections)
        by_class = {kind.name: _tally_class(kind, codes, truths, detections, dont_care) for kind in classes}
    by_overlap = {overlaps: {name: by_class[name][overlaps] for name in by_class} for overlaps in OVERLAPS}
    objects = {name: objects_that_count(codes[name.lower()], truths) for name in classes.names}
    left_out = {name: left_out_by_reason(codes[name.lower()], truths) for name in classes.names}
    return Tallies(truths.frames, objects, by_overlap, aos, classes, left_out)


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
) -> dict[str, dict[str, list[Tally] | None]]:
    """[strict, loose][bbox, bev, 3d] -> tallies of one class for easy, moderate, hard; None where not evaluated."""
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
    found = _evaluated(detections[detections.code == own])
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

    table: dict[str, dict[str, list[Tally] | None]] = {}
    done: dict[tuple[str, float], list[Tally]] = {}
    for overlaps in OVERLAPS:
        table[overlaps] = dict.fromkeys(found)
        for metric in found:
            if not found[metric]:
                continue
            threshold = min_overlap(kind, overlaps, metric)
            if (metric, threshold) not in done:
                done[metric, threshold] = levels(metric, threshold)
            table[overlaps][metric] = done[metric, threshold]
    return table


def _evaluated(detections: Rows) -> dict[str, bool]:
    """A metric is evaluated where at least one detection of the class gives what it needs."""
    placed = (detections["x"] != -1000) & (detections["z"] != -1000)
    ground = placed & (detections["width"] > 0) & (detections["length"] > 0)
    solid = ground & (detections["y"] != -1000) & (detections["height"] > 0)
    return {"bbox": bool((detections["left"] >= 0).any()), "bev": bool(ground.any()), "3d": bool(solid.any())}
