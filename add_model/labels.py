"""Labels as detectors take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of one image.

    names (N,) in any case; boxes (N, 7) in P's frame; boxes2d (N, 4) in canvas pixels; visible (N,) False for objects
    that are too hidden to train on; trains_3d: whether depth, 3D size and 3D offset of the objects are trained on;
    background: whether what is not trained on counts as background, where it is ignored otherwise; limited: whether
    the detector's own limits of height and depth hold.
    """

    names: np.ndarray
    boxes: np.ndarray
    boxes2d: np.ndarray
    visible: np.ndarray
    trains_3d: bool = True
    background: bool = False
    limited: bool = True
