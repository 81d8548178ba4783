"""Depth as one of several bins whose width grows linearly with depth (LID; Reading et al., CaDDN, CVPR 2021, eq. 2).

Bin i reaches from edge i to edge i + 1; edge i lies at near + step / 2 * i (i + 1), so that the last one is `far`. The
continuous index of a depth is the inverse of that: i at edge i, i + 1 at the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DepthBins:
    """`count` bins from `near` to `far`, in the unit of the depths that they are asked about."""

    count: int
    near: float
    far: float

    @property
    def step(self) -> float:
        """By how much each bin is wider than the one before; the first one is as wide."""
        return 2 * (self.far - self.near) / (self.count * (1 + self.count))

    @property
    def edges(self) -> np.ndarray:
        """(count + 1,) from near to far."""
        index = np.arange(self.count + 1)
        return self.near + self.step / 2 * index * (index + 1)

    @property
    def middles(self) -> np.ndarray:
        """(count,) the depth halfway between each bin's edges."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def position(self, depth: Any) -> Any:
        """Depths (arrays or tensors) -> continuous index; below 0 before `near`, above `count` beyond `far`."""
        nearer = (depth - self.near) / self.step
        # Before `near` along the tangent: the root would end at an index of -0.5.
        beyond = (nearer > 0) * nearer
        return ((1 + 8 * beyond) ** 0.5 - 1) / 2 + (nearer < 0) * 2 * nearer

    def label(self, depth: np.ndarray) -> np.ndarray:
        """Depths -> the bin's index, int64: `count` for beyond `far`, -1 for nearer than `near`."""
        index = np.floor(self.position(np.asarray(depth, np.float64)))
        return np.clip(index, -1, self.count).astype(np.int64)
