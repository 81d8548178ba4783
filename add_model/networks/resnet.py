"""ResNet-50 and ResNet-101 (He et al., CVPR 2016), plain or with dilated late stages as in DeepLabV3.

Parameters carry the names of torchvision's published ImageNet checkpoints (resnet50-*.pth, resnet101-*.pth), which the
user brings. The stride of a stage sits in the 3x3 convolution of its first block, as it does there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from add_model.networks.backbone import Backbone
from add_model.networks.convolutions import conv_norm
from add_model.networks.initialise import kaiming
from add_model.networks.published import read_published

_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a residual, projected where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        outputs = _EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and inputs == outputs
        self.downsample = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + self.downsample(x))


class ResNet(Backbone):
    """blocks: how many each of the four stages has. dilated: whether the last two keep stride 8 and dilate instead."""

    MEAN = (123.675, 116.28, 103.53)
    STD = (58.395, 57.12, 57.375)
    channels = tuple(_EXPANSION * width for width in _WIDTHS)

    def __init__(self, blocks: tuple[int, int, int, int], dilated: bool = False) -> None:
        super().__init__()
        self.strides = (4, 8, 8, 8) if dilated else (4, 8, 16, 32)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs, dilation = 64, 1
        for i, (width, count) in enumerate(zip(_WIDTHS, blocks, strict=True)):
            # A dilated stage's first block still has the dilation of the stage before it, as in torchvision.
            first, stride = dilation, 1 if i == 0 or (dilated and i > 1) else 2
            dilation = 2 * dilation if dilated and i > 1 else dilation
            stage = nn.Sequential(Bottleneck(inputs, width, stride, first))
            inputs = _EXPANSION * width
            for _ in range(count - 1):
                stage.append(Bottleneck(inputs, width, dilation=dilation))
            self.add_module(f"layer{i + 1}", stage)
        kaiming(self)

    def map_stages(self) -> list[Callable[[Tensor], Tensor]]:
        """See `Backbone`."""

        def first(x: Tensor) -> Tensor:
            return self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))

        return [first, self.layer2, self.layer3, self.layer4]

    def load_weights(self, path: str | Path) -> None:
        """Load torchvision's ImageNet checkpoint of this depth, or a file of the same names, without the classifier.

        Raises FileNotFoundError, and ValueError where the file does not hold this network.
        """
        self.load_published(read_published(path, "ResNet", "torchvision's file"), path)

    def load_published(self, weights: Mapping[str, Tensor], path: str | Path) -> None:
        """The same of weights that `read_published` has read from the path."""
        try:
            self.load_state_dict({k: v for k, v in weights.items() if not k.startswith("fc.")})
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold this ResNet: {error}") from error


class ResNet50(ResNet):
    """23.5 M parameters."""

    PUBLISHED = "resnet50-0676ba61.pth"
    """torchvision's file with its ImageNet weights."""

    def __init__(self) -> None:
        super().__init__((3, 4, 6, 3))


class ResNet101(ResNet):
    """42.5 M parameters."""

    PUBLISHED = "resnet101-63fe2227.pth"
    """torchvision's file with its ImageNet weights."""

    def __init__(self, dilated: bool = False) -> None:
        super().__init__((3, 4, 23, 3), dilated)
