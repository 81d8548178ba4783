"""Headings as a bin and a residual (MultiBin; Mousavian et al., CVPR 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from add_model.geometry.boxes import wrap

HEADING_BINS = 12


def encode_heading(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (N,) -> (bin index (N,), residual (N,) in [-pi / 12, pi / 12]); bin b is centred on b pi / 6."""
    width = 2 * np.pi / HEADING_BINS
    index = np.round((angle % (2 * np.pi)) / width).astype(np.int64) % HEADING_BINS
    return index, wrap(angle - index * width)


def decode_heading(index: Any, residual: Any) -> Any:
    """Bin indices and residuals -> angles, radians, up to whole turns: the inverse of `encode_heading`."""
    return index * (2 * math.pi / HEADING_BINS) + residual
