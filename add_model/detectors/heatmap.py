"""The head that centre-based detectors find objects with."""

from __future__ import annotations

import math

from torch import nn


def heatmap_head(channels: int, hidden: int, classes: int, probability: float) -> nn.Sequential:
    """A map (B, channels, h, w) -> logits (B, classes, h, w), which start at about this probability everywhere."""
    first, last = nn.Conv2d(channels, hidden, 3, padding=1), nn.Conv2d(hidden, classes, 1)
    nn.init.constant_(last.bias, -math.log(1 / probability - 1))
    return nn.Sequential(first, nn.ReLU(inplace=True), last)
