"""Images as backbones want them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Images (B, H, W, 3) uint8 RGB -> (B, 3, H, W) by the backbone's MEAN and STD; nothing of it is saved."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(backbone.MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
