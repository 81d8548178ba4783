"""What CaDDN's depth distributions are trained on: a depth map -> the depth bin of each cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from add_model.detectors.depth_bins import DepthBins

DepthTargets = Callable[[np.ndarray, int, DepthBins, float], np.ndarray]


def nearest_known(depth_map: np.ndarray, stride: int, bins: DepthBins, focal_scale: float) -> np.ndarray:
    """The bin of the nearest known depth in each cell; cells without any are not trained on.

    Args:
        depth_map: (H, W) metres, 0 unknown.
        stride: of the cells, pixels.
        bins: at the reference focal length.
        focal_scale: the camera's focal length over the reference's.

    Returns:
        (h, w) int64, the number of bins beyond the last, -1 where unknown or before the first.
    """
    cells = _cells(depth_map, stride)
    nearest = np.where(cells > 0, cells, np.inf).min(axis=(1, 3))
    known = np.isfinite(nearest)
    labels = bins.label(np.where(known, nearest, 0) / focal_scale)
    return np.where(known, labels, -1)


def mean_of_known(depth_map: np.ndarray, stride: int, bins: DepthBins, focal_scale: float) -> np.ndarray:
    """The bin of the mean of each cell's known depths: the published targets, where maps are known everywhere."""
    cells = _cells(depth_map, stride)
    count = (cells > 0).sum(axis=(1, 3))
    labels = _label_all(cells.sum(axis=(1, 3)) / np.maximum(count, 1) / focal_scale, bins)
    return np.where(count > 0, labels, -1)


def mean_of_all(depth_map: np.ndarray, stride: int, bins: DepthBins, focal_scale: float) -> np.ndarray:
    """The bin of the mean of each cell's depths, unknown ones taken for 0: the published targets.

    For completed maps alone: cells without depth, such as the sky, are trained as beyond the last bin.
    """
    return _label_all(_cells(depth_map, stride).mean(axis=(1, 3)) / focal_scale, bins)


def _label_all(depth: np.ndarray, bins: DepthBins) -> np.ndarray:
    """Bins, of which the last class is that of all that is outside the others."""
    labels = bins.label(depth)
    return np.where(labels < 0, bins.count, labels)


def _cells(depth_map: np.ndarray, stride: int) -> np.ndarray:
    """(h, stride, w, stride)."""
    rows, columns = depth_map.shape[0] // stride, depth_map.shape[1] // stride
    return depth_map[: rows * stride, : columns * stride].reshape(rows, stride, columns, stride)
