"""CaDDN's image side: features, a distribution over depth for each cell, and both lifted into voxels (section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.camera import project
from add_model.coder import reference_focal_scale
from add_model.depth_bins import DepthBins
from add_model.networks.deeplab import DeepLabHead
from add_model.networks.plain import PlainNet
from add_model.networks.pyramid import FeaturePyramid
from add_model.networks.resnet import ResNet101

_CLASSES_BESIDE_BINS = 1  # farther than the last bin


class DeepLabFrustum(nn.Module):
    """The published one: DeepLabV3 on ResNet-101 says the depths, the features are those of its first stage."""

    stride = 4

    def __init__(self, bins: int, channels: int = 64) -> None:
        super().__init__()
        self.backbone, self.channels = ResNet101(dilated=True), channels
        self.head = DeepLabHead(self.backbone.channels[-1], bins + _CLASSES_BESIDE_BINS)
        self.reduce = nn.Sequential(
            nn.Conv2d(self.backbone.channels[0], channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) -> features (B, C, h, w), depth logits (B, bins + 1, h, w)."""
        maps = self.backbone(images)
        logits = self.head(maps[-1])
        logits = functional.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        return self.reduce(maps[0]), logits


class PlainFrustum(nn.Module):
    """A small one for CPUs: features and depths of one pyramid."""

    stride = 4

    def __init__(self, bins: int, channels: int = 24, width: int = 48) -> None:
        super().__init__()
        self.backbone, self.channels = PlainNet(), channels
        self.neck = FeaturePyramid(self.backbone.channels, width)
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, bins + _CLASSES_BESIDE_BINS, 1),
        )
        self.reduce = nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `DeepLabFrustum`."""
        features = self.neck(self.backbone(images))
        return self.reduce(features), self.head(features)


def sample_voxels(
    features: Tensor, distribution: Tensor, P: Tensor, points: Tensor, bins: DepthBins, width: int, height: int
) -> Tensor:
    """Features (B, C, h, w) and the probability of each depth bin (B, D, h, w) -> voxel features (B, C, ...).

    A voxel takes what the frustum of features times probabilities holds at its centre's pixel and depth, interpolated
    linearly in all three; 0 outside. P (B, 3, 4) of images of width x height pixels; points (..., 3) voxel centres in
    the cameras' own optical frames, metres; bins at the reference focal length.
    """
    frustum = features[:, :, None] * distribution[:, None]
    own = torch.cat([P[..., :3], torch.zeros_like(P[..., 3:])], -1)[:, None, None, None]
    u, v, depth = project(own, *points.unbind(-1))
    # Where a bin's middle, in the sense of the continuous index, is a cell's centre.
    along = bins.position(depth / reference_focal_scale(own)) / bins.count
    places = torch.stack([(u + 0.5) / width, (v + 0.5) / height, along], -1)
    return functional.grid_sample(frustum, 2 * places.to(frustum.dtype) - 1, align_corners=False)
