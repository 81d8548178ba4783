"""KITTI's object benchmark: average precision and orientation similarity, by the rules of the official kit.

`evaluate` scores tables held in memory (`training.data.kitti.labels` makes them from files, objects or detections);
`training.evaluation.folders` reads whole folders. Percentages agree with the official C++ program. Where that
divides 0 by 0, because every detection above a threshold is ignored, precision is 0 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from add_model.geometry.rotated_iou import footprint_intersection, ratio
from training.data.kitti.labels import COLUMNS, LabelTable
from training.data.sample import DONT_CARE
from training.evaluation.matching import Pairs
from training.evaluation.overlap import rectangle_area, rectangle_intersection
from training.evaluation.tally import Side, Steps, Tally, tally

CLASSES = ("Car", "Pedestrian", "Cyclist")
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}  # beside the class: neither hit nor miss
DIFFICULTIES = ("easy", "moderate", "hard")
MIN_HEIGHT = (40, 25, 25)  # pixels
MAX_OCCLUSION = (0, 1, 2)
MAX_TRUNCATION = (0.15, 0.3, 0.5)
METRICS = ("bbox", "aos", "bev", "3d")
# The intersection over union that a match must exceed. The loose set keeps the strict one in 2D.
MIN_OVERLAP = {
    "strict": {
        "Car": {"bbox": 0.7, "bev": 0.7, "3d": 0.7},
        "Pedestrian": {"bbox": 0.5, "bev": 0.5, "3d": 0.5},
        "Cyclist": {"bbox": 0.5, "bev": 0.5, "3d": 0.5},
    },
    "loose": {
        "Car": {"bbox": 0.7, "bev": 0.5, "3d": 0.5},
        "Pedestrian": {"bbox": 0.5, "bev": 0.25, "3d": 0.25},
        "Cyclist": {"bbox": 0.5, "bev": 0.25, "3d": 0.25},
    },
}
POINTS = {"R40": slice(1, None), "R11": slice(0, None, 4)}
# Rounding must not lift an overlap of rotated boxes that equals the threshold above it. In 2D the arithmetic is the
# official kit's own, operation by operation, so that its ties are kept to the last bit.
_ROUNDING = {"bbox": 0.0, "bev": 1e-9, "3d": 1e-9}
_BOX2D = [COLUMNS[name] for name in ("left", "top", "right", "bottom")]
_FOOTPRINT = [COLUMNS[name] for name in ("x", "z", "length", "width", "rotation_y")]
_CODES = {name.lower(): code for code, name in enumerate((*CLASSES, *NEIGHBOURS.values(), DONT_CARE))}


@dataclass(frozen=True, eq=False)
class Scores:
    """What `evaluate` finds.

    curves:  [strict, loose][class][metric] -> (3, 41) precision, for aos orientation similarity, 0 to 1, at `RECALLS`
             of the tally for easy, moderate and hard, monotone; None where the official kit does not evaluate
    objects: [class] -> how many labelled objects count for easy, moderate and hard
    """

    curves: dict[str, dict[str, dict[str, np.ndarray | None]]]
    objects: dict[str, list[int]]

    def percent(self, points: str = "R40", overlaps: str = "strict") -> dict[str, dict[str, list[float] | None]]:
        """[class][metric] -> average precision for easy, moderate, hard in percent; None where not evaluated."""
        return {
            name: {metric: _average(curve, POINTS[points]) for metric, curve in curves.items()}
            for name, curves in self.curves[overlaps].items()
        }

    def to_json(self) -> dict[str, dict[str, dict[str, dict[str, list[float] | None]]]]:
        """[R40, R11][strict, loose][class][metric] -> percent for easy, moderate, hard."""
        return {points: {overlaps: self.percent(points, overlaps) for overlaps in self.curves} for points in POINTS}


def _average(curve: np.ndarray | None, points: slice) -> list[float] | None:
    return None if curve is None else [float(value) for value in 100 * curve[:, points].mean(axis=1)]


@dataclass(frozen=True, eq=False)
class Tallies:
    """What average precision depends on, apart by frame.

    frames:  how many there are
    objects: [class] -> (3, F) how many labelled objects of each frame count for easy, moderate, hard
    of:      [strict, loose][class][bbox, bev, 3d] -> tallies for easy, moderate, hard; None where the official kit does
             not evaluate
    aos:     whether every detection has an alpha
    """

    frames: int
    objects: dict[str, np.ndarray]
    of: dict[str, dict[str, dict[str, list[Tally] | None]]]
    aos: bool

    def scores(self, weights: np.ndarray | None = None) -> Scores:
        """The scores of a set that has each frame as often as weights (F,) say; None: once.

        What is evaluated at all is decided by the whole set: a resampling that draws no detection of a class scores 0.
        """
        done: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # both sets of overlaps share the tallies in 2D
        curves: dict[str, dict[str, dict[str, np.ndarray | None]]] = {}
        for overlaps, classes in self.of.items():
            curves[overlaps] = {name: dict.fromkeys(METRICS) for name in classes}
            for name, metrics in classes.items():
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
        return Scores(curves, {name: (of_frames @ often).tolist() for name, of_frames in self.objects.items()})


def evaluate(labels: Sequence[LabelTable], results: Sequence[LabelTable]) -> Scores:
    """Score results against labels; the n-th table of each belongs to the n-th frame, empty where nothing was found.

    Raises ValueError where the numbers of frames differ or a detection has no score.
    """
    return tallies(labels, results).scores()


def tallies(labels: Sequence[LabelTable], results: Sequence[LabelTable]) -> Tallies:
    """The matching of `evaluate`, for scoring the same frames with several weightings."""
    if len(labels) != len(results):
        raise ValueError(f"{len(labels)} frames of labels but {len(results)} of results")
    truths, detections = _Rows.of(labels), _Rows.of(results)
    if np.isnan(detections["score"]).any():
        raise ValueError("a detection has no score; result files are read with scores=True")
    aos = not (detections["alpha"] == -10).any()
    with np.errstate(over="ignore", invalid="ignore"):  # boxes of absurd size or place overlap nothing
        dont_care = _dont_care_shares(truths[truths.code == _CODES[DONT_CARE.lower()]], detections)
        classes = {name: _tally_class(name, truths, detections, dont_care, len(labels)) for name in CLASSES}
    by_overlap = {overlaps: {name: classes[name][overlaps] for name in CLASSES} for overlaps in MIN_OVERLAP}
    objects = {name: _objects(name, truths, len(labels)) for name in CLASSES}
    return Tallies(len(labels), objects, by_overlap, aos)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of many frames' tables, in order: code of the type name (-1 for others), values, frame and place."""

    code: np.ndarray
    values: np.ndarray
    frame: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[LabelTable]) -> _Rows:
        names = [name for table in tables for name in table.names]
        codes = {name: _CODES.get(name.lower(), -1) for name in set(names)}
        code = np.fromiter(map(codes.__getitem__, names), dtype=int, count=len(names))
        values = np.concatenate([np.empty((0, len(COLUMNS))), *(table.values for table in tables)])
        values = np.asfortranarray(values)  # columns are picked far more often than rows
        return cls(code, values, np.repeat(np.arange(len(tables)), [len(table) for table in tables]))

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, index: str | np.ndarray) -> np.ndarray | _Rows:
        """A column by its name, or the rows that a mask or index array picks."""
        if isinstance(index, str):
            return self.values[:, COLUMNS[index]]
        return _Rows(self.code[index], np.asfortranarray(self.values[index]), self.frame[index])

    def side(self, counts: np.ndarray) -> Side:
        """What a tally needs of the rows, of which `counts` (N,) are not ignored."""
        return Side(self.frame, self["alpha"], self["score"], counts)

    @cached_property
    def reach(self) -> np.ndarray:
        """Radius (N,) of the circle about the footprint."""
        return np.hypot(self["length"], self["width"]) / 2


def _meeting(a: _Rows, b: _Rows) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pairs from a and b in one frame that may touch in the image or on the ground, a's in order."""
    start = np.searchsorted(b.frame, a.frame, side="left")
    count = np.searchsorted(b.frame, a.frame, side="right") - start
    i = np.repeat(np.arange(len(a)), count)
    j = np.arange(len(i)) + np.repeat(start - np.cumsum(count) + count, count)
    image = (a["left"][i] < b["right"][j]) & (b["left"][j] < a["right"][i])
    ground = (a["x"][i] - b["x"][j]) ** 2 + (a["z"][i] - b["z"][j]) ** 2 < (a.reach[i] + b.reach[j]) ** 2
    touch = np.flatnonzero(image | ground)
    return i[touch], j[touch]


def _intersections(a: _Rows, b: _Rows, i: np.ndarray, j: np.ndarray) -> dict[str, np.ndarray]:
    """Common area in the image, area on the ground, volume of rows i of a with rows j of b."""
    top = np.maximum((a["y"] - a["height"])[i], (b["y"] - b["height"])[j])
    ground = footprint_intersection(a.values[:, _FOOTPRINT][i], b.values[:, _FOOTPRINT][j])
    return {
        "bbox": rectangle_intersection(a.values[:, _BOX2D][i], b.values[:, _BOX2D][j]),
        "bev": ground,
        "3d": ground * np.maximum(np.minimum(a["y"][i], b["y"][j]) - top, 0),
    }


def _sizes(rows: _Rows) -> dict[str, np.ndarray]:
    footprint = rows["length"] * rows["width"]
    return {
        "bbox": rectangle_area(rows.values[:, _BOX2D]),
        "bev": footprint,
        "3d": rows["height"] * rows["length"] * rows["width"],
    }


def _dont_care_shares(regions: _Rows, detections: _Rows) -> dict[str, np.ndarray]:
    """The largest share of each detection that lies in one DontCare region, per metric."""
    region, detection = _meeting(regions, detections)
    common, size = _intersections(detections, regions, detection, region), _sizes(detections)
    shares = {metric: np.zeros(len(detections)) for metric in common}
    for metric, share in shares.items():
        np.maximum.at(share, detection, ratio(common[metric], size[metric][detection]))
    return shares


def _tally_class(
    name: str, truths: _Rows, detections: _Rows, dont_care: dict[str, np.ndarray], frames: int
) -> dict[str, dict[str, list[Tally] | None]]:
    """[strict, loose][bbox, bev, 3d] -> tallies of one class for easy, moderate, hard; None where not evaluated."""
    own, neighbour = _CODES[name.lower()], _CODES[NEIGHBOURS.get(name, name).lower()]
    truths = truths[(truths.code == own) | (truths.code == neighbour)]
    # The kit cuts the height to a whole number first, which makes no difference below whole minima.
    pixels = np.abs(detections["top"] - detections["bottom"])
    # A detection of another class takes part where it is too short: it absorbs a ground truth.
    partakes = (detections.code == own) | (pixels < max(MIN_HEIGHT))
    detections, pixels = detections[partakes], pixels[partakes]
    dont_care = {metric: share[partakes] for metric, share in dont_care.items()}

    truth, detection = _meeting(truths, detections)
    common = _intersections(detections, truths, detection, truth)
    size_d, size_t = _sizes(detections), _sizes(truths)
    overlap = {m: ratio(common[m], size_d[m][detection] + size_t[m][truth] - common[m]) for m in common}
    found = _evaluated(detections[detections.code == own])
    steps = Steps.of(detections.frame, detections["score"], frames)

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
                    truths.side(_counted(truths, own, level)),
                    detections.side(counts),
                    steps,
                    cared,
                )
            )
        return of_levels

    table: dict[str, dict[str, list[Tally] | None]] = {}
    done: dict[tuple[str, float], list[Tally]] = {}
    for overlaps, thresholds in MIN_OVERLAP.items():
        table[overlaps] = dict.fromkeys(thresholds[name])
        for metric, threshold in thresholds[name].items():
            if not found[metric]:
                continue
            if (metric, threshold) not in done:
                done[metric, threshold] = levels(metric, threshold)
            table[overlaps][metric] = done[metric, threshold]
    return table


def _evaluated(detections: _Rows) -> dict[str, bool]:
    """A metric is evaluated where at least one detection of the class gives what it needs."""
    placed = (detections["x"] != -1000) & (detections["z"] != -1000)
    ground = placed & (detections["width"] > 0) & (detections["length"] > 0)
    solid = ground & (detections["y"] != -1000) & (detections["height"] > 0)
    return {"bbox": bool((detections["left"] >= 0).any()), "bev": bool(ground.any()), "3d": bool(solid.any())}


def _objects(name: str, truths: _Rows, frames: int) -> np.ndarray:
    """How many objects (3, F) of a class count in each frame, for easy, moderate, hard."""
    counted = [_counted(truths, _CODES[name.lower()], level) for level in range(len(DIFFICULTIES))]
    return np.stack([np.bincount(truths.frame[rows], minlength=frames) for rows in counted])


def _counted(truths: _Rows, code: int, level: int) -> np.ndarray:
    """The rows of a class that are not too hard."""
    return (truths.code == code) & ~(
        (truths["occluded"] > MAX_OCCLUSION[level])
        | (truths["truncated"] > MAX_TRUNCATION[level])
        | (truths["bottom"] - truths["top"] <= MIN_HEIGHT[level])
    )
