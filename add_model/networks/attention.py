"""Attention of tokens on tokens, and on a few places of feature maps of several scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(
    queries: Tensor, keys: Tensor, values: Sequence[Tensor], heads: int, dropout: float = 0.0
) -> tuple[Tensor, ...]:
    """What queries (B, M, C) on keys (B, N, C) read of each of the values (B, N, C), head by head.

    dropout: share of the weights that are set to 0.
    """
    q, k = _by_head(queries, heads), _by_head(keys, heads)
    read = (functional.scaled_dot_product_attention(q, k, _by_head(v, heads), dropout_p=dropout) for v in values)
    return tuple(r.transpose(1, 2).flatten(2) for r in read)


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention whose positions enter queries and keys alone, so that values stay what was seen.

    dropout: of its weights, in training.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def start_packed(self) -> None:
        """Start as `torch.nn.MultiheadAttention` does, whose first projections are one matrix, without biases."""
        for layer in (self.query, self.key, self.value):
            bound = math.sqrt(6 / (layer.in_features + 3 * layer.out_features))
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries (B, M, C) on keys (B, N, C) -> what they read of the values (B, N, C), (B, M, C)."""
        dropout = self.dropout if self.training else 0.0
        (read,) = attend(self.query(queries), self.key(keys), (self.value(values),), self.heads, dropout)
        return self.out(read)


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention (Zhu et al., 'Deformable DETR', ICLR 2021, section 4.1) in plain torch.

    Each query looks, on each of `levels` maps and with each head, at `points` places around its reference, which it
    chooses itself; what it reads there, interpolated linearly and 0 outside the map, is summed by weights of its own.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(channels, heads * levels * points * 2)
        self.weights = nn.Linear(channels, heads * levels * points)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        # Heads start by looking in different directions, points at different distances.
        angle = torch.arange(heads) * (2 * math.pi / heads)
        way = torch.stack([angle.cos(), angle.sin()], -1)
        way = way / way.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, points + 1.0)[:, None]
        with torch.no_grad():
            self.offsets.bias.copy_((way[:, None, None] * steps).expand(-1, levels, -1, -1).flatten())
        self.start_still()
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def start_still(self) -> None:
        """Before training all queries look alike, at all their places equally."""
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, queries: Tensor, centre: Tensor, reach: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Queries (B, Q, C) with their references -> (B, Q, C) what they read of maps (B, C, h, w).

        centre (B, Q, 2): where queries look, as shares of the image's width and height. reach (B, Q, L, 2) or
        broadcast: how far an offset of 1 leads on each level, in the same shares.
        """
        offsets = self.offsets(queries).unflatten(2, (self.heads, self.levels, self.points, 2))
        weights = self.weights(queries).unflatten(2, (self.heads, -1)).softmax(-1)
        weights = weights.unflatten(3, (self.levels, self.points))
        places = centre[:, :, None, None, None] + offsets * reach[:, :, None, :, None]
        # (B * heads, L, P, Q, ...): every head has channels, places and weights of its own, and queries, of which there
        # are many, lie next to each other.
        places = (2 * places - 1).permute(0, 2, 3, 4, 1, 5).flatten(0, 1)
        weights = weights.permute(0, 2, 3, 4, 1).flatten(0, 1)
        read: Tensor | float = 0.0
        for level, features in enumerate(maps):
            value = functional.conv2d(features, self.value.weight[..., None, None], self.value.bias)
            value = value.unflatten(1, (self.heads, -1)).flatten(0, 1)
            seen = functional.grid_sample(value, places[:, level], align_corners=False)
            read = read + (seen * weights[:, None, level]).sum(2)
        return self.out(read.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2))
