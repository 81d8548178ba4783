"""What GUPNet's losses, decoding and distillation read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MapFeatures:
    """The neck's map (B, C, H / stride, W / stride), and the projections P (B, 3, 4) of its images."""

    neck_map: Tensor
    P: Tensor
