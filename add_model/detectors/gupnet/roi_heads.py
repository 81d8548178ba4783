"""Heads that read regions of a map."""

from __future__ import annotations

from torch import Tensor, nn


class RoIHeads(nn.Module):
    """A 3x3 convolution, BatchNorm, ReLU, the mean over the region and a linear layer for each quantity.

    `sizes` maps each quantity's name to its number of outputs. The convolutions of all quantities are one.
    """

    def __init__(self, channels: int, hidden: int, sizes: dict[str, int]) -> None:
        super().__init__()
        self.hidden, width = hidden, hidden * len(sizes)
        convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        self.shared = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
        self.outputs = nn.ModuleDict({name: nn.Linear(hidden, size) for name, size in sizes.items()})
        for layer in (convolution, *self.outputs.values()):
            nn.init.zeros_(layer.bias)
        for weight in (*convolution.weight.data.split(hidden), *(layer.weight for layer in self.outputs.values())):
            nn.init.xavier_uniform_(weight)

    def forward(self, regions: Tensor) -> dict[str, Tensor]:
        """Regions (N, C, p, q) -> each quantity (N, size). N may be 0, which leaves BatchNorm's statistics alone."""
        parts = self.shared(regions).mean((2, 3)).split(self.hidden, dim=1)
        return {name: layer(part) for (name, layer), part in zip(self.outputs.items(), parts, strict=True)}
