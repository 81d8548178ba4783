"""Overlap of paired boxes, row with row: image rectangles and upright 3D boxes; see also `geometry.rotated_iou`."""

from __future__ import annotations

import numpy as np

from add_model.geometry.rotated_iou import footprint_intersection, footprints, ratio


def rectangle_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area (N,) of image rectangles (N, 4) as left, top, right, bottom; 0 for inverted ones."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def rectangle_area(a: np.ndarray) -> np.ndarray:
    """Area (N,) of image rectangles (N, 4)."""
    return (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])


def iou_3d(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of the volumes of boxes (N, 7)."""
    top = np.maximum(a[:, 1] - a[:, 5] / 2, b[:, 1] - b[:, 5] / 2)
    bottom = np.minimum(a[:, 1] + a[:, 5] / 2, b[:, 1] + b[:, 5] / 2)
    intersection = footprint_intersection(footprints(a), footprints(b)) * np.maximum(bottom - top, 0)
    return ratio(intersection, a[:, 3:6].prod(axis=1) + b[:, 3:6].prod(axis=1) - intersection)
