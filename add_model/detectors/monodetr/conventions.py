"""What MonoDETR's published code does in another way than this project would, with the same weights' shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from add_model.detectors.depth_bins import DepthBins

# (rows, columns, stride in pixels, channels, unit) -> (rows * columns, channels)
Positions = Callable[[int, int, int, int, Tensor], Tensor]
# -> (count,) the depth that each bin stands for
BinDepths = Callable[[DepthBins], np.ndarray]


def pixel_position(rows: int, columns: int, stride: int, channels: int, unit: Tensor) -> Tensor:
    """(rows * columns, channels): sine encoding of the positions of a map's cells in the image.

    unit: (2,) pixels in x and y over which the slowest wave turns once.
    """
    x = (torch.arange(columns, device=unit.device) + 0.5) * stride / unit[0]
    y = (torch.arange(rows, device=unit.device) + 0.5) * stride / unit[1]
    vertical, horizontal = (torch.cat(waves, -1) for waves in (_waves(y, channels), _waves(x, channels)))
    return _grid(vertical, horizontal, rows, columns)


def share_position(rows: int, columns: int, stride: int, channels: int, unit: Tensor) -> Tensor:
    """The same of the cells' far edges as shares of the map, sines and cosines by turns; stride and unit are unused."""
    x, y = ((torch.arange(n, device=unit.device) + 1) / n for n in (columns, rows))
    vertical, horizontal = (torch.stack(waves, -1).flatten(1) for waves in (_waves(y, channels), _waves(x, channels)))
    return _grid(vertical, horizontal, rows, columns)


def _waves(place: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Sines and cosines (N, channels // 4) of places (N,)."""
    count = channels // 4
    frequency = 2 * math.pi / 10000 ** (torch.arange(count, device=place.device) / count)
    return torch.sin(place[:, None] * frequency), torch.cos(place[:, None] * frequency)


def _grid(vertical: Tensor, horizontal: Tensor, rows: int, columns: int) -> Tensor:
    """Sizes are given: a graph that is traced takes a tensor's length for a constant."""
    parts = [vertical[:, None].expand(-1, columns, -1), horizontal[None].expand(rows, -1, -1)]
    return torch.cat(parts, -1).flatten(0, 1)


def _middles(bins: DepthBins) -> np.ndarray:
    return bins.middles


def _near_edges(bins: DepthBins) -> np.ndarray:
    return bins.edges[:-1]


@dataclass(frozen=True)
class Conventions:
    """See `OWN` and `PUBLISHED`.

    Attributes:
        positions: encoding of cells' positions.
        bin_depths: the depth that each bin stands for.
        corners_aligned: whether the depth map's outer cells are sampled at the image's edges, instead of at their
            centres.
        keep_cut: whether objects are trained on whose 3D centre lies outside their labelled 2D box, which then reaches
            half a pixel beyond the centre; otherwise they are background.
        enlarge_first: whether the depth predictor enlarges its coarsest map before it is normalised, which costs four
            times the work and changes its statistics, or after.
        still_boxes: whether heads of boxes start at zero, but for their bias.
    """

    positions: Positions
    bin_depths: BinDepths
    corners_aligned: bool
    keep_cut: bool
    enlarge_first: bool
    still_boxes: bool


OWN = Conventions(pixel_position, _middles, corners_aligned=False, keep_cut=True, enlarge_first=False, still_boxes=True)
PUBLISHED = Conventions(
    share_position, _near_edges, corners_aligned=True, keep_cut=False, enlarge_first=True, still_boxes=False
)
