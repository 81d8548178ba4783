"""DLAUp: iterative deep aggregation from coarse to fine with plain convolutions, as MonoDLE uses it (no DCN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from add_model.networks.convolutions import conv_norm_relu
from add_model.networks.initialise import kaiming


def bilinear_upsampling(channels: int) -> nn.ConvTranspose2d:
    """A depthwise transposed convolution that doubles a map; it starts as bilinear interpolation, zero outside."""
    up = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, groups=channels, bias=False)
    tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        up.weight.copy_(torch.outer(tent, tent).expand_as(up.weight))
    return up


class Join(nn.Module):
    """Bring a map to twice its size and to `outputs` channels, and join it with a finer one."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.proj = conv_norm_relu(inputs, outputs)
        self.up = bilinear_upsampling(outputs)
        self.node = conv_norm_relu(2 * outputs, outputs)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return self.node(torch.cat([fine, self.up(self.proj(coarse))], dim=1))


class IDAUp(nn.Module):
    """One step: a map, and coarser ones all of twice its stride, are joined one after the other.

    `inputs`: their channels; the first is the number of channels that comes out.
    """

    def __init__(self, inputs: Sequence[int]):
        super().__init__()
        self.joins = nn.ModuleList(Join(c, inputs[0]) for c in inputs[1:])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps (fine, coarse, coarse...) -> as many joined maps as there were coarse ones, all of the fine size."""
        joined, fine = [], features[0]
        for join, coarse in zip(self.joins, features[1:], strict=True):
            fine = join(fine, coarse)
            joined.append(fine)
        return joined


class DLAUp(nn.Module):
    """Feature maps of strides 4, 8, 16, 32 -> one map of stride 4 with the channels of the finest.

    `inputs`: channels per map, finest first, each map half the size of the one before.
    """

    def __init__(self, inputs: Sequence[int]):
        super().__init__()
        self.channels = inputs[0]
        # Coarsest first: each step lifts all that the step before joined to the next finer map.
        self.steps = nn.ModuleList(
            IDAUp([inputs[i], inputs[i + 1], *[inputs[i + 1]] * (len(inputs) - 2 - i)])
            for i in range(len(inputs) - 2, -1, -1)
        )
        kaiming(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """List of (B, inputs[i], H / 2^i, W / 2^i) -> (B, inputs[0], H, W)."""
        joined: list[Tensor] = []
        for step, i in zip(self.steps, range(len(features) - 2, -1, -1), strict=True):
            joined = step([features[i], features[i + 1], *joined])
        return joined[-1]
