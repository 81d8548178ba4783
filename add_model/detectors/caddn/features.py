"""What CaDDN's losses, decoding and distillation read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BevFeatures:
    """The ground before each camera, seen from above (bird's-eye view).

    bev_map (B, C, rows, columns): of the bird's-eye network; anchors stand on its cells
    collapsed (B, C', voxel rows, voxel columns): that network's input, the voxels collapsed over height
    depth_logits (B, bins + 1, h, w): of the image's cells
    """

    bev_map: Tensor
    collapsed: Tensor
    depth_logits: Tensor


@dataclass(frozen=True)
class AnchorOutputs:
    """Of each of A anchors.

    class_logits (B, A, C)
    residuals (B, A, 7): of the box, see `decode_residuals`
    direction_logits (B, A, 2)
    """

    class_logits: Tensor
    residuals: Tensor
    direction_logits: Tensor
