"""How ground-truth depth joins a teacher's image features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from add_model.distillation.position_encoding import cell_depth
from add_model.networks.backbone import Backbone
from add_model.networks.convolutions import conv_norm_relu
from add_model.networks.initialise import kaiming


class DepthBranch(nn.Module):
    """Depth maps (B, H, W), 0 unknown -> what is added to each backbone map, and to the neck's.

    Depth is in metres at the reference focal length, as the detector itself codes it.

    Depth joins the backbone's maps (B, channels[i], H / s, W / s) stage by stage. It joins the neck's map (B, neck,
    ...), of the finest stride, once more cell by cell, so that the heads can be exact. The last projection of each
    addition is zero at the start: a teacher begins as its student.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], neck: int, width: int = 24) -> None:
        super().__init__()
        stages, inputs, stride = [], _INPUTS, 1
        for target in strides:
            layers: list[nn.Module] = []
            while stride < target:
                outputs = width if stride >= 2 else width // 2
                layers += conv_norm_relu(inputs, outputs, stride=2)
                inputs, stride = outputs, 2 * stride
            layers += conv_norm_relu(inputs, 2 * width)
            inputs = 2 * width
            stages.append(nn.Sequential(*layers))
        self.stages, self.stride = nn.ModuleList(stages), strides[0]
        self.cells = nn.Sequential(
            nn.Conv2d(_INPUTS, 2 * width, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.ReLU(inplace=True),
        )
        kaiming(self)
        self.joins = nn.ModuleList(nn.Conv2d(2 * width, c, 1) for c in channels)
        self.joins.append(nn.Conv2d(2 * width + _INPUTS, neck, 1))
        for join in self.joins:
            nn.init.zeros_(join.weight)
            nn.init.zeros_(join.bias)

    def forward(self, depth: Tensor) -> list[Tensor]:
        """Depth (B, H, W) -> what is added: one tensor for each of the backbone's maps, the last for the neck's."""
        added, x = [], _depth_inputs(depth)
        for stage, join in zip(self.stages, self.joins, strict=False):
            x = stage(x)
            added.append(join(x))
        cells = _depth_inputs(cell_depth(depth, self.stride).unflatten(1, added[0].shape[2:]))
        return [*added, self.joins[-1](torch.cat([self.cells(cells), cells], 1))]


def maps_with_depth(backbone: Backbone, images: Tensor, added: Sequence[Tensor]) -> list[Tensor]:
    """A backbone's maps of normalised images (B, 3, H, W), with `added[i]` joining map i before the next stage."""
    maps, x = [], images
    for stage, addition in zip(backbone.map_stages(), added, strict=True):
        x = stage(x) + addition
        maps.append(x)
    return maps


_INPUTS = 4
_FAR = 160.0  # what is unknown counts as this far; a network at half the reference focal length sees 80 m as this


def _depth_inputs(depth: Tensor) -> Tensor:
    """Depth (B, h, w) -> (B, _INPUTS, h, w): metres, their logarithm and inverse, and whether it is known."""
    known = depth > 0
    near = torch.where(known, depth, _FAR).clamp(1, _FAR)
    return torch.stack([near / _FAR, near.log() / math.log(_FAR), 4 / near.clamp(min=4), known.float()], 1)
