"""DeepLabV3's head (Chen et al., 'Rethinking Atrous Convolution for Semantic Image Segmentation', 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.networks.convolutions import conv_norm_relu
from add_model.networks.initialise import kaiming
from add_model.renamed_keys import renamed

_RATES = (12, 24, 36)  # for maps of stride 8
# Names in torchvision's `classifier`, and here. Its mean over the map is a layer, so that those after it count from 1.
_PUBLISHED = {
    "0.convs.4.1.": "whole.0.",
    "0.convs.4.2.": "whole.1.",
    "0.convs.": "branches.",
    "0.project.": "join.",
    **{f"{layer}.": f"last.{layer - 1}." for layer in (1, 2, 4)},
}


class DeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling, a 3x3 convolution, and class logits: (B, inputs, h, w) -> (B, classes, h, w)."""

    def __init__(self, inputs: int, classes: int, width: int = 256) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_norm_relu(inputs, width, 1)])
        self.branches.extend(conv_norm_relu(inputs, width, dilation=rate) for rate in _RATES)
        self.whole = conv_norm_relu(inputs, width, 1)  # of the whole map's mean
        self.join = nn.Sequential(*conv_norm_relu((2 + len(_RATES)) * width, width, 1), nn.Dropout(0.5))
        self.last = nn.Sequential(*conv_norm_relu(width, width), nn.Conv2d(width, classes, 1))
        kaiming(self)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Load the `classifier` of torchvision's DeepLabV3, by its names there, but for the last layer's classes.

        Raises RuntimeError where weights are missing, superfluous or of other shapes.
        """
        own = self.state_dict()
        last = {name: own[name] for name in ("last.3.weight", "last.3.bias")}
        self.load_state_dict({renamed(name, _PUBLISHED): value for name, value in weights.items()} | last)

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
