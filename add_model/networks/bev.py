"""The 2D network over bird's-eye maps: stages of convolutions whose outputs are brought to one size and joined
(SECOND's region proposal network, as PointPillars and CaDDN use it).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from add_model.networks.initialise import kaiming


class BirdsEyeNetwork(nn.Module):
    """inputs: channels. For each stage: layers behind its first convolution, the stride of that, its channels, and the
    channels that it is joined with; the joined map has the first stage's size.
    """

    def __init__(
        self, inputs: int, layers: Sequence[int], strides: Sequence[int], widths: Sequence[int], joined: Sequence[int]
    ) -> None:
        super().__init__()
        self.stride, self.channels = strides[0], sum(joined)
        self.stages, self.ups, factor = nn.ModuleList(), nn.ModuleList(), 1
        for i, (count, stride, width, out) in enumerate(zip(layers, strides, widths, joined, strict=True)):
            stage = [_layer(inputs, width, stride)] + [_layer(width, width) for _ in range(count)]
            factor = factor * stride if i else 1
            up = nn.ConvTranspose2d(width, out, factor, factor, bias=False)
            self.stages.append(nn.Sequential(*stage))
            self.ups.append(nn.Sequential(up, _norm(out), nn.ReLU()))
            inputs = width
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, rows, columns), multiples of the strides' product -> (B, channels, rows / s, columns / s)."""
        parts = []
        for stage, up in zip(self.stages, self.ups, strict=True):
            x = stage(x)
            parts.append(up(x))
        return torch.cat(parts, 1)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, _norm(outputs), nn.ReLU())
