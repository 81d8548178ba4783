"""What networks answer -> peaks of a heatmap, depth with its uncertainty, and boxes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from add_model.geometry.camera import lift, own_projection
from add_model.geometry.heading import HEADING_BINS, decode_heading

MAX_LOG_VARIANCE = 8.0  # a bad start can't overflow: a standard deviation of 2 cm to 55 m


def top_peaks(heatmap: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The local maxima of (B, C, h, w) -> (scores, class index, cell as row * w + column), each (B, count)."""
    peaks = heatmap * (functional.max_pool2d(heatmap, 3, stride=1, padding=1) == heatmap)
    scores, index = peaks.flatten(1).topk(count, dim=1)
    cells = heatmap.shape[2] * heatmap.shape[3]
    label = index // cells
    return scores, label, index - label * cells  # ONNX's remainder takes no symbolic size


def decode_depth(answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network answers (..., 2) -> depth at the reference focal length and its log variance, each (...)."""
    coded, log_variance = answers.unbind(-1)
    return 1 / (coded.sigmoid() + 1e-6) - 1, log_variance.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)


def decode_depth_by_deviation(answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`decode_depth` where the second answer is the logarithm of the deviation, as MonoDLE's and MonoDETR's published
    code has it, not of the variance.
    """
    return decode_depth(answers * answers.new_tensor([1.0, 2.0]))


def decode_boxes(P: Any, u: Any, v: Any, depth: Any, size: Any, heading: Any, ray_u: Any = None) -> Any:
    """Torch tensors -> boxes (B, K, 7) in P's frame.

    P (B, 3, 4); u, v (B, K) pixels and depth (B, K) metres of the centres; size (B, K, 3) metres; heading (B, K, 24) as
    12 bin scores and 12 residuals, of the angle against the viewing ray, which is that through the centre or, where it
    is given, through ray_u (B, K), v.
    """
    P = P[:, None]
    x, y, z = lift(P, u, v, depth)
    own_x, _, own_z = lift(own_projection(P), u if ray_u is None else ray_u, v, depth)
    scores, residuals = heading.split(HEADING_BINS, dim=-1)
    best = scores.argmax(dim=-1, keepdim=True)
    angle = decode_heading(best[..., 0], residuals.gather(-1, best)[..., 0])
    # own_z is positive, so atan equals atan2, which ONNX lacks.
    rotation = angle + torch.atan(own_x / own_z) + math.pi
    rotation = rotation - torch.floor(rotation / (2 * math.pi)) * (2 * math.pi) - math.pi
    return torch.cat([torch.stack([x, y, z], -1), size, rotation[..., None]], dim=-1)
