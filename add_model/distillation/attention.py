"""3D-aware self-attention and target-aware cross-attention (ADD, section Attention-based depth distillation)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from add_model.distillation.target_objects import TargetObjects
from add_model.networks.attention import attend

SHAPE = 5  # an object's size in metres off its class's mean, sine and cosine of its heading against the viewing ray


class _PerHead(nn.Module):
    """Tokens (B, N, C) -> the same with each head's part normalised.

    Queries and keys that grow, as those of CaDDN's students did, make attention point at single tokens. Its gradient
    then vanishes or explodes (Henry et al., 'Query-Key Normalization for Transformers', 2020), and fused backward
    passes can overflow.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(channels // heads)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens.unflatten(2, (self.heads, -1))).flatten(2)


def _asking(channels: int, heads: int) -> nn.Module:
    """What makes queries, or keys, of tokens."""
    return nn.Sequential(nn.Linear(channels, channels), _PerHead(channels, heads))


class SelfAttentionAdapter(nn.Module):
    """Tokens (B, N, C) with positions (B, N, C) -> adapted tokens: pre-norm transformer layers with residuals.

    Every branch starts at zero: at first the adapter passes on what it is given. All tokens ask; what answers is
    `summarise` of them, (B, N, C) -> (B, N', C), by which attention stays affordable on fine maps (the spatial
    reduction of Wang et al., 'Pyramid Vision Transformer', ICCV 2021).
    """

    def __init__(self, channels: int, layers: int = 1, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(channels, heads, expansion) for _ in range(layers))

    def forward(self, tokens: Tensor, positions: Tensor, summarise: Callable[[Tensor], Tensor]) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, positions, summarise)
        return tokens


class _Layer(nn.Module):
    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(channels), heads
        self.query, self.key = _asking(channels, heads), _asking(channels, heads)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.feed = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, expansion * channels),
            nn.ReLU(),
            nn.Linear(expansion * channels, channels),
        )
        for last in (self.out, self.feed[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, tokens: Tensor, positions: Tensor, summarise: Callable[[Tensor], Tensor]) -> Tensor:
        normal = self.norm(tokens)
        asked = normal + positions
        values = [self.value(summarise(normal))]
        (read,) = attend(self.query(asked), self.key(summarise(asked)), values, self.heads)
        tokens = tokens + self.out(read)
        return tokens + self.feed(tokens)


class TargetAttention(nn.Module):
    """One query for each labelled object reads the student's and the teacher's tokens with the same weights.

    A query is the object's 3D centre in the tokens' positional encoding, plus its class, size and heading, and what the
    detector's own query of the object holds, where it has such. What is read of the teacher is asked for the object's
    depth, size and heading again, so that attention learns to look where they can be seen; without that it would learn
    to look where student and teacher happen to agree.
    """

    def __init__(self, channels: int, classes: int, heads: int = 4) -> None:
        super().__init__()
        self.kind = nn.Embedding(classes, channels)
        self.shape = nn.Linear(SHAPE, channels)
        self.heads = heads
        self.query, self.key = _asking(channels, heads), _asking(channels, heads)
        self.reader = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, 1 + SHAPE))

    def forward(
        self, centres: Tensor, objects: TargetObjects, positions: Tensor, student: Tensor, teacher: Tensor
    ) -> tuple[Tensor, Tensor]:
        """centres (B, M, C) encoded, positions and tokens (B, N, C) -> what is read of both, 2 (B, M, C).

        The weights come from the teacher's tokens: the student is told where to look, and learns nothing by them.
        """
        asked = centres + self.kind(objects.label) + self.shape(objects.shape)
        if objects.own is not None:
            asked = asked + objects.own
        return attend(self.query(asked), self.key(teacher + positions), (student, teacher), self.heads)
