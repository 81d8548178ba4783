"""CaDDN's image side: features, a distribution over depth for each cell, and both lifted into voxels (section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.depth_bins import DepthBins
from add_model.geometry.camera import own_projection, project, reference_focal_scale
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

    The frustum itself is never made. Its eight corners around a voxel are four cells at two depths, and a cell's
    features are the same at both, so that they leave the sum over depths: each cell's features times its probability
    interpolated in depth, and of these four the sum.
    """
    own = own_projection(P)[:, None, None, None]
    u, v, depth = project(own, *points.unbind(-1))
    # Where a bin's middle, in the sense of the continuous index, is a cell's centre.
    along = bins.position(depth / reference_focal_scale(own))
    batch, rows, columns = len(features), features.shape[2], features.shape[3]
    layer, deep = _between(along.flatten(1) - 0.5, bins.count)
    row, low = _between((v.flatten(1) + 0.5) / height * rows - 0.5, rows)
    column, right = _between((u.flatten(1) + 0.5) / width * columns - 0.5, columns)
    area = (rows + 2) * (columns + 2)
    probability = functional.pad(distribution, (1, 1, 1, 1, 1, 1)).flatten(1)
    cells, weights = [], []
    for down, vertical in enumerate((1 - low, low)):
        for beside, horizontal in enumerate((1 - right, right)):
            cell = (row + down) * (columns + 2) + column + beside
            near, far = (probability.gather(1, (layer + i) * area + cell) for i in (0, 1))
            share = (vertical * horizontal).to(near.dtype)
            weights.append(share * (near + deep.to(near.dtype) * (far - near)))
            cells.append(cell + torch.arange(batch, device=cell.device)[:, None] * area)
    table = functional.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1).flatten(0, 2)
    voxels = _weighted_rows(table, [c.flatten() for c in cells], [w.flatten() for w in weights], len(points))
    return voxels.unflatten(0, (batch, *points.shape[:-1])).movedim(-1, 1)


def _between(place: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Places among `count` cells, whole numbers at their centres -> which cell lies before each, where the first of
    all is an empty one before those, and the share of the cell behind it. Outside is in the first empty one.
    """
    place = torch.where((place > -1) & (place < count), place, -1.0)
    before = place.floor()
    return before.long() + 1, place - before


def _weighted_rows(table: Tensor, index: list[Tensor], weights: list[Tensor], parts: int) -> Tensor:
    """(M, C) of a table (R, C): the sum of its rows `index`, each (M,), times `weights`, each (M,)."""
    if not torch.compiler.is_exporting():
        return functional.embedding_bag(
            torch.stack(index, 1), table, per_sample_weights=torch.stack(weights, 1), mode="sum"
        )
    # ONNX has no such operator, but gathers whole rows as fast; in parts, which take less memory and stay in the cache.
    terms = (zip(i.chunk(parts), w.chunk(parts), strict=True) for i, w in zip(index, weights, strict=True))
    sums = (sum(functional.embedding(i, table) * w[:, None] for i, w in part) for part in zip(*terms, strict=True))
    return torch.cat(list(sums))
