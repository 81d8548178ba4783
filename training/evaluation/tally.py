"""What average precision needs of each frame, kept apart by frame, so that any weighting of frames can be scored.

The official rules match detections within single frames; frames are combined only where the scores of all true
positives become thresholds, and where hits are counted at each threshold. As the threshold falls, a frame's counts
change at its own detections' scores alone. A tally keeps these changes: one matching serves the set itself and every
resampling of its frames, and gives the same values as scoring the resampled set from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.evaluation.matching import Pairs, match

RECALLS = np.linspace(0, 1, 41)
_NEVER = -10000000  # the official kit's first pass takes no score at or below it


@dataclass(frozen=True, eq=False)
class Side:
    """The rows of ground truth or of detections, in the order of frames.

    frame: (N,) index of the frame, alpha: (N,) observation angle, None where it is not scored, score: (N,) NaN for
    ground truth, counts: (N,) bool, whether the row is not ignored
    """

    frame: np.ndarray
    alpha: np.ndarray | None
    score: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Steps:
    """The distinct scores of each frame.

    score, frame: (S,) by falling score
    rank:         (S,) where the steps of the first frame, by falling score, then those of the second and so on are in
                  `score`; start: (F,) where each frame's begin there
    place:        (N,) each row's step, counted from that start
    """

    score: np.ndarray
    frame: np.ndarray
    rank: np.ndarray
    start: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, frame: np.ndarray, scores: np.ndarray, frames: int) -> Steps:
        """The steps of rows in the order of `frames` frames, at which they begin to take part."""
        order = np.lexsort((-scores, frame))
        of_frame, score = frame[order], scores[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (of_frame[1:] != of_frame[:-1]) | (score[1:] != score[:-1])
        start = np.searchsorted(of_frame[new], np.arange(frames))
        place = np.empty(len(order), dtype=int)
        place[order] = np.cumsum(new) - 1 - start[of_frame]
        falling, rank = np.argsort(-score[new], kind="stable"), np.empty(int(new.sum()), dtype=int)
        rank[falling] = np.arange(len(rank))
        return cls(score[new][falling], of_frame[new][falling].astype(np.int32), rank, start, place)

    def at(self, frame: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Where the steps at places of frames are in `score`."""
        return self.rank[self.start[frame] + place]


@dataclass(frozen=True, eq=False)
class Tally:
    """The counts of one class, metric, overlap and difficulty over F frames.

    There are as many for a set as it has classes, metrics, overlaps and difficulties, so numbers are kept small.

    objects:      (F,) ground truths that count
    score, frame: (S,) of the class's steps, shared with its other tallies
    hits:         (H,) the steps of the true positives of the first pass, rising
    index:        (K,) the steps that change a count, rising
    change:       (2, K) when the threshold falls to their scores, the counts of their frames change by so many true
                  positives and false positives
    agreement:    (1, K) by how much the summed similarity of orientation does; (0, K) where it is not scored
    """

    objects: np.ndarray
    score: np.ndarray
    frame: np.ndarray
    hits: np.ndarray
    index: np.ndarray
    change: np.ndarray
    agreement: np.ndarray

    def curves(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Precision and orientation similarity (41,) at `RECALLS`, made monotone from the right; 0 where not scored.

        Args:
            weights: (F,) whole numbers, how often each frame is in the set; None takes each once.
        """
        if weights is None:
            weights = np.ones(len(self.objects), dtype=int)
        hits = np.repeat(self.score[self.hits], weights[self.frame[self.hits]])
        thresholds = recall_thresholds(hits, int(weights @ self.objects))
        steps, often = len(thresholds), weights[self.frame[self.index]].astype(float)
        reached = np.searchsorted(self.index, np.searchsorted(-self.score, -thresholds, side="right"))
        change = np.concatenate([self.change, self.agreement], dtype=float)
        sums = [change[:, a:b] @ often[a:b] for a, b in pairwise([0, *reached.tolist()])]
        true, false, *agreement = np.cumsum(np.reshape(sums, (steps, len(change))), axis=0).T
        precision, similarity = np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
        np.divide(true, true + false, out=precision[:steps], where=true + false > 0)
        for summed in agreement:
            np.divide(summed, true + false, out=similarity[:steps], where=true + false > 0)
        return _monotone(precision), _monotone(similarity)


def tally(pairs: Pairs, truths: Side, detections: Side, steps: Steps, cared: np.ndarray) -> Tally:
    """Match all frames, and keep what each contributes.

    Args:
        pairs: of ground truth and detections that overlap enough.
        truths: the rows of ground truth.
        detections: the rows of detections.
        steps: of the detections.
        cared: (N,) bool, the detections outside DontCare regions.
    """
    scores, counts = detections.score, detections.counts
    hit = truths.counts[pairs.truth] & counts[pairs.detection]
    first = match(pairs, -scores[pairs.detection], np.where(scores > _NEVER, 0, 1), 1)
    hits = pairs.detection[first.at(0) & hit]

    # A detection that counts goes before one that is ignored; of the former the largest overlap, of the latter the
    # first in the file.
    cost = np.where(counts[pairs.detection], -pairs.overlap, 1.0)
    second = match(pairs, cost, steps.place, int(steps.place.max(initial=-1)) + 1)
    alone = np.flatnonzero(second.since < second.taken.shape[1])
    change = np.diff(second.taken.astype(np.int8), axis=1, prepend=0)
    walked, place = np.nonzero(change)
    pair = np.r_[alone, second.walked[walked]]
    sign = np.r_[np.ones(len(alone)), change[walked, place]]
    step = steps.at(pairs.frame[pair], np.r_[second.since[alone], place])
    stray = np.flatnonzero(counts & cared)  # until it is matched
    own = steps.at(detections.frame[stray], steps.place[stray])

    size = len(steps.score)
    true = np.bincount(step, sign * hit[pair], size)
    false = np.bincount(own, minlength=size) - np.bincount(step, sign * (counts & cared)[pairs.detection[pair]], size)
    changes = [true, false]
    if truths.alpha is not None and detections.alpha is not None:
        turn = truths.alpha[pairs.truth[pair]] - detections.alpha[pairs.detection[pair]]
        changes.append(np.bincount(step, sign * hit[pair] * (1 + np.cos(turn)) / 2, size))
    index = np.flatnonzero(np.any(changes, axis=0))
    changes = np.take(changes, index, axis=1)
    return Tally(
        objects=_small(np.bincount(truths.frame[truths.counts], minlength=len(steps.start))),
        score=steps.score,
        frame=steps.frame,
        hits=np.sort(steps.at(detections.frame[hits], steps.place[hits])).astype(np.int32),
        index=index.astype(np.int32),
        change=_small(changes[:2]),
        agreement=changes[2:].copy(),
    )


def joined_tallies(blocks: Sequence[Sequence[Tally]]) -> list[Tally]:
    """The tallies of one class over all frames, equal to those of one matching of them all.

    Args:
        blocks: the class's tallies over the first frames, over those that follow and so on, always in the same order.
    """
    scores = [tallies[0].score for tallies in blocks]
    first = np.cumsum([0, *(len(tallies[0].objects) for tallies in blocks[:-1])])
    frame = np.concatenate([tallies[0].frame + start for tallies, start in zip(blocks, first, strict=True)])
    score = np.concatenate(scores)
    falling, place = np.argsort(-score, kind="stable"), np.empty(len(score), dtype=np.int32)
    place[falling] = np.arange(len(place))
    score, frame = score[falling], frame[falling].astype(np.int32)
    places = np.split(place, np.cumsum([len(of) for of in scores])[:-1])
    return [_joined(parts, score, frame, places) for parts in zip(*blocks, strict=True)]


def _joined(parts: Sequence[Tally], score: np.ndarray, frame: np.ndarray, places: Sequence[np.ndarray]) -> Tally:
    """places: where the steps of each part are in `score` and `frame`."""
    index = np.concatenate([place[part.index] for part, place in zip(parts, places, strict=True)])
    rising = np.argsort(index)
    return Tally(
        objects=np.concatenate([part.objects for part in parts]),
        score=score,
        frame=frame,
        hits=np.sort(np.concatenate([place[part.hits] for part, place in zip(parts, places, strict=True)])),
        index=index[rising],
        change=np.concatenate([part.change for part in parts], axis=1)[:, rising],
        agreement=np.concatenate([part.agreement for part in parts], axis=1)[:, rising],
    )


def _small(counts: np.ndarray) -> np.ndarray:
    """Whole numbers in the smallest type that holds them."""
    ends = (int(counts.min(initial=0)), int(counts.max(initial=0)))
    return counts.astype(np.result_type(*map(np.min_scalar_type, ends)))


def recall_thresholds(scores: np.ndarray, truths: int) -> np.ndarray:
    """Up to 41 scores, falling, at which recall comes nearest to 0, 1/40, 2/40, ...

    Args:
        scores: of the true positives, falling.
        truths: number of ground truths that count.
    """
    thresholds, recall, i, last = [], 0.0, 0, len(scores) - 1
    while i <= last:
        # The loop of the official kit, started a little before the place where it stops: each test is the same
        # floating-point comparison.
        i = max(i, min(int(recall * truths) - 3, last))
        while i < last and (i + 2) / truths - recall < recall - (i + 1) / truths:
            i += 1
        thresholds.append(scores[i])
        recall += 1 / (len(RECALLS) - 1)
        i += 1
    return np.array(thresholds)


def _monotone(values: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(values[::-1])[::-1]
