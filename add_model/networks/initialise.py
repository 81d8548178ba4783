"""The starting weights of a network that is trained from scratch."""

from __future__ import annotations

from torch import nn


def kaiming(network: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 2 / fan_out), fan_out counted within its group (He et al., 2015).

    torch's own initialiser ignores groups: behind it a wide depthwise layer's output is so small that BatchNorm's
    epsilon swallows it. Transposed convolutions are left as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            fan_out = height * width * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
