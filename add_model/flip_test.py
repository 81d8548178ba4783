"""What a network finds in an image and in its mirror image, averaged: CenterNet's flip test (Zhou et al., 'Objects as
Points', 2019), of candidates, so that any detector can be asked.

Networks answer a little differently for either, although they were trained on both. What only one of them sees is less
likely there, and the errors of both are partly independent.
"""

from __future__ import annotations

import numpy as np

from add_model.candidates import Candidates
from add_model.geometry import boxes as box3d

_OVERLAP = 0.5  # intersection over union in the image from which on two answers can be about one object


def flip_candidates(found: Candidates, width: int) -> Candidates:
    """What was found on the mirrored canvas of this width -> what that is on the canvas. Its own inverse."""
    left, top, right, bottom = found.boxes2d.T
    boxes2d = np.stack([width - 1 - right, top, width - 1 - left, bottom], axis=1)
    return found._replace(boxes=box3d.flip(found.boxes), boxes2d=boxes2d)


def average(own: Candidates, other: Candidates) -> Candidates:
    """Two answers about one canvas -> one, best first.

    Candidates of a class that overlap by half are a pair, where each is the other's best match. A pair becomes one
    candidate, weighted by the scores; where headings differ by more than a quarter turn, the surer one is taken. How
    far the depths are apart is part of its deviation, and takes from its score, the mean, what it takes from the
    probability that the depth is right to a metre. A candidate that is alone keeps half of its score.
    """
    i, j = _pairs(own, other)
    mine, theirs = _rows(own, i), _rows(other, j)
    weight = theirs.scores / np.maximum(mine.scores + theirs.scores, np.finfo(np.float32).tiny)
    share = weight[:, None]
    boxes = mine.boxes + share * (theirs.boxes - mine.boxes)
    turn = box3d.wrap(theirs.boxes[:, 6] - mine.boxes[:, 6])
    boxes[:, 6] = box3d.wrap(mine.boxes[:, 6] + np.where(np.abs(turn) > np.pi / 2, np.round(weight), weight) * turn)
    within = (1 - weight) * mine.depth_std**2 + weight * theirs.depth_std**2
    between = weight * (1 - weight) * (theirs.boxes[:, 2] - mine.boxes[:, 2]) ** 2
    depth_std = np.sqrt(within + between)  # of a mixture of both
    paired = Candidates(
        (mine.scores + theirs.scores) / 2 * (_depth_certainty(depth_std) / _depth_certainty(np.sqrt(within))),
        mine.labels,
        boxes,
        mine.boxes2d + share * (theirs.boxes2d - mine.boxes2d),
        depth_std,
    )
    parts = (paired, _half_as_sure(own, i), _half_as_sure(other, j))
    joined = Candidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    return _rows(joined, np.argsort(-joined.scores, kind="stable"))


def _depth_certainty(depth_std: np.ndarray) -> np.ndarray:
    """The share of a Laplace distribution of this standard deviation, metres, that lies within one metre."""
    return 1 - np.exp(-np.sqrt(2) / np.maximum(depth_std, 1e-6))


def _pairs(own: Candidates, other: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both that are about the same object."""
    if not len(own.scores) or not len(other.scores):
        return np.empty(0, int), np.empty(0, int)
    same = (own.labels[:, None] == other.labels) & _finite(own)[:, None] & _finite(other)
    overlap = np.where(same, box3d.image_iou(own.boxes2d, other.boxes2d), 0)
    match = np.where(overlap >= _OVERLAP, overlap + np.minimum(own.scores[:, None], other.scores), 0)
    i, j = np.arange(len(match)), match.argmax(axis=1)
    kept = (match[i, j] > 0) & (match.argmax(axis=0)[j] == i)
    return i[kept], j[kept]


def _finite(found: Candidates) -> np.ndarray:
    """(K,): what is not would spoil the other answer."""
    values = (found.scores[:, None], found.boxes, found.boxes2d, found.depth_std[:, None])
    return np.isfinite(np.concatenate(values, axis=1)).all(axis=1)


def _half_as_sure(found: Candidates, paired: np.ndarray) -> Candidates:
    """Those that are alone."""
    alone = _rows(found, np.delete(np.arange(len(found.scores)), paired))
    return alone._replace(scores=alone.scores / 2)


def _rows(found: Candidates, rows: np.ndarray) -> Candidates:
    return Candidates(*(values[rows] for values in found))
