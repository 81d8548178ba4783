"""What every backbone offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Images -> feature maps, finest first.

    MEAN, STD: per RGB channel in 0..255 units; the network's input is (image - MEAN) / STD.
    channels, strides: of each feature map.
    """

    MEAN: tuple[float, float, float]
    STD: tuple[float, float, float]
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def map_stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """One function for each feature map: from the map before it, the image for the first, to this one.

        A teacher's depth joins between them (`add_model.distillation.depth_branch`).
        """

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run the stages one after the other.

        Args:
            x: (B, 3, H, W) normalised RGB; H and W multiples of 32.

        Returns:
            Feature maps (B, channels[i], H / strides[i], W / strides[i]).

        Raises:
            ValueError: for another size, as the maps of neighbouring strides would not fit together.
        """
        # torch.export takes a comparison of sizes as a promise about them, which would bind dynamic shapes.
        if not torch.compiler.is_exporting() and (x.shape[-2] % 32 or x.shape[-1] % 32):
            raise ValueError(f"image height and width must be multiples of 32, got {x.shape[-2]}x{x.shape[-1]}")
        maps = []
        for stage in self.map_stages():
            x = stage(x)
            maps.append(x)
        return maps
