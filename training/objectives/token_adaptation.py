"""The student's tokens behind ADD's self-attention adapter, as each objective that distils features has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from add_model.detectors.base import Detector
from add_model.distillation.attention import SelfAttentionAdapter
from add_model.distillation.position_encoding import FRUSTUM_POINTS, Encoding, PositionalEncoding
from training.objectives.base import Adapter, LossContext


def positional_encoding(encoding: Encoding, channels: int) -> PositionalEncoding | None:
    """The module that codes the tokens' positions; None where they have none."""
    if encoding is Encoding.none:
        return None
    return PositionalEncoding(channels, FRUSTUM_POINTS if encoding is Encoding.frustum else 1)


def encoded_positions(
    module: PositionalEncoding | None,
    encoding: Encoding,
    adapter: Adapter,
    detector: Detector,
    features: Any,
    tokens: Tensor,
    context: LossContext,
) -> Tensor:
    """What `module` makes of the tokens' positions, of the tokens' shape (B, N, C); zeros without one."""
    if module is None:
        return torch.zeros_like(tokens)
    points = adapter.token_positions(detector, encoding, features, context.batch.P, context.depth)
    return module(points).expand_as(tokens)


def adapted_tokens(
    attention: SelfAttentionAdapter,
    adapter: Adapter,
    detector: Detector,
    features: Any,
    tokens: Tensor,
    positions: Tensor,
    drop_prob: float,
) -> Tensor:
    """Tokens (B, N, C) behind the adapter, but for the share `drop_prob` of the images, whose go past it."""
    used = torch.rand(len(tokens), device=tokens.device) >= drop_prob
    index = used.nonzero(as_tuple=True)
    attended = lambda values: adapter.attended_tokens(detector, values, features)  # noqa: E731
    return tokens.index_put(index, attention(tokens[index], positions[index], attended))
