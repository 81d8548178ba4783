"""KITTI's greedy matching of ground truth and detections, for all frames and score thresholds at once.

Within a frame each ground truth, in file order, takes the detection of least cost among those still free. Costs do not
depend on what is taken, so candidate pairs can be sorted beforehand, and the walk down the sorted pairs runs for all
frames side by side. Pairs that share neither side with another one, by far the most, need no walk.
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


@dataclass(frozen=True, eq=False)
class Matches:
    """Which of E pairs are matched at each of S steps.

    since:  (E,) for a pair without rivals the step from which on it is matched, S for others
    walked: indices of the pairs with rivals that are ever matched, and taken (walked, S) bool when they are
    """

    since: np.ndarray
    walked: np.ndarray
    taken: np.ndarray

    def at(self, step: int) -> np.ndarray:
        """Mask (E,) of the pairs matched at a step."""
        mask = self.since <= step
        mask[self.walked] = self.taken[:, step]
        return mask


def match(pairs: Pairs, cost: np.ndarray, since: np.ndarray, steps: int) -> Matches:
    """Match greedily at each step.

    Args:
        pairs: the E pairs that may be matched.
        cost: (E,) each ground truth takes its free pair of least cost, the first in order where costs are equal.
        since: (N,) the step from which on each detection takes part.
        steps: how many there are.
    """
    start = since[pairs.detection]
    walked = np.flatnonzero(_has_rivals(pairs))
    walked = walked[np.lexsort((cost[walked], pairs.truth[walked]))]
    taken = start[walked, None] <= np.arange(steps)
    if walked.size:
        truth, detection = _renumber(pairs.truth[walked]), _renumber(pairs.detection[walked])
        truth_free = np.ones((truth.max() + 1, steps), dtype=bool)
        detection_free = np.ones((detection.max() + 1, steps), dtype=bool)
        for turn in _turns(pairs.frame[walked]):
            t, d = truth[turn], detection[turn]
            chosen = taken[turn] & truth_free[t] & detection_free[d]
            taken[turn] = chosen
            truth_free[t] &= ~chosen
            detection_free[d] &= ~chosen
    start[walked] = steps
    ever = np.flatnonzero(taken.any(axis=1))
    return Matches(start, walked[ever], taken[ever])


def _has_rivals(pairs: Pairs) -> np.ndarray:
    if not len(pairs):
        return np.zeros(0, dtype=bool)
    of_truth, of_detection = np.bincount(pairs.truth), np.bincount(pairs.detection)
    return (of_truth[pairs.truth] > 1) | (of_detection[pairs.detection] > 1)


def _renumber(index: np.ndarray) -> np.ndarray:
    used = np.zeros(index.max() + 1, dtype=bool)
    used[index] = True
    return (np.cumsum(used) - 1)[index]


def _turns(frame: np.ndarray) -> list[np.ndarray]:
    """Index arrays: the first pair of every frame, the second of every frame that has one, and so on."""
    first = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]])
    place = np.arange(len(frame)) - np.repeat(first, np.diff(np.r_[first, len(frame)]))
    by_place = np.argsort(place, kind="stable")
    return np.split(by_place, np.cumsum(np.bincount(place))[:-1])
