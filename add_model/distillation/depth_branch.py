"""How ground-truth depth joins a teacher's image features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from add_model.distillation.position_encoding import cell_depth
from add_model.networks.initialise import kaiming


class DepthBranch(nn.Module):
    """Depth maps (B, H, W), 0 unknown -> what is added to each backbone map, and to the neck's.

    Depth is in metres at the reference focal length, as the detector itself codes it.

    The backbone's maps (B, channels[i], H / s, W / s) learn of depth as the image is read. The neck's (B, neck, ...),
    of the finest stride, is told each cell's depth once more, so that what is answered there can be exact. The last
    projection of each addition is zero at the start: a teacher begins as its student.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], neck: int, width: int = 24) -> None:
        super().__init__()
        stages, inputs, stride = [], _INPUTS, 1
        for target in strides:
            layers: list[nn.Module] = []
            while stride < target:
                outputs = width if stride >= 2 else width // 2
                layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs, stride = outputs, 2 * stride
            layers += [nn.Conv2d(inputs, 2 * width, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()]
            inputs = 2 * width
            stages.append(nn.Sequential(*layers))
        self.stages, self.stride = nn.ModuleList(stages), strides[0]
        self.cells = nn.Sequential(
            nn.Conv2d(_INPUTS, 2 * width, 3, 1, 1), nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.ReLU()
        )
        kaiming(self)
        self.joins = nn.ModuleList(nn.Conv2d(2 * width, c, 1) for c in channels)
        self.joins.append(nn.Conv2d(2 * width + _INPUTS, neck, 1))
        for join in self.joins:
            nn.init.zeros_(join.weight)
            nn.init.zeros_(join.bias)

    def forward(self, depth: Tensor) -> list[Tensor]:
        added, x = [], _described(depth)
        for stage, join in zip(self.stages, self.joins, strict=False):
            x = stage(x)
            added.append(join(x))
        cells = _described(cell_depth(depth, self.stride).unflatten(1, added[0].shape[2:]))
        return [*added, self.joins[-1](torch.cat([self.cells(cells), cells], 1))]


_INPUTS = 4
_FAR = 160.0  # what is unknown counts as this far; a network at half the reference focal length sees 80 m as this


def _described(depth: Tensor) -> Tensor:
    """Depth (B, h, w) -> (B, _INPUTS, h, w): metres, their logarithm and inverse, and whether it is known at all."""
    known = depth > 0
    near = torch.where(known, depth, _FAR).clamp(1, _FAR)
    return torch.stack([near / _FAR, near.log() / math.log(_FAR), 4 / near.clamp(min=4), known.float()], 1)
