"""Boxes as points: what costmaps and collision monitors take, that know no boxes."""

from __future__ import annotations

import math

import numpy as np

from add_model.geometry import boxes as box3d

_SIDES = ((0, 1), (1, 2), (2, 3), (3, 0))  # of the bottom face, by `box3d.corners`


def obstacle_points(boxes: np.ndarray, spacing: float, up: np.ndarray | None = None) -> np.ndarray:
    """Points on the four sides of boxes, from bottom to top.

    Args:
        boxes: (N, 7) in the camera's frame.
        spacing: metres between two points at most.
        up: (3,) unit vector along which the boxes stand; None for upright in the camera's frame.

    Returns:
        (M, 3) float32 in the frame of the boxes.
    """
    parts = [np.empty((0, 3))]
    for corners in box3d.corners(boxes, up):
        rows = np.linspace(0.0, 1.0, max(2, math.ceil(np.linalg.norm(corners[4] - corners[0]) / spacing) + 1))
        for a, b in _SIDES:
            count = max(1, math.ceil(np.linalg.norm(corners[b] - corners[a]) / spacing))
            along = corners[a] + np.arange(count)[:, None] / count * (corners[b] - corners[a])
            parts.append((along[None] + rows[:, None, None] * (corners[4] - corners[0])).reshape(-1, 3))
    return np.concatenate(parts).astype(np.float32)
