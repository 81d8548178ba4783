"""A small residual network for studies on a CPU: plain 3x3 convolutions at low resolution, 0.9 M parameters.

Basic blocks of ResNet (He et al., CVPR 2016), which CPUs without half precision compute near their peak rate, where
depthwise convolutions wait for memory. No ImageNet weights exist: it starts from random ones.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from add_model.networks.backbone import Backbone
from add_model.networks.convolutions import conv_norm
from add_model.networks.initialise import kaiming

_WIDTHS = (24, 48, 96, 128)  # at strides 4, 8, 16, 32


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = conv_norm(inputs, outputs, stride=stride), conv_norm(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.short = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x), inplace=True))
        return functional.relu(y + self.short(x), inplace=True)


class PlainNet(Backbone):
    """Feature maps of strides 4, 8, 16 and 32."""

    MEAN = (124.0, 116.0, 104.0)
    STD = (58.0, 57.0, 57.0)
    channels = _WIDTHS
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 16, stride=2), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList([BasicBlock(16, _WIDTHS[0], 2)])
        for inputs, outputs in pairwise(_WIDTHS):
            self.stages.append(nn.Sequential(BasicBlock(inputs, outputs, 2), BasicBlock(outputs, outputs)))
        kaiming(self)

    def map_stages(self) -> list[Callable[[Tensor], Tensor]]:
        """See `Backbone`."""
        return [lambda x: self.stages[0](self.stem(x)), *self.stages[1:]]
