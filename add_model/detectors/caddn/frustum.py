"""CaDDN's image side: features and a depth distribution for each cell, and both lifted into voxels (section 3.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.depth_bins import DepthBins
from add_model.geometry.camera import own_projection, project, reference_focal_scale
from add_model.networks.backbone import Backbone
from add_model.networks.convolutions import conv_norm_relu
from add_model.networks.deeplab import DeepLabHead
from add_model.networks.plain import PlainNet
from add_model.networks.published import read_published
from add_model.networks.pyramid import FeaturePyramid
from add_model.networks.resnet import ResNet101
from add_model.renamed_keys import below

_CLASSES_BESIDE_BINS = 1  # farther than the last bin


class Frustum(nn.Module, ABC):
    """Normalised images -> image features and depth logits.

    backbone: the part that ImageNet weights are for
    channels: of the features
    stride: of both, pixels
    """

    backbone: Backbone
    channels: int
    stride: int = 4

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) -> features (B, C, h, w), depth logits (B, bins + 1, h, w)."""


class DeepLabFrustum(Frustum):
    """The published one: DeepLabV3 on ResNet-101 predicts depth, the features are those of the first stage."""

    PUBLISHED = "deeplabv3_resnet101_coco-586e9e4e.pth (or resnet101-63fe2227.pth, the backbone alone)"
    """torchvision's files with weights for it."""

    def __init__(self, bins: int, channels: int = 64) -> None:
        super().__init__()
        self.backbone, self.channels = ResNet101(dilated=True), channels
        self.head = DeepLabHead(self.backbone.channels[-1], bins + _CLASSES_BESIDE_BINS)
        self.reduce = conv_norm_relu(self.backbone.channels[0], channels, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Frustum`."""
        maps = self.backbone(images)
        logits = self.head(maps[-1])
        logits = functional.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        return self.reduce(maps[0]), logits

    def load_weights(self, path: str | Path) -> None:
        """Load torchvision's DeepLabV3 on ResNet-101 but for its classes, or a file of the backbone alone.

        Raises FileNotFoundError, and ValueError where the file holds neither.
        """
        weights = read_published(path, "ResNet", "torchvision's file")
        head = below(weights, "classifier.")
        if not head:
            self.backbone.load_published(weights, path)
            return
        try:
            self.backbone.load_state_dict(below(weights, "backbone."))
            self.head.load_published({name: v for name, v in head.items() if not name.startswith("4.")})
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold DeepLabV3 on ResNet-101: {error}") from error


class PlainFrustum(Frustum):
    """A small one for CPUs: features and depth of one feature pyramid."""

    def __init__(self, bins: int, channels: int = 24, width: int = 48) -> None:
        super().__init__()
        self.backbone, self.channels = PlainNet(), channels
        self.neck = FeaturePyramid(self.backbone.channels, width)
        self.head = nn.Sequential(*conv_norm_relu(width, width), nn.Conv2d(width, bins + _CLASSES_BESIDE_BINS, 1))
        self.reduce = conv_norm_relu(width, channels, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Frustum`."""
        features = self.neck(self.backbone(images))
        return self.reduce(features), self.head(features)


def sample_voxels(
    features: Tensor, distribution: Tensor, P: Tensor, points: Tensor, bins: DepthBins, width: int, height: int
) -> Tensor:
    """Image features and depth distributions -> voxel features (B, C, ...).

    A voxel takes the product of features and probabilities at its centre's pixel and depth, interpolated linearly in
    all three; 0 outside.

    The frustum of these products itself is never built. Its eight corners around a voxel are four cells at two depths,
    and a cell's features are the same at both depths. So each cell's features are multiplied by its probability,
    interpolated in depth, and the four products are summed.

    Args:
        features: (B, C, h, w).
        distribution: (B, D, h, w) the probability of each depth bin.
        P: (B, 3, 4) of the images.
        points: (..., 3) voxel centres in the cameras' own optical frames, metres.
        bins: at the reference focal length.
        width, height: of the images, pixels.
    """
    own = own_projection(P)[:, None, None, None]
    u, v, depth = project(own, *points.unbind(-1))
    # The middle of bin i has the continuous index i + 0.5, as the centre of cell i has.
    position = bins.position(depth / reference_focal_scale(own))
    batch, rows, columns = features.shape[0], features.shape[2], features.shape[3]  # len would export as a constant
    layer, deeper = _cell_before(position.flatten(1) - 0.5, bins.count)
    row, lower = _cell_before((v.flatten(1) + 0.5) / height * rows - 0.5, rows)
    column, right = _cell_before((u.flatten(1) + 0.5) / width * columns - 0.5, columns)
    area = (rows + 2) * (columns + 2)
    probability = functional.pad(distribution, (1, 1, 1, 1, 1, 1)).flatten(1)
    cells, weights = [], []
    for down, vertical in enumerate((1 - lower, lower)):
        for beside, horizontal in enumerate((1 - right, right)):
            cell = (row + down) * (columns + 2) + column + beside
            near, far = (probability.gather(1, (layer + i) * area + cell) for i in (0, 1))
            share = (vertical * horizontal).to(near.dtype)
            weights.append(share * (near + deeper.to(near.dtype) * (far - near)))
            cells.append(cell + torch.arange(batch, device=cell.device)[:, None] * area)
    table = functional.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1).flatten(0, 2)
    voxels = _weighted_rows(table, cells, weights, len(points))
    return voxels.unflatten(1, points.shape[:-1]).movedim(-1, 1)


def _cell_before(position: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Positions along `count` cells, integers at their centres -> the cell before each, and the next cell's weight.

    Cells are counted with one of padding before the first; positions outside fall into that one.
    """
    position = torch.where((position > -1) & (position < count), position, -1.0)
    before = position.floor()
    return before.long() + 1, position - before


def _weighted_rows(table: Tensor, index: list[Tensor], weights: list[Tensor], parts: int) -> Tensor:
    """The sums (B, M, C) of the rows `index`, each (B, M), of a table (R, C) times `weights`, each (B, M)."""
    if not torch.compiler.is_exporting():
        rows, shares = (torch.stack([value.flatten() for value in values], 1) for values in (index, weights))
        return functional.embedding_bag(rows, table, per_sample_weights=shares, mode="sum").unflatten(0, index[0].shape)
    # ONNX has no such operator, but gathers whole rows as fast; in parts, which take less memory and stay in the cache.
    terms = (zip(i.chunk(parts, 1), w.chunk(parts, 1), strict=True) for i, w in zip(index, weights, strict=True))
    sums = (sum(functional.embedding(i, table) * w[..., None] for i, w in part) for part in zip(*terms, strict=True))
    return torch.cat(list(sums), 1)
