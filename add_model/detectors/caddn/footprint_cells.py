"""Which points of a bird's-eye map lie in an object."""

from __future__ import annotations

import torch
from torch import Tensor


def footprint_cells(boxes: Tensor, mask: Tensor, points: Tensor) -> Tensor:
    """(B, N): whether a point is in the footprint of any box, or is the nearest one to a box's centre.

    Args:
        boxes: (B, M, 7) in the camera's own frame.
        mask: (B, M) which of them are real.
        points: (N, 2) as (x, z) in metres.
    """
    x, z = (points - boxes[:, :, None, [0, 2]]).unbind(-1)  # (B, M, N)
    cosine, sine = boxes[..., 6:].cos(), boxes[..., 6:].sin()
    along, across = cosine * x - sine * z, sine * x + cosine * z
    inside = (along.abs() <= boxes[..., 3:4] / 2) & (across.abs() <= boxes[..., 4:5] / 2)
    nearest = (x**2 + z**2).argmin(-1, keepdim=True)
    inside |= nearest == torch.arange(len(points), device=points.device)
    return (inside & mask[..., None]).any(1)
