"""3D-aware self-attention and target-aware cross-attention (ADD, section Attention-based depth distillation)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from add_model.distillation.target_objects import TargetObjects
from add_model.networks.attention import attend

SHAPE = 5  # an object's size in metres off its class's mean, sine and cosine of its heading against the viewing ray


class _HeadNorm(nn.Module):
    """LayerNorm of each head's share of tokens (B, N, C).

    Queries and keys that grow without bound make attention point at single tokens. Its gradient then vanishes or
    explodes (Henry et al., 'Query-Key Normalization for Transformers', 2020), and fused backward passes can overflow.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(channels // heads)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens.unflatten(2, (self.heads, -1))).flatten(2)


def _query_projection(channels: int, heads: int) -> nn.Module:
    """Projects tokens to queries, or to keys."""
    return nn.Sequential(nn.Linear(channels, channels), _HeadNorm(channels, heads))


class SelfAttentionAdapter(nn.Module):
    """3D-aware self-attention: pre-norm transformer layers with residuals that adapt the student's tokens.

    Every residual branch starts at zero, so the adapter is the identity at first. All tokens are queries; keys and
    values are `reduce` of them, which keeps attention affordable on fine maps (the spatial reduction of Wang et al.,
    'Pyramid Vision Transformer', ICCV 2021).
    """

    def __init__(self, channels: int, layers: int = 1, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(channels, heads, expansion) for _ in range(layers))

    def forward(self, tokens: Tensor, positions: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Adapt tokens.

        Args:
            tokens: (B, N, C).
            positions: (B, N, C), their positional encoding.
            reduce: (B, N, C) -> (B, N', C), see `DistillationAdapter.attended_tokens`.
        """
        for layer in self.layers:
            tokens = layer(tokens, positions, reduce)
        return tokens


class _Layer(nn.Module):
    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(channels), heads
        self.query, self.key = _query_projection(channels, heads), _query_projection(channels, heads)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.feed = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, expansion * channels),
            nn.ReLU(inplace=True),
            nn.Linear(expansion * channels, channels),
        )
        for last in (self.out, self.feed[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, tokens: Tensor, positions: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        normed = self.norm(tokens)
        placed = normed + positions
        values = [self.value(reduce(normed))]
        (read,) = attend(self.query(placed), self.key(reduce(placed)), values, self.heads)
        tokens = tokens + self.out(read)
        return tokens + self.feed(tokens)


class TargetAttention(nn.Module):
    """Target-aware cross-attention: one query for each labelled object reads student and teacher tokens alike.

    A query is the encoded 3D centre of the object, plus its class, size and heading, plus the detector's own query of
    the object where it has one. `readout` predicts the object's depth, size and heading from what was read, so that
    attention learns to look where these are visible; without it, it would look where student and teacher agree anyway.
    """

    def __init__(self, channels: int, classes: int, heads: int = 4) -> None:
        super().__init__()
        self.class_embedding = nn.Embedding(classes, channels)
        self.shape_embedding = nn.Linear(SHAPE, channels)
        self.heads = heads
        self.query, self.key = _query_projection(channels, heads), _query_projection(channels, heads)
        self.readout = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, 1 + SHAPE)
        )

    def forward(
        self, centres: Tensor, objects: TargetObjects, positions: Tensor, student: Tensor, teacher: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read both with the weights that the teacher's tokens give; no gradient reaches the student through them.

        Args:
            centres: (B, M, C), the objects' encoded centres.
            objects: the M objects.
            positions: (B, N, C), the tokens' positional encoding.
            student: (B, N, C) adapted tokens.
            teacher: (B, N, C) tokens.

        Returns:
            What was read of the student and of the teacher, (B, M, C) each.
        """
        queries = centres + self.class_embedding(objects.label) + self.shape_embedding(objects.shape)
        if objects.detector_query is not None:
            queries = queries + objects.detector_query
        return attend(self.query(queries), self.key(teacher + positions), (student, teacher), self.heads)
