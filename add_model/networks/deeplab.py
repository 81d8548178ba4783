"""DeepLabV3's head (Chen et al., 'Rethinking Atrous Convolution for Semantic Image Segmentation', 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.networks.initialise import kaiming

_RATES = (12, 24, 36)  # for maps of stride 8


class DeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling, a 3x3 convolution, and class logits: (B, inputs, h, w) -> (B, classes, h, w)."""

    def __init__(self, inputs: int, classes: int, width: int = 256) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_layer(inputs, width, 1)])
        self.branches.extend(_layer(inputs, width, 3, rate) for rate in _RATES)
        self.whole = _layer(inputs, width, 1)  # of the whole map's mean
        self.join = nn.Sequential(*_layer((2 + len(_RATES)) * width, width, 1), nn.Dropout(0.5))
        self.last = nn.Sequential(*_layer(width, width, 3), nn.Conv2d(width, classes, 1))
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.branches]
        parts.append(self._of_whole(x.mean((2, 3), keepdim=True)).expand_as(parts[0]))
        return self.last(self.join(torch.cat(parts, 1)))

    def _of_whole(self, mean: Tensor) -> Tensor:
        convolution, norm, rectify = self.whole
        if len(mean) > 1 or not norm.training:
            return self.whole(mean)
        # The one value of a batch of one image has no spread: it is normalised as it will be in use.
        known = functional.batch_norm(convolution(mean), norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return rectify(known)


def _layer(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    padding = rate * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=rate, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
