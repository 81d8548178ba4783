"""KITTI's object benchmark: average precision and orientation similarity, by the rules of the official kit.

`evaluate` scores tables, frame by frame (`training.data.kitti.labels` makes them from files, objects or detections);
`training.evaluation.folders` reads whole folders. For KITTI's own classes, percentages agree with the official C++
program. Where that divides 0 by 0, because every detection above a threshold is ignored, precision is 0 here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec
from training.data.kitti.labels import LabelTable
from training.evaluation.frames_tally import OVERLAPS, FramesTally, min_overlap, tally_frames
from training.evaluation.tally import Tally, joined_tallies

METRICS = ("bbox", "aos", "bev", "3d")
POINTS = {"R40": slice(1, None), "R11": slice(0, None, 4)}
_FRAMES_AT_ONCE = 512  # fewer take longer: 256 a tenth; more take memory


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
    return _joined_blocks([tally_frames(*block, classes) for block in _blocks(labels, results)], classes)


def _blocks(
    labels: Iterable[LabelTable], results: Iterable[LabelTable]
) -> Iterator[tuple[list[LabelTable], list[LabelTable]]]:
    """Both in blocks of frames, at least one: matching takes ten times the memory of what is kept of it."""
    labels, results, frames = iter(labels), iter(results), 0
    while True:
        block = list(islice(labels, _FRAMES_AT_ONCE)), list(islice(results, _FRAMES_AT_ONCE))
        if len(block[0]) != len(block[1]):
            labelled, detected = (
                frames + len(some) + sum(1 for _ in rest) for some, rest in zip(block, (labels, results), strict=True)
            )
            raise ValueError(f"{labelled} frames of labels but {detected} of results")
        frames += len(block[0])
        if block[0] or not frames:
            yield block
        if len(block[0]) < _FRAMES_AT_ONCE:
            return


def _joined_blocks(blocks: list[FramesTally], classes: ClassSpec) -> Tallies:
    by_overlap: dict[str, dict[str, dict[str, list[Tally] | None]]] = {overlaps: {} for overlaps in OVERLAPS}
    left_out: dict[str, dict[str, list[int]]] = {}
    for kind in classes:
        tables = [block.tallies.pop(kind.name) for block in blocks]  # or both would be held to the end
        levels = iter(joined_tallies([[level for of in table.values() for level in of] for table in tables]))
        whole = {key: list(islice(levels, len(of))) for key, of in tables[0].items()}
        for overlaps in OVERLAPS:
            by_overlap[overlaps][kind.name] = {
                metric: whole[metric, min_overlap(kind, overlaps, metric)]
                if any(block.evaluated[kind.name][metric] for block in blocks)
                else None
                for metric in blocks[0].evaluated[kind.name]
            }
        left_out[kind.name] = counts = {}
        for block in blocks:
            for reason, some in block.left_out[kind.name].items():
                counts[reason] = [a + b for a, b in zip(counts.get(reason, [0] * len(some)), some, strict=True)]
    return Tallies(
        frames=sum(block.frames for block in blocks),
        objects={name: np.concatenate([block.objects[name] for block in blocks], axis=1) for name in classes.names},
        by_overlap=by_overlap,
        aos=all(block.aos for block in blocks),
        classes=classes,
        left_out=left_out,
    )
