"""How ground-truth depth joins a teacher's image features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from add_model.distillation.position import FARTHEST, NEAREST
from add_model.networks.initialise import kaiming


class DepthBranch(nn.Module):
    """Depth maps (B, H, W) in metres, 0 unknown -> an addition for each backbone map (B, channels[i], H / s, W / s).

    The last projection of each is zero at the start: a teacher begins as its student.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 24) -> None:
        super().__init__()
        stages, inputs, stride = [], 4, 1
        for target in strides:
            layers: list[nn.Module] = []
            while stride < target:
                outputs = width if stride >= 2 else width // 2
                layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs, stride = outputs, 2 * stride
            layers += [nn.Conv2d(inputs, 2 * width, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()]
            inputs = 2 * width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        kaiming(self)
        self.joins = nn.ModuleList(nn.Conv2d(2 * width, c, 1) for c in channels)
        for join in self.joins:
            nn.init.zeros_(join.weight)
            nn.init.zeros_(join.bias)

    def forward(self, depth: Tensor) -> list[Tensor]:
        known = depth > 0
        near = torch.where(known, depth, FARTHEST).clamp(NEAREST, FARTHEST)
        logarithm = near.log() / math.log(FARTHEST)
        x = torch.stack([near / FARTHEST, logarithm, 4 / near.clamp(min=4), known.to(near.dtype)], 1)
        added = []
        for stage, join in zip(self.stages, self.joins, strict=True):
            x = stage(x)
            added.append(join(x))
        return added
