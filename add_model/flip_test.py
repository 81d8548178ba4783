"""What a network finds in an image and in its mirror image, averaged: CenterNet's flip test (Zhou et al., 'Objects as
Points', 2019), of candidates, so that any detector can be asked.

Networks answer a little differently for either, although they were trained on both. What only one of them sees is less
likely there, and the errors of both are partly independent.
"""

from __future__ import annotations

import numpy as np

from add_model.candidates import DEPTH_TOLERANCE, Candidates
from add_model.geometry import boxes as box3d

_OVERLAP = 0.5  # intersection over union in the image from which on two answers can be about one object


def flip_candidates(found: Candidates, width: int) -> Candidates:
    """What was found on the mirrored canvas of this width -> what that is on the canvas. Its own inverse."""
    return found._replace(boxes=box3d.flip(found.boxes), boxes2d=box3d.flip_rectangles(found.boxes2d, width))


def average(own: Candidates, other: Candidates) -> Candidates:
    """Two answers about one canvas -> one, best first.

    Candidates of a class that overlap by half are a pair, where each is the other's best match. A pair becomes one
    candidate, weighted by the scores; where headings differ by more than a quarter turn, the surer one is taken. How
    far the depths are apart is part of its deviation, and takes from its score, the mean, what it takes from the
    probability that the depth is right to a metre. A candidate that is alone keeps half of its score.
    """
    i, j = _pairs(own, other)
    first, second = _rows(own, i), _rows(other, j)
    weight = second.scores / np.maximum(first.scores + second.scores, np.finfo(np.float32).tiny)
    boxes = first.boxes + weight[:, None] * (second.boxes - first.boxes)
    angle = box3d.wrap(second.boxes[:, 6] - first.boxes[:, 6])
    boxes[:, 6] = box3d.wrap(first.boxes[:, 6] + np.where(np.abs(angle) > np.pi / 2, np.round(weight), weight) * angle)
    # The variance of a mixture: the mean of both, and that between both.
    mean_variance = (1 - weight) * first.depth_std**2 + weight * second.depth_std**2
    apart = second.boxes[:, 2] - first.boxes[:, 2]
    depth_std = np.sqrt(mean_variance + weight * (1 - weight) * apart**2)
    certainty = _depth_certainty(depth_std) / _depth_certainty(np.sqrt(mean_variance))
    paired = Candidates(
        (first.scores + second.scores) / 2 * certainty,
        first.labels,
        boxes,
        first.boxes2d + weight[:, None] * (second.boxes2d - first.boxes2d),
        depth_std,
    )
    parts = (paired, _half_as_sure(own, i), _half_as_sure(other, j))
    joined = Candidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    return _rows(joined, np.argsort(-joined.scores, kind="stable"))


def _depth_certainty(depth_std: np.ndarray) -> np.ndarray:
    """What `detectors.base.depth_certainty` says of tensors: that needs torch."""
    return 1 - np.exp(-np.sqrt(2) * DEPTH_TOLERANCE / np.maximum(depth_std, 1e-6))


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
