"""What MonoDETR's losses, decoding and distillation read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EncoderOutputs:
    """What the decoder attends to.

    maps: (B, C, h, w) of the visual encoder, finest first
    depth_map (B, h, w): at the reference focal length, of any resolution; queries sample it at their centres
    depth_tokens (B, N, C): of the depth predictor
    depth_logits (B, bins + 1, h, w): of the depth predictor
    image_size (2,): width and height in pixels
    """

    maps: list[Tensor]
    depth_map: Tensor
    depth_tokens: Tensor
    depth_logits: Tensor
    image_size: Tensor


@dataclass(frozen=True)
class DecoderOutputs:
    """What each of L decoder layers predicts for Q queries.

    logits (L, B, Q, C)
    centre (L, B, Q, 2): pixels of the projected 3D centre
    sides (L, B, Q, 4): pixels from there to the 2D box's left, top, right, bottom
    size (L, B, Q, 3): metres
    heading (L, B, Q, 24): see `encode_heading`
    depth, log_variance (L, B, Q): at the reference focal length
    query_features (B, Q, C): behind the last layer
    encoder_outputs: what the decoder attended to
    """

    logits: Tensor
    centre: Tensor
    sides: Tensor
    size: Tensor
    heading: Tensor
    depth: Tensor
    log_variance: Tensor
    query_features: Tensor
    encoder_outputs: EncoderOutputs

    def at(self, layer: int, image: Tensor, query: Tensor) -> dict[str, Tensor]:
        """What a layer predicts of the boxes of queries (K,) of images (K,): by name, each (K, ...)."""
        names = ("centre", "sides", "size", "heading", "depth", "log_variance")
        return {name: getattr(self, name)[layer][image, query] for name in names}


def sides_to_box2d(centre: Tensor, sides: Tensor) -> Tensor:
    """Centres (..., 2) and the distances to each side (..., 4) -> left, top, right, bottom (..., 4)."""
    return torch.cat([centre - sides[..., :2], centre + sides[..., 2:]], -1)
