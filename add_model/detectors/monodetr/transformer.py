"""MonoDETR's transformer: depth predictor with its encoder, visual encoder, depth-guided decoder (its section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.depth_bins import DepthBins
from add_model.networks.attention import Attention, DeformableAttention

_DROPOUT = 0.1


def norm(channels: int) -> nn.Module:
    """Group normalisation of maps, as in the published network."""
    return nn.GroupNorm(min(32, channels // 2), channels)


def flatten_maps(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, h, w) of several scales -> their cells, one map after the other (B, N, C)."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)


def unflatten_maps(tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Tokens (B, N, C) of maps of these shapes -> the maps: the inverse of `flatten_maps`."""
    parts = tokens.split([rows * columns for rows, columns in shapes], 1)
    return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


class Feed(nn.Sequential):
    """The two-layer perceptron of a transformer layer."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(hidden, channels))


@dataclass(frozen=True)
class DepthPrediction:
    """What the depth predictor makes of maps.

    features (B, C, h, w)
    logits (B, bins + 1, h, w): the last class is `no object`
    depth_map (B, h, w): the mean of the bins by their probability, at the reference focal length
    """

    features: Tensor
    logits: Tensor
    depth_map: Tensor


def _enlarged(coarse: Tensor) -> Tensor:
    """A map of twice the stride at this one."""
    return functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)


class DepthPredictor(nn.Module):
    """The three finest maps -> a depth map and depth-aware tokens, both at the middle map's stride.

    Depths are at the reference focal length. The class `no object` counts as the far end of the last bin.

    bin_depths: (count,) what each bin stands for
    enlarge_first: see `Conventions`
    """

    def __init__(
        self,
        channels: int,
        bins: DepthBins,
        heads: int,
        hidden: int,
        bin_depths: np.ndarray,
        enlarge_first: bool,
        places: int = 61,
    ) -> None:
        super().__init__()
        self.enlarge_first = enlarge_first
        self.down = nn.Sequential(nn.Conv2d(channels, channels, 3, 2, 1), norm(channels))
        self.level = nn.Sequential(nn.Conv2d(channels, channels, 1), norm(channels))
        self.up = nn.Sequential(nn.Conv2d(channels, channels, 1), norm(channels))
        layers = [(nn.Conv2d(channels, channels, 3, padding=1), norm(channels), nn.ReLU()) for _ in range(2)]
        self.head = nn.Sequential(*(module for layer in layers for module in layer))
        self.classify = nn.Conv2d(channels, bins.count + 1, 1)
        self.register_buffer("values", torch.tensor([*bin_depths, bins.far], dtype=torch.float32), persistent=False)
        self.attention, self.feed = Attention(channels, heads, _DROPOUT), Feed(channels, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.drop = nn.Dropout(_DROPOUT)
        self.places, self.far = nn.Embedding(places, channels), bins.far

    def forward(self, maps: Sequence[Tensor]) -> DepthPrediction:
        """Maps (B, C, h, w) of neighbouring strides, of which the three finest are read."""
        coarse = self.up(_enlarged(maps[2])) if self.enlarge_first else _enlarged(self.up(maps[2]))
        features = self.head((self.down(maps[0]) + self.level(maps[1]) + coarse) / 3)
        logits = self.classify(features)
        depth_map = (logits.float().softmax(1) * self.values[:, None, None]).sum(1)
        return DepthPrediction(features, logits, depth_map)

    def tokens(self, prediction: DepthPrediction, position: Tensor) -> Tensor:
        """A prediction and its cells' position encoding (N, C) -> tokens (B, N, C), which also encode the depth map."""
        tokens = prediction.features.flatten(2).transpose(1, 2)
        query = tokens + position
        attended = self.attention(query, query, tokens)
        tokens = self.norms[0](tokens + self.drop(attended))
        tokens = self.norms[1](tokens + self.drop(self.feed(tokens)))
        return tokens + self._encode_depth(prediction.depth_map).to(tokens.dtype)

    def _encode_depth(self, depth_map: Tensor) -> Tensor:
        """Depth (B, h, w) -> (B, N, C), interpolated between the learnt embeddings of evenly spaced depths."""
        last = self.places.num_embeddings - 1
        position = (depth_map.flatten(1) * (last / self.far)).clamp(0, last)
        low = position.detach().floor().clamp(max=last - 1)
        weight, index = (position - low)[..., None], low.long()
        return self.places(index) * (1 - weight) + self.places(index + 1) * weight


class EncoderLayer(nn.Module):
    """Deformable self-attention of the maps' cells, and a perceptron."""

    def __init__(self, channels: int, heads: int, levels: int, hidden: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads, levels)
        self.feed, self.drop = Feed(channels, hidden), nn.Dropout(_DROPOUT)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, tokens: Tensor, position: Tensor, centre: Tensor, reach: Tensor, maps: list[Tensor]) -> Tensor:
        attended = self.attention(tokens + position, centre, reach, maps)
        tokens = self.norms[0](tokens + self.drop(attended))
        return self.norms[1](tokens + self.drop(self.feed(tokens)))


class VisualEncoder(nn.Module):
    """Deformable self-attention over maps of several scales."""

    def __init__(self, channels: int, heads: int, levels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, levels, hidden) for _ in range(layers))
        self.level = nn.Parameter(torch.randn(levels, channels))

    def forward(self, maps: list[Tensor], positions: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) and their cells' position encodings (h * w, C) -> maps of the same shapes."""
        shapes = [m.shape[2:] for m in maps]
        position = torch.cat([p + level for p, level in zip(positions, self.level, strict=True)])
        centre = torch.cat([_cell_centres(rows, columns, position) for rows, columns in shapes])[None]
        reach = _one_cell(maps)
        tokens = flatten_maps(maps)
        for layer in self.layers:
            tokens = layer(tokens, position, centre, reach, maps)
            maps = unflatten_maps(tokens, shapes)
        return maps


def _cell_centres(rows: int, columns: int, like: Tensor) -> Tensor:
    x = (torch.arange(columns, device=like.device) + 0.5) / columns
    y = (torch.arange(rows, device=like.device) + 0.5) / rows
    return torch.stack([x[None].expand(rows, -1), y[:, None].expand(-1, columns)], -1).flatten(0, 1)


def _one_cell(maps: list[Tensor]) -> Tensor:
    """(1, 1, L, 2): a cell's share of the image's width and height."""
    one = torch.ones(1, device=maps[0].device)
    return torch.stack([torch.cat([one / m.shape[3], one / m.shape[2]]) for m in maps])[None, None]


class DecoderLayer(nn.Module):
    """Queries attend to the depth tokens, to each other, and to the image.

    depth_position: whether their position encoding is part of what they ask the depth tokens; as published, it is not.
    summed_attention: whether, as published, both projections that precede those of their attention to each other see
        the sum of content and position, and none precedes that of values. Otherwise one sees the content and one the
        position, and values have one of their own: what is published is then a special case.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        levels: int,
        hidden: int,
        points: int = 4,
        depth_position: bool = True,
        summed_attention: bool = False,
    ) -> None:
        super().__init__()
        self.depth_position, self.summed_attention = depth_position, summed_attention
        self.depth, self.mutual = (Attention(channels, heads, _DROPOUT) for _ in range(2))
        self.content = nn.ModuleList(nn.Linear(channels, channels) for _ in range(2 if summed_attention else 3))
        self.place = nn.ModuleList(nn.Linear(channels, channels) for _ in range(2))
        self.visual = DeformableAttention(channels, heads, levels, points)
        self.feed, self.drop = Feed(channels, hidden), nn.Dropout(_DROPOUT)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))
        self.points = points

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        depth: Tensor,
        centre: Tensor,
        extent: Tensor | None,
        maps: list[Tensor],
        groups: int = 1,
    ) -> Tensor:
        """Update the queries. Groups don't attend to each other.

        Args:
            x: (B, groups * N, C) the queries' content.
            position: (B, groups * N, C) their position encoding.
            depth: (B, M, C) depth tokens.
            centre: (B, groups * N, 2) reference points as shares of the image.
            extent: (B, groups * N, 2) sizes of the queries' 2D boxes as shares of the image, in steps of which they
                sample the maps; None for steps of cells.
            maps: (B, C, h, w) of the visual encoder.
            groups: how many.
        """
        attended = self.depth(x + position if self.depth_position else x, depth, depth)
        x = self.norms[0](x + self.drop(attended))
        content, place = (x + position,) * 2 if self.summed_attention else (x, position)
        query, key = (a(content) + b(place) for a, b in zip(self.content, self.place, strict=False))
        value = x if self.summed_attention else self.content[2](x)
        attended = self.mutual(*(one.unflatten(1, (groups, -1)).flatten(0, 1) for one in (query, key, value)))
        x = self.norms[1](x + self.drop(attended.unflatten(0, (-1, groups)).flatten(1, 2)))
        reach = _one_cell(maps) if extent is None else (extent / (2 * self.points))[:, :, None]
        attended = self.visual(x + position, centre, reach, maps)
        x = self.norms[2](x + self.drop(attended))
        return self.norms[3](x + self.drop(self.feed(x)))
