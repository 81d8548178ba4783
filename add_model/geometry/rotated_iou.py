"""Boxes seen from above, and what two of them have in common.

Every function compares row with row. The intersection of two rotated rectangles is an integral rather than a polygon:
in the frame of one of them, the area under each edge of the other, with both coordinates clamped to the rectangle, adds
up to the common area. It is exact, continuous in the boxes, and has no case to get wrong where edges coincide or
corners touch.
"""

from __future__ import annotations

import numpy as np

_CORNERS = 0.5 * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])  # counter-clockwise, as shares of (length, width)
_BLOCK = 8192  # pairs at once, so that temporaries stay in the processor's cache


def footprints(boxes: np.ndarray) -> np.ndarray:
    """Footprints (N, 5) of boxes (N, 7) as `add_model.geometry.boxes` defines them."""
    return boxes[:, [0, 2, 3, 4, 6]]


def footprint_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area (N,) of footprints (N, 5) as x, z, length, width, rotation_y: boxes seen from above.

    0 where a box has no area, that is a length or width of 0 or only one of them negative.
    """
    area = np.zeros(len(a))
    near = np.flatnonzero(_may_touch(a, b))
    for start in range(0, len(near), _BLOCK):
        block = near[start : start + _BLOCK]
        area[block] = _clamped_integral(a[block], b[block])
    return area


def bev_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) seen from above, of boxes (N, 7)."""
    intersection = footprint_intersection(footprints(a), footprints(b))
    return ratio(intersection, a[:, 3] * a[:, 4] + b[:, 3] * b[:, 4] - intersection)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and 0 where there is no part: boxes without area overlap nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=part > 0)


def _may_touch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    reach = 0.5 * (np.hypot(a[:, 2], a[:, 3]) + np.hypot(b[:, 2], b[:, 3]))
    x, z = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    return (x * x + z * z < reach * reach) & (a[:, 2] * a[:, 3] > 0) & (b[:, 2] * b[:, 3] > 0)


def _clamped_integral(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # Along x forward and y sideways in b's frame; seen from above, rotation_y turns x towards -z.
    cosine, sine = np.cos(b[:, 4]), np.sin(b[:, 4])
    dx, dz = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    centre_x, centre_y = cosine * dx - sine * dz, sine * dx + cosine * dz
    turn = a[:, 4] - b[:, 4]
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    forward, side = np.abs(a[:, 2:3]) * _CORNERS[:, 0], np.abs(a[:, 3:4]) * _CORNERS[:, 1]
    x1, y1 = centre_x[:, None] + cosine * forward + sine * side, centre_y[:, None] - sine * forward + cosine * side
    x2, y2 = np.roll(x1, -1, axis=1), np.roll(y1, -1, axis=1)
    half_x, half_y = np.abs(b[:, 2:3]) / 2, np.abs(b[:, 3:4]) / 2

    start, stop = np.clip(x1, -half_x, half_x), np.clip(x2, -half_x, half_x)
    run, rise = x2 - x1, y2 - y1
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = np.where(run != 0, rise / run, 0.0)
        low, high = np.minimum(start, stop), np.maximum(start, stop)
        knots = [np.where(rise != 0, x1 + (bound - y1) * run / rise, start) for bound in (-half_y, half_y)]
    first, last = np.minimum(*knots), np.maximum(*knots)
    points = [low, np.clip(first, low, high), np.clip(last, low, high), high]
    # From the nearer end of the edge, so that its own ends keep their exact coordinates.
    heights = [
        np.clip(
            np.where(np.abs(x - x1) <= np.abs(x - x2), y1 + slope * (x - x1), y2 + slope * (x - x2)), -half_y, half_y
        )
        for x in points
    ]
    under = sum(
        (x_right - x_left) * (y_left + y_right) / 2
        for x_left, x_right, y_left, y_right in zip(points, points[1:], heights, heights[1:], strict=False)
    )
    # Counter-clockwise, upper edges run towards -x.
    return np.maximum(-(np.sign(run) * under).sum(axis=1), 0.0)
