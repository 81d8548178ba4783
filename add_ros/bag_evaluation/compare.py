"""Two scored runs side by side: differences with confidence intervals by the bootstrap over frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from add_model.detections import Detections
from add_model.geometry.boxes import wrap
from add_ros.bag_evaluation.scoring import Scored
from training.evaluation.average_precision import METRICS, OVERLAPS
from training.evaluation.bootstrap import LEAST_BLOCKS, enough_blocks, interval, resamples, usual_block
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import EDGES, QUANTITIES
from training.evaluation.table import ENOUGH
from training.progress_bar import counted

MEASURES = ("recall", *QUANTITIES)  # per bin of distance: recall, and the medians of |error|
_SAME = 0.01  # metres: centres of the same detection in two runs


@dataclass(frozen=True)
class Agreement:
    """How far the detections of two runs over the same frames agree, of all scores.

    frames:             how many; same: in how many of them each detection is in the other run too
    first, second:      detections that only this run has
    shift, turn, score: the largest differences of those in both: centre or size in metres, heading in degrees, score
    """

    frames: int
    same: int
    first: int
    second: int
    shift: float
    turn: float
    score: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Second minus first, each value with its 95% confidence interval; NaN where unknown.

    paired:     whether the frames are the same, so that both runs are drawn together
    resamples, block, seed: how the frames were drawn
    agreement:  where paired, how far the detections agree
    ap:         (4, 2, C, 4, 3): first, second, lower and upper end of the difference; by strict and loose overlap,
                class, metric and difficulty; AP_R40 in percent
    distance:   (4, C, 5, 9): the same by class, `MEASURES` and bin of distance
    """

    first: Scored
    second: Scored
    paired: bool
    resamples: int
    block: int
    seed: int
    agreement: Agreement | None
    ap: np.ndarray
    distance: np.ndarray

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the C classes."""
        return self.first.class_spec.names

    @property
    def frames(self) -> int:
        """Of the shorter run."""
        return min(len(self.first.frames), len(self.second.frames))

    @property
    def intervals(self) -> bool:
        """Whether there are frames enough for intervals."""
        return enough_blocks(self.frames, self.block)

    def comparable(self, name: str, level: int) -> bool:
        """Whether a difference in AP can be due to the detectors; with few objects in different sets it can't."""
        first, second = self._objects(name, level)
        return min(first, second) >= ENOUGH or (self.paired and first == second)

    def _objects(self, name: str, level: int) -> list[int]:
        return [side.scores.objects[name][level] for side in (self.first, self.second)]

    @property
    def notes(self) -> list[str]:
        """What is left out and why, a sentence each."""
        notes = []
        if not self.intervals:
            most = self.frames // LEAST_BLOCKS
            remedy = f"--block {most} or less gives some" if most else f"at least {LEAST_BLOCKS} frames are needed"
            notes.append(
                f"No intervals: {self.frames} frames hold fewer than {LEAST_BLOCKS} blocks of {self.block}, of which "
                f"intervals would be too narrow; {remedy}."
            )
        few = [
            "{} {} ({} and {})".format(name, level, *self._objects(name, i))
            for c, name in enumerate(self.classes)
            for i, level in enumerate(DIFFICULTIES)
            if not self.comparable(name, i) and not np.isnan(self.ap[:2, :, c, :, i]).all()
        ]
        if few:
            notes.append(
                f"AP is left out where the two sets differ and fewer than {ENOUGH} objects count in one of them, since "
                f"the difference would be one of the numbers of objects: {', '.join(few)}."
            )
        return notes

    def to_json(self) -> dict[str, Any]:
        """AP and errors against distance as [..., {first, second, difference, low, high}], and all settings."""
        return {
            "first": self.first.run.name,
            "second": self.second.run.name,
            "paired": self.paired,
            "resamples": self.resamples,
            "block": self.block,
            "seed": self.seed,
            "notes": self.notes,
            "agreement": None if self.agreement is None else vars(self.agreement),
            "AP_R40": {
                overlaps: {
                    name: {
                        metric: [
                            _entry(self.ap[:, o, c, m, level], self.comparable(name, level))
                            for level in range(len(DIFFICULTIES))
                        ]
                        for m, metric in enumerate(METRICS)
                    }
                    for c, name in enumerate(self.classes)
                }
                for o, overlaps in enumerate(OVERLAPS)
            },
            "distance": {
                name: {
                    measure: [_entry(self.distance[:, c, m, b]) for b in range(len(EDGES) - 1)]
                    for m, measure in enumerate(MEASURES)
                }
                for c, name in enumerate(self.classes)
            },
        }


def _entry(values: np.ndarray, comparable: bool = True) -> dict[str, float | None]:
    first, second, low, high = (None if np.isnan(value) else float(value) for value in values)
    if not comparable:
        low = high = None
    difference = None if first is None or second is None or not comparable else second - first
    return {"first": first, "second": second, "difference": difference, "low": low, "high": high}


def compare(
    first: Scored,
    second: Scored,
    count: int = 1000,
    block: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two runs by the bootstrap over frames.

    Frames with the same stamps and ground truth are drawn together, others independently. Where a run has too few
    blocks, there are no intervals.

    Args:
        first: one run.
        second: the other, scored with the same classes.
        count: how many resamples.
        block: consecutive frames that are drawn together; None for `usual_block`.
        seed: of the draws.

    Raises:
        ValueError: where the runs were scored with different classes.
    """
    if first.class_spec.names != second.class_spec.names:
        raise ValueError(
            f"the runs were scored with different classes: {', '.join(first.class_spec.names)} and "
            f"{', '.join(second.class_spec.names)}"
        )
    paired = _same_frames(first, second)
    whole = [_measure(side) for side in (first, second)]
    shorter = min(len(first.frames), len(second.frames))
    block = usual_block(shorter) if block is None else block
    values = [np.stack([a, b, np.full_like(a, np.nan), np.full_like(a, np.nan)]) for a, b in zip(*whole, strict=True)]
    if enough_blocks(shorter, block):
        for of_kind, differences in zip(values, _resampled(first, second, paired, count, block, seed), strict=True):
            of_kind[2:] = interval(differences)
    agreement = _agreement(first, second) if paired else None
    return Comparison(first, second, paired, count, block, seed, agreement, *values)


def _resampled(
    first: Scored, second: Scored, paired: bool, count: int, block: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The differences of what `_measure` gives, of each resample."""
    draws = [
        resamples(len(first.frames), count, block, seed),
        resamples(len(second.frames), count, block, seed if paired else seed + 1),
    ]
    differences = ([], [])
    for weights in counted(zip(*draws, strict=True), "resamples", "intervals", count):
        a, b = (_measure(side, w) for side, w in zip((first, second), weights, strict=True))
        for kept, x, y in zip(differences, a, b, strict=True):
            kept.append(y - x)
    return np.array(differences[0]), np.array(differences[1])


def _measure(scored: Scored, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """AP_R40 (2, C, 4, 3) in percent and errors against distance (C, 5, 9), of frames weighted by weights."""
    scores = scored.scores if weights is None else scored.tallies.scores(weights)
    names = scored.class_spec.names
    ap = np.full((len(OVERLAPS), len(names), len(METRICS), len(DIFFICULTIES)), np.nan)
    for o, overlaps in enumerate(OVERLAPS):
        percent = scores.percent("R40", overlaps)
        for c, name in enumerate(names):
            for m, metric in enumerate(METRICS):
                if percent[name][metric] is not None:
                    ap[o, c, m] = percent[name][metric]
    distance = np.full((len(names), len(MEASURES), len(EDGES) - 1), np.nan)
    for c, name in enumerate(names):
        errors = scored.classes[name].objects
        if not len(errors.frame):
            continue
        binned = errors.binned() if weights is None else errors.weighted(weights).binned()
        distance[c] = np.stack([binned.recall, *(getattr(binned, quantity)[1] for quantity in QUANTITIES)])
    return ap, distance


def _same_frames(first: Scored, second: Scored) -> bool:
    return len(first.frames) == len(second.frames) and all(
        a.stamp == b.stamp
        and len(a.objects) == len(b.objects)
        and (a.objects.names == b.objects.names).all()
        and np.allclose(a.objects.boxes, b.objects.boxes, atol=1e-3, equal_nan=True)
        for a, b in zip(first.frames, second.frames, strict=True)
    )


def _agreement(first: Scored, second: Scored) -> Agreement:
    same, lone, largest = 0, np.zeros(2, int), np.zeros(3)
    for a, b in zip(first.frames, second.frames, strict=True):
        i, j = _common(a.detections, b.detections)
        only = len(a.detections) - len(i), len(b.detections) - len(j)
        same += only == (0, 0)
        lone += only
        if len(i):
            apart = np.abs(a.detections.boxes[i] - b.detections.boxes[j])
            turn = np.degrees(np.abs(wrap(apart[:, 6])))
            score = np.abs(a.detections.scores[i] - b.detections.scores[j])
            largest = np.maximum(largest, [apart[:, :6].max(), turn.max(), score.max()])
    return Agreement(len(first.frames), same, int(lone[0]), int(lone[1]), *map(float, largest))


def _common(a: Detections, b: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a and b that are each other's nearest of the same class, `_SAME` metres apart at most."""
    if not len(a) or not len(b):
        return np.empty(0, int), np.empty(0, int)
    apart = np.linalg.norm(a.boxes[:, None, :3] - b.boxes[:, :3], axis=2)
    apart[a.names[:, None] != b.names] = np.inf
    nearest, back = apart.argmin(axis=1), apart.argmin(axis=0)
    i = np.flatnonzero((back[nearest] == np.arange(len(a))) & (apart[np.arange(len(a)), nearest] <= _SAME))
    return i, nearest[i]
