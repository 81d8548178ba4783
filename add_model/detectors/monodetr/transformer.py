"""MonoDETR's transformer: depth predictor and encoder, visual encoder, depth-guided decoder (its section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.depth_bins import DepthBins
from add_model.networks.attention import Attention, DeformableAttention

_DROPOUT = 0.1


def norm(channels: int) -> nn.Module:
    """Group normalisation of maps, as the published network has it."""
    return nn.GroupNorm(min(32, channels // 2), channels)


def sine_position(rows: int, columns: int, stride: int, channels: int, unit: Tensor) -> Tensor:
    """(rows * columns, channels): sines of where a map's cells lie in the image, `unit` (2,) pixels being one turn."""
    x = (torch.arange(columns, device=unit.device) + 0.5) * stride / unit[0]
    y = (torch.arange(rows, device=unit.device) + 0.5) * stride / unit[1]
    waves = channels // 4
    frequency = 2 * math.pi / 10000 ** (torch.arange(waves, device=unit.device) / waves)
    parts = [f(place[:, None] * frequency) for place in (y, x) for f in (torch.sin, torch.cos)]
    vertical = torch.cat(parts[:2], -1)[:, None].expand(-1, columns, -1)
    horizontal = torch.cat(parts[2:], -1)[None].expand(rows, -1, -1)
    return torch.cat([vertical, horizontal], -1).flatten(0, 1)


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, h, w) of several scales -> their cells, one after the other (B, N, C)."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)


def separated(tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Tokens (B, N, C) of maps of these shapes -> the maps: the inverse of `joined`."""
    parts = tokens.split([rows * columns for rows, columns in shapes], 1)
    return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


class Feed(nn.Sequential):
    """The two-layer perceptron of a transformer layer."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(hidden, channels))


class DepthPredictor(nn.Module):
    """The three finest maps -> depth logits, the depth that they mean, and depth-aware tokens, at the middle one's
    stride.

    Depths are at the reference focal length. The last of count + 1 classes is `no object`, which counts as far away.
    """

    def __init__(self, channels: int, bins: DepthBins, heads: int, hidden: int, places: int = 61) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(channels, channels, 3, 2, 1), norm(channels))
        self.level = nn.Sequential(nn.Conv2d(channels, channels, 1), norm(channels))
        self.up = nn.Sequential(nn.Conv2d(channels, channels, 1), norm(channels))
        layers = [(nn.Conv2d(channels, channels, 3, padding=1), norm(channels), nn.ReLU()) for _ in range(2)]
        self.head = nn.Sequential(*(module for layer in layers for module in layer))
        self.classify = nn.Conv2d(channels, bins.count + 1, 1)
        self.register_buffer("values", torch.tensor([*bins.middles, bins.far], dtype=torch.float32), persistent=False)
        self.attention, self.feed = Attention(channels, heads, _DROPOUT), Feed(channels, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.drop = nn.Dropout(_DROPOUT)
        self.places, self.far = nn.Embedding(places, channels), bins.far

    def forward(
        self, maps: Sequence[Tensor], position: Tensor, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (B, C, h, w) of neighbouring strides, position (N, C) of the middle one's cells -> logits
        (B, bins + 1, h, w), depth (B, h, w), tokens (B, N, C).

        given (B, h, w): a teacher's depth, 0 unknown, in place of the one predicted where it is known.
        """
        coarse = functional.interpolate(self.up(maps[2]), scale_factor=2, mode="bilinear", align_corners=False)
        features = self.head((self.down(maps[0]) + self.level(maps[1]) + coarse) / 3)
        logits = self.classify(features)
        depth = (logits.float().softmax(1) * self.values[:, None, None]).sum(1)
        if given is not None:
            depth = torch.where(given > 0, given, depth)
        tokens = features.flatten(2).transpose(1, 2)
        asked = tokens + position
        (read,) = self.attention(asked, asked, tokens)
        tokens = self.norms[0](tokens + self.drop(read))
        tokens = self.norms[1](tokens + self.drop(self.feed(tokens)))
        return logits, depth, tokens + self._place(depth).to(tokens.dtype)

    def _place(self, depth: Tensor) -> Tensor:
        """A learnt vector for each depth (B, h, w) -> (B, N, C): interpolated between those of evenly spaced depths."""
        last = self.places.num_embeddings - 1
        at = (depth.flatten(1) * (last / self.far)).clamp(0, last)
        low = at.detach().floor().clamp(max=last - 1)
        share, index = (at - low)[..., None], low.long()
        return self.places(index) * (1 - share) + self.places(index + 1) * share


class EncoderLayer(nn.Module):
    """Deformable self-attention of the maps' cells, and a perceptron."""

    def __init__(self, channels: int, heads: int, levels: int, hidden: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads, levels)
        self.feed, self.drop = Feed(channels, hidden), nn.Dropout(_DROPOUT)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, tokens: Tensor, position: Tensor, centre: Tensor, reach: Tensor, maps: list[Tensor]) -> Tensor:
        read = self.attention(tokens + position, centre, reach, maps)
        tokens = self.norms[0](tokens + self.drop(read))
        return self.norms[1](tokens + self.drop(self.feed(tokens)))


class VisualEncoder(nn.Module):
    """Maps of several scales -> the same, each cell having looked at all of them."""

    def __init__(self, channels: int, heads: int, levels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, levels, hidden) for _ in range(layers))
        self.level = nn.Parameter(torch.randn(levels, channels))

    def forward(self, maps: list[Tensor], positions: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) and their cells' positions (h * w, C)."""
        shapes = [m.shape[2:] for m in maps]
        position = torch.cat([p + level for p, level in zip(positions, self.level, strict=True)])
        centre = torch.cat([_cell_centres(rows, columns, position) for rows, columns in shapes])[None]
        reach = _one_cell(maps)
        tokens = joined(maps)
        for layer in self.layers:
            tokens = layer(tokens, position, centre, reach, maps)
            maps = separated(tokens, shapes)
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
    """Queries look at depth, at each other, and at the image."""

    def __init__(self, channels: int, heads: int, levels: int, hidden: int, points: int = 4) -> None:
        super().__init__()
        self.depth, self.mutual = (Attention(channels, heads, _DROPOUT) for _ in range(2))
        # Content and place have projections of their own before those of the attention, as the published code has it.
        self.content = nn.ModuleList(nn.Linear(channels, channels) for _ in range(3))
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
        """Queries (B, groups * N, C) and their positions, depth tokens (B, M, C), maps -> queries.

        centre and extent (B, groups * N, 2): where the queries' objects are and how large, as shares of the image; they
        look around in steps of that size or, while it is not known, of cells. Groups don't see each other.
        """
        (read,) = self.depth(x + position, depth, depth)
        x = self.norms[0](x + self.drop(read))
        split = lambda value: value.unflatten(1, (groups, -1)).flatten(0, 1)  # noqa: E731
        asked, key, value = (content(x) for content in self.content)
        asked, key = asked + self.place[0](position), key + self.place[1](position)
        (read,) = self.mutual(split(asked), split(key), split(value))
        x = self.norms[1](x + self.drop(read.unflatten(0, (-1, groups)).flatten(1, 2)))
        reach = _one_cell(maps) if extent is None else (extent / (2 * self.points))[:, :, None]
        read = self.visual(x + position, centre, reach, maps)
        x = self.norms[2](x + self.drop(read))
        return self.norms[3](x + self.drop(self.feed(x)))
