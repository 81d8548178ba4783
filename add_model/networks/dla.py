"""DLA-34, the backbone of CenterNet and MonoDLE: Yu et al., 'Deep Layer Aggregation', CVPR 2018.

Parameters carry the names of the published ImageNet checkpoint (dla34-ba72cf86.pth), which the user brings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from add_model.networks.backbone import Backbone
from add_model.networks.convolutions import conv_norm, conv_norm_relu
from add_model.networks.initialise import kaiming
from add_model.networks.published import read_published

# In the published file, but without effect on the features: the classifier, and the projections of the two-level
# trees, whose result the published code computes and drops.
_UNUSED = ("fc.", "level3.project.", "level4.project.")


class DLABlock(nn.Module):
    """Two 3x3 convolutions added to a residual that the tree provides."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + residual)


class Root(nn.Module):
    """1x1 aggregation of a tree's children."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, children: list[Tensor]) -> Tensor:
        return self.relu(self.bn(self.conv(torch.cat(children, dim=1))))


class Leaf(nn.Module):
    """A tree of one level: two blocks, and the root that joins them with what the trees above hand down."""

    def __init__(self, inputs: int, outputs: int, stride: int, handed: int):
        super().__init__()
        self.tree1 = DLABlock(inputs, outputs, stride)
        self.tree2 = DLABlock(outputs, outputs)
        self.root = Root(2 * outputs + handed, outputs)
        self.downsample = nn.MaxPool2d(stride) if stride > 1 else nn.Identity()
        self.project = conv_norm(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, handed: list[Tensor]) -> Tensor:
        first = self.tree1(x, self.project(self.downsample(x)))
        second = self.tree2(first, first)
        return self.root([second, first, *handed])


class Stage(nn.Module):
    """A tree of two levels at stride 2; its input, pooled, is a child of its last root."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.tree1 = Leaf(inputs, outputs, stride=2, handed=0)
        self.tree2 = Leaf(outputs, outputs, stride=1, handed=inputs + outputs)
        self.downsample = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.tree1(x, [])
        return self.tree2(first, [self.downsample(x), first])


class DLA34(Backbone):
    """DLA-34 up to its last aggregation: 15.2 M parameters."""

    MEAN = (123.675, 116.28, 103.53)
    STD = (58.395, 57.12, 57.375)
    PUBLISHED = "dla34-ba72cf86.pth"
    """The file with its ImageNet weights."""
    channels = (64, 128, 256, 512)
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = conv_norm_relu(3, 16, 7)
        self.level0 = conv_norm_relu(16, 16)
        self.level1 = conv_norm_relu(16, 32, stride=2)
        self.level2 = Leaf(32, 64, stride=2, handed=0)
        self.level3 = Stage(64, 128)
        self.level4 = Stage(128, 256)
        self.level5 = Leaf(256, 512, stride=2, handed=256)
        kaiming(self)

    def map_stages(self) -> list[Callable[[Tensor], Tensor]]:
        """See `Backbone`."""

        def last(x: Tensor) -> Tensor:
            return self.level5(x, [self.level5.downsample(x)])

        def first(x: Tensor) -> Tensor:
            return self.level2(self.level1(self.level0(self.base_layer(x))), [])

        return [first, self.level3, self.level4, last]

    def load_weights(self, path: str | Path) -> None:
        """Load the published ImageNet checkpoint, or a file of the same names; the classifier is left out.

        Raises FileNotFoundError, and ValueError where the file does not hold DLA-34.
        """
        published = read_published(path, "DLA-34", self.PUBLISHED)
        try:
            self.load_state_dict({k: v for k, v in published.items() if not k.startswith(_UNUSED)})
        except (RuntimeError, AttributeError) as error:
            raise ValueError(f"{path} does not hold DLA-34: {error}") from error
