"""What a network answers for one image, before it becomes detections."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DEPTH_TOLERANCE = 1.0  # metres within which a depth counts as right in a score


class Candidates(NamedTuple):
    """A network's K candidates: scores (K,), labels (K,), boxes (K, 7), boxes2d (K, 4), depth_std (K,)."""

    scores: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    boxes2d: np.ndarray
    depth_std: np.ndarray
