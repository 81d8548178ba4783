"""Which places of a map from above lie in an object."""

from __future__ import annotations

import torch
from torch import Tensor


def footprint_cells(boxes: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """(B, N): whether a place is in the footprint of any box, or is the nearest one to a box's centre.

    boxes (B, M, 7) in a camera's own frame; mask (B, M) which of them are real; places (N, 2) as (x, z) in metres.
    """
    x, z = (places - boxes[:, :, None, [0, 2]]).unbind(-1)  # (B, M, N)
    cosine, sine = boxes[..., 6:].cos(), boxes[..., 6:].sin()
    along, across = cosine * x - sine * z, sine * x + cosine * z
    inside = (along.abs() <= boxes[..., 3:4] / 2) & (across.abs() <= boxes[..., 4:5] / 2)
    nearest = (x**2 + z**2).argmin(-1, keepdim=True)
    inside |= nearest == torch.arange(len(places), device=places.device)
    return (inside & mask[..., None]).any(1)
