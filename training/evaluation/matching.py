"""KITTI's greedy matching of ground truth and detections, for all frames and score thresholds at once.

Within a frame each ground truth, in file order, takes the detection it likes best among those still free. What it
likes does not depend on what is taken, so candidate pairs can be sorted beforehand, and the walk down the sorted
pairs runs for all frames side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pairs:
    """The E pairs of one class that overlap enough to be matched, ordered by frame, ground truth and detection.

    frame, truth, detection: (E,) indices, counted through all frames
    overlap:                 (E,) intersection over union
    """

    frame: np.ndarray
    truth: np.ndarray
    detection: np.ndarray
    overlap: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: np.ndarray) -> Pairs:
        """The pairs that a mask or index array picks."""
        return Pairs(self.frame[index], self.truth[index], self.detection[index], self.overlap[index])


def by_score(pairs: Pairs, scores: np.ndarray) -> np.ndarray:
    """Order (E,) of the first pass: each ground truth prefers the highest score, the first in file on a tie."""
    return np.lexsort((-scores[pairs.detection], pairs.truth))


def by_overlap(pairs: Pairs, counts: np.ndarray) -> np.ndarray:
    """Order (E,) of the second pass: the valid detection of largest overlap, else the first in file that is ignored.

    counts: (detections,) True for valid detections.
    """
    return np.lexsort((np.where(counts[pairs.detection], -pairs.overlap, 1.0), pairs.truth))


def match(pairs: Pairs, order: np.ndarray, since: np.ndarray, steps: int) -> np.ndarray:
    """Which pairs are matched, (E, steps) bool: at each step every detection d with since[d] <= step takes part.

    order: (E,) from `by_score` or `by_overlap`.
    """
    pairs_in_order, start = pairs[order], since[pairs.detection][order]
    taken_in_order = start[:, None] <= np.arange(steps)
    contested = _contested(pairs_in_order)
    walk = np.flatnonzero(contested)
    if walk.size:
        _, truth = np.unique(pairs_in_order.truth[walk], return_inverse=True)
        _, detection = np.unique(pairs_in_order.detection[walk], return_inverse=True)
        truth_free = np.ones((truth.max() + 1, steps), dtype=bool)
        detection_free = np.ones((detection.max() + 1, steps), dtype=bool)
        for turn in _turns(pairs_in_order.frame[walk]):
            t, d, e = truth[turn], detection[turn], walk[turn]
            chosen = taken_in_order[e] & truth_free[t] & detection_free[d]
            taken_in_order[e] = chosen
            truth_free[t] &= ~chosen
            detection_free[d] &= ~chosen
    taken = np.empty_like(taken_in_order)
    taken[order] = taken_in_order
    return taken


def _contested(pairs: Pairs) -> np.ndarray:
    # Most pairs share neither side with another one: they need no walk.
    if not len(pairs):
        return np.zeros(0, dtype=bool)
    of_truth, of_detection = np.bincount(pairs.truth), np.bincount(pairs.detection)
    return (of_truth[pairs.truth] > 1) | (of_detection[pairs.detection] > 1)


def _turns(frame: np.ndarray) -> list[np.ndarray]:
    """Index arrays: the first pair of every frame, the second of every frame that has one, and so on."""
    first = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]])
    place = np.arange(len(frame)) - np.repeat(first, np.diff(np.r_[first, len(frame)]))
    by_place = np.argsort(place, kind="stable")
    return np.split(by_place, np.cumsum(np.bincount(place))[:-1])
