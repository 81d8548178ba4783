"""A light top-down feature pyramid for the CPU: everything a convolution, BatchNorm and ReLU that fold into one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from add_model.networks.convolutions import conv_norm, conv_norm_relu
from add_model.networks.initialise import kaiming


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(*conv_norm_relu(channels, channels, groups=channels), *conv_norm_relu(channels, channels, 1))


class FeaturePyramid(nn.Module):
    """Feature maps of strides such as 4, 8, 16, 32 -> one map of the finest (top-down FPN, Lin et al., CVPR 2017).

    `inputs`: channels per map, finest first, each map half the size of the one before. At each level: lateral 1x1,
    plus the coarser level doubled by nearest neighbour, then a depthwise-separable 3x3.
    """

    def __init__(self, inputs: Sequence[int], out: int = 64):
        super().__init__()
        self.channels = out
        self.laterals = nn.ModuleList(conv_norm(c, out, 1) for c in inputs)
        self.smooth = nn.ModuleList(_separable(out) for _ in inputs)
        kaiming(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """List of (B, inputs[i], H / 2^i, W / 2^i) -> (B, out, H, W)."""
        y = self.smooth[-1](self.laterals[-1](features[-1]))
        for i in range(len(features) - 2, -1, -1):
            y = self.laterals[i](features[i]) + F.interpolate(y, scale_factor=2, mode="nearest")
            y = self.smooth[i](y)
        return y
