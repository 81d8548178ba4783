"""One object, one detection: a heatmap's broad peak on a near object can have several local maxima, and many anchors
answer for one object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.detections import Detections
from add_model.geometry.boxes import image_iou
from add_model.geometry.rotated_iou import bev_iou

_OVERLAP = 0.6  # intersection over union of 2D boxes
_DEPTH_RATIO = 1.3  # objects that hide one another are farther apart than this


@dataclass(frozen=True)
class NmsSettings:
    """Which detections of a class are one object.

    Those that cover the same part of the image at about the same depth, or of which one has its centre inside the
    other's footprint, always are.
    bev_iou: so are those whose footprints share more than this of their union; 1 switches this off.
    """

    bev_iou: float = 1.0


def nms(found: Detections, settings: NmsSettings | None = NmsSettings()) -> Detections:
    """The detections (best first) without those that repeat a better one of their class; all of them for None."""
    if len(found) < 2 or settings is None:
        return found
    same = _same_view(found) | same_place(found.boxes)
    if settings.bev_iou < 1:
        same |= _same_ground(found.boxes, settings.bev_iou)
    repeats = (found.names[:, None] == found.names) & same
    kept = np.ones(len(found), bool)
    for k in np.flatnonzero(np.tril(repeats, -1).any(axis=1)):
        kept[k] = not (repeats[k, :k] & kept[:k]).any()
    return found[kept]


def _same_view(found: Detections) -> np.ndarray:
    ratio = found.boxes[:, None, 2] / found.boxes[:, 2]
    near = (ratio < _DEPTH_RATIO) & (ratio > 1 / _DEPTH_RATIO)
    return near & (image_iou(found.boxes2d, found.boxes2d) > _OVERLAP)


def same_place(boxes: np.ndarray) -> np.ndarray:
    """(N, N): whether the centre of a box (N, 7), the row, lies in the footprint of another, the column."""
    apart = boxes[:, None, [0, 2]] - boxes[:, [0, 2]]
    cosine, sine = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    along = np.abs(apart[..., 0] * cosine - apart[..., 1] * sine)
    across = np.abs(apart[..., 0] * sine + apart[..., 1] * cosine)
    return (along < boxes[:, 3] / 2) & (across < boxes[:, 4] / 2)


def _same_ground(boxes: np.ndarray, overlap: float) -> np.ndarray:
    """Of each box and those before it. Boxes that are too far apart to touch, most of them, are not looked at."""
    reach = np.hypot(boxes[:, 3], boxes[:, 4]) / 2
    apart = np.hypot(*np.moveaxis(boxes[:, None, [0, 2]] - boxes[:, [0, 2]], 2, 0))
    later, earlier = np.nonzero(np.tril(apart < reach[:, None] + reach, -1))
    same = np.zeros(apart.shape, bool)
    same[later, earlier] = bev_iou(boxes[later], boxes[earlier]) > overlap
    return same
