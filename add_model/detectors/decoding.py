"""What networks answer -> depth with its uncertainty, and boxes."""

from __future__ import annotations

import math
from typing import Any

import torch

from add_model.geometry.camera import lift, own_projection
from add_model.geometry.heading import HEADING_BINS, decode_heading


def decode_depth(answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network answers (..., 2) -> depth at the reference focal length and its log variance, each (...)."""
    coded, log_variance = answers.unbind(-1)
    # Bounded, so that a bad start can't overflow: a standard deviation of 2 cm to 55 m.
    return 1 / (coded.sigmoid() + 1e-6) - 1, log_variance.clamp(-8, 8)


def decode_boxes(P: Any, u: Any, v: Any, depth: Any, size: Any, heading: Any) -> Any:
    """Torch tensors -> boxes (B, K, 7) in P's frame.

    P (B, 3, 4); u, v (B, K) pixels and depth (B, K) metres of the centres; size (B, K, 3) metres; heading (B, K, 24) as
    12 bin scores and 12 residuals, of the angle against the viewing ray.
    """
    P = P[:, None]
    x, y, z = lift(P, u, v, depth)
    own_x, _, own_z = lift(own_projection(P), u, v, depth)
    scores, residuals = heading.split(HEADING_BINS, dim=-1)
    best = scores.argmax(dim=-1, keepdim=True)
    angle = decode_heading(best[..., 0], residuals.gather(-1, best)[..., 0])
    # own_z is positive, so atan equals atan2, which ONNX lacks.
    rotation = angle + torch.atan(own_x / own_z) + math.pi
    rotation = rotation - torch.floor(rotation / (2 * math.pi)) * (2 * math.pi) - math.pi
    return torch.cat([torch.stack([x, y, z], -1), size, rotation[..., None]], dim=-1)
