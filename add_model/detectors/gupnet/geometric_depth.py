"""Depth from the height of an object and of its 2D box, and what regions get of their place in the image.

Both are at the reference focal length (`detectors.keypoint_encoder`): images of the same pixels give the same values,
whatever their camera's focal length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from add_model.geometry.camera import lift, own_projection, reference_focal_scale

_LOWEST = 1.0  # pixels: 2D boxes count as at least this high


def depth_from_height(height: Tensor, log_variance: Tensor, height_2d: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
    """Objects of a height (B, K), metres, seen this high (B, K), pixels -> their depths and these log variances (B, K).

    Args:
        height: the means of Laplace distributions.
        log_variance: (B, K) of the heights.
        height_2d: of the 2D boxes.
        P: (B, 3, 4).
    """
    focal = P[:, None, 1, 1] / reference_focal_scale(P)[:, None]
    metres = focal / height_2d.clamp(min=_LOWEST)  # of depth for each metre of height
    return metres * height, log_variance + 2 * metres.log()


def coordinate_maps(boxes: Tensor, P: Tensor, bins: int) -> Tensor:
    """2D boxes (B, K, 4), pixels -> (B, K, 2, bins, bins): x and y at unit depth, from side to side of each box.

    In the camera's own frame, so that P = [K | 0] and P = [K | K t] mean the same.
    """
    camera, scale = own_projection(P)[:, None], reference_focal_scale(P)[:, None]
    left, top, right, bottom = boxes.unbind(-1)
    depth = torch.ones_like(left)
    (x1, y1, _), (x2, y2, _) = lift(camera, left, top, depth), lift(camera, right, bottom, depth)
    step = torch.linspace(0, 1, bins, device=boxes.device)
    x = (x1 * scale)[..., None] + ((x2 - x1) * scale)[..., None] * step
    y = (y1 * scale)[..., None] + ((y2 - y1) * scale)[..., None] * step
    shape = (-1, -1, bins, bins)
    return torch.stack([x[..., None, :].expand(shape), y[..., None].expand(shape)], 2)
