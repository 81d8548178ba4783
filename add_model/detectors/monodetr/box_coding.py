"""How MonoDETR's 2D boxes are coded: what its layers add up -> the distances from the 3D centre to the box's sides."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

_LIMIT = 4.0  # a bad start can't overflow


@dataclass(frozen=True)
class PixelSides:
    """Logarithms of distances in units of `unit` pixels, whatever the image's size.

    start: what the first layer's head begins with
    """

    unit: float
    start: float = 0.0

    def add(self, coded: Tensor, growth: Tensor) -> Tensor:
        """Codes (..., 4) of left, top, right, bottom, and what a layer adds -> the codes after it."""
        return (coded + growth).clamp(-_LIMIT, _LIMIT)

    def sides(self, coded: Tensor, image_size: Tensor) -> Tensor:
        """Codes (..., 4), the image's width and height (2,) in pixels -> distances (..., 4), pixels."""
        return coded.exp() * self.unit


@dataclass(frozen=True)
class ShareSides:
    """Sigmoids of shares of the image's width and height, as published: see `PixelSides`."""

    start: float = -2.0

    def add(self, coded: Tensor, growth: Tensor) -> Tensor:
        """See `PixelSides`."""
        return coded + growth

    def sides(self, coded: Tensor, image_size: Tensor) -> Tensor:
        """See `PixelSides`."""
        return coded.sigmoid() * image_size.repeat(2)
