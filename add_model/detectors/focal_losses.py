"""Focal losses (Lin et al., ICCV 2017, alpha 0.25 and gamma 2) of single classes and of depth distributions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ALPHA = 0.25
FOREGROUND = 13.0  # how much a cell of a depth map that sees an object counts against one that sees none (CaDDN)


def sigmoid_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Of each logit towards 0 or 1."""
    probability = logits.sigmoid()
    wrong = torch.where(target > 0, 1 - probability, probability)
    share = torch.where(target > 0, ALPHA, 1 - ALPHA)
    return share * wrong**2 * functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def depth_map_loss(logits: Tensor, target: Tensor, foreground: Tensor) -> Tensor:
    """Of the classes of a depth map (B, classes, h, w), summed over cells whose target (B, h, w) is not -1.

    foreground (B, h, w): which cells see an object (CaDDN, section 3.3, and its published code).
    """
    known = target >= 0
    logarithm = logits.log_softmax(1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    each = -ALPHA * (1 - logarithm.exp()) ** 2 * logarithm
    weight = torch.where(foreground, FOREGROUND, 1.0) * known
    return (each * weight).sum()


def gaussian_focal_loss(logits: Tensor, heatmap: Tensor, ignore: Tensor) -> Tensor:
    """CenterNet's penalty-reduced focal loss, summed over cells that are not ignored (a peak is never ignored)."""
    positive = heatmap >= 1
    probability = logits.sigmoid()
    hit = -functional.logsigmoid(logits) * (1 - probability) ** 2
    miss = -functional.logsigmoid(-logits) * probability**2 * (1 - heatmap) ** 4
    return torch.where(positive, hit, miss * ~ignore).sum()
