"""Regression heads of a centre-based detector that are computed at chosen cells only.

A 3x3 convolution, a ReLU and a 1x1 convolution for each quantity, as CenterNet and MonoDLE have them; but since
their outputs are read at a handful of cells, the 3x3 neighbourhoods of those cells are gathered and the convolutions
become matrix products over them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SparseHeads(nn.Module):
    """`sizes` maps each quantity's name to its number of outputs."""

    def __init__(self, channels: int, hidden: int, sizes: dict[str, int]) -> None:
        super().__init__()
        self.hidden = hidden
        self.shared = nn.Conv2d(channels, hidden * len(sizes), kernel_size=3, padding=1)
        self.outputs = nn.ModuleDict({name: nn.Linear(hidden, size) for name, size in sizes.items()})

    def start_small(self) -> None:
        """Start with answers near zero, as published centre-based detectors do."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=1e-3 if parameter.ndim > 1 else 0.0)

    def forward(self, features: Tensor, cell: Tensor) -> dict[str, Tensor]:
        """Features (B, C, h, w) and cells (B, K) as row * w + column -> each quantity (B, K, size)."""
        columns = features.shape[3]
        padded = functional.pad(features, (1, 1, 1, 1)).flatten(2).transpose(1, 2)
        corner = cell + 2 * (cell // columns)  # the cell's upper left neighbour in the padded map
        step = torch.arange(3, device=cell.device)
        neighbours = (corner[..., None, None] + step[:, None] * (columns + 2) + step).flatten(1)
        patches = padded.gather(1, neighbours[..., None].expand(-1, -1, padded.shape[2]))
        patches = patches.unflatten(1, (-1, 9)).transpose(2, 3).flatten(2)
        hidden = functional.linear(patches, self.shared.weight.flatten(1), self.shared.bias)
        parts = functional.relu(hidden, inplace=True).split(self.hidden, dim=-1)
        return {name: layer(part) for (name, layer), part in zip(self.outputs.items(), parts, strict=True)}
