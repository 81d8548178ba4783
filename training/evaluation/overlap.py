"""Overlap of paired image rectangles, row with row; for boxes on the ground see `geometry.rotated_iou`."""

from __future__ import annotations

import numpy as np


def rectangle_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area (N,) of image rectangles (N, 4) as left, top, right, bottom; 0 for inverted ones."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def rectangle_area(a: np.ndarray) -> np.ndarray:
    """Area (N,) of image rectangles (N, 4)."""
    return (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
