"""What MonoDETR's published code does in another way than this project would, beyond its sizes."""

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
        likely_start: whether heads start with likely answers (boxes that do not move, the first class's mean size, 20
            m) instead of at random, alike in all layers and but for the first boxes' sizes; sizes are then positive
            in training, too.
        packed_start: whether an attention's projections of queries, keys and values start as one packed matrix does,
            which makes them smaller, and without biases.
        summed_attention: see `DecoderLayer`.
        box_heading: whether headings count against the ray through the 2D box's centre, or the 3D centre's.
        log_deviation: whether the depth head answers the logarithm of depth's deviation, or of its variance.
        far_cells: whether cells of objects beyond the last depth bin count as much as those of nearer objects.
    """

    positions: Positions
    bin_depths: BinDepths
    corners_aligned: bool
    keep_cut: bool
    enlarge_first: bool
    likely_start: bool
    packed_start: bool
    summed_attention: bool
    box_heading: bool
    log_deviation: bool
    far_cells: bool


OWN = Conventions(
    pixel_position,
    _middles,
    corners_aligned=False,
    keep_cut=True,
    enlarge_first=False,
    likely_start=True,
    packed_start=False,
    summed_attention=False,
    box_heading=False,
    log_deviation=False,
    far_cells=False,
)
PUBLISHED = Conventions(
    share_position,
    _near_edges,
    corners_aligned=True,
    keep_cut=False,
    enlarge_first=True,
    likely_start=False,
    packed_start=True,
    summed_attention=True,
    box_heading=True,
    log_deviation=True,
    far_cells=True,
)
