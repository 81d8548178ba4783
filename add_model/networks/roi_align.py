"""RoIAlign (He et al., 'Mask R-CNN', ICCV 2017, section 3) in plain torch, as two small matrices per region.

A bin of the output is the mean of S_y x S_x bilinear samples on a regular grid inside it. Interpolation, grid and mean
are all products of a function of y and one of x, so the whole operator is

    out[k, c] = A_y[k] @ features[c] @ A_x[k].T,   A_y (bins, h), A_x (bins, w),

where row p of A holds the mean interpolation weights of bin p's samples. That is exact for any number of samples, here
ceil(bin size). It equals torchvision's `roi_align(aligned=True)` for regions of at least one cell; smaller ones are
grown to a cell, as its `aligned=False` does. An exported graph has ONNX's own RoiAlign node, which is six times as
fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEAREST = 6  # samples around a cell: spaced by more than half a cell, 4 can touch it; and one to spare on each side


def roi_align(features: Tensor, boxes: Tensor, bins: int = 7) -> Tensor:
    """Pool regions of a map.

    Args:
        features: (B, C, h, w).
        boxes: (B, K, 4) left, top, right, bottom in cells; the cell in row i and column j is centred on
            (j + 0.5, i + 0.5). They get no gradient. Samples more than half a cell outside the map count as 0.
        bins: along each side of a region.

    Returns:
        (B, K, C, bins, bins).
    """
    low, high = boxes.detach().split(2, dim=-1)
    low = low - 0.5
    high = torch.maximum(high - 0.5, low + 1)
    if torch.compiler.is_exporting():
        return _onnx_roi_align(features, torch.cat([low, high], -1), bins)
    down = _axis_weights(low[..., 1], high[..., 1], features.shape[2], bins)  # (B, K, p, h)
    across = _axis_weights(low[..., 0], high[..., 0], features.shape[3], bins)  # (B, K, q, w)
    strips = features.flatten(1, 2) @ across.flatten(1, 2).transpose(1, 2)  # (B, C h, K q)
    strips = strips.unflatten(2, across.shape[1:3]).unflatten(1, features.shape[1:3])  # (B, C, h, K, q)
    pooled = down @ strips.permute(0, 3, 2, 1, 4).flatten(3)  # (B, K, p, C q)
    return pooled.unflatten(3, (features.shape[1], bins)).transpose(2, 3)


def _axis_weights(start: Tensor, end: Tensor, cells: int, bins: int) -> Tensor:
    """Intervals [start, end] (...,) along one axis, cell j centred on j -> mean weights (..., bins, cells)."""
    size = ((end - start) / bins)[..., None, None, None]
    positions = {"dtype": start.dtype, "device": start.device}
    low = start[..., None, None, None] + torch.arange(bins, **positions)[:, None, None] * size  # (..., bins, 1, 1)
    cell = torch.arange(cells, **positions)[:, None]
    # ceil(size) samples, more than half a cell apart where they are several: a handful of them touch a cell, however
    # large the region. Look at those around it.
    count = size.ceil()
    nearest = ((cell - low) / size * count).floor() - _NEAREST // 2
    sample = torch.minimum(nearest.clamp(min=0), count - 1) + torch.arange(_NEAREST, **positions)
    position = low + (sample + 0.5) * size / count  # (..., bins, cells, _NEAREST)
    valid = (position >= -1) & (position <= cells) & (sample < count)
    weight = (1 - (position.clamp(0, cells - 1) - cell).abs()).clamp(min=0)
    return torch.where(valid, weight, 0).sum(-1) / count[..., 0]


def _onnx_roi_align(features: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """Boxes (B, K, 4), cell j centred on j -> the same by one node; without meaning outside an export."""
    rois = boxes.flatten(0, 1)
    # Not by len, nor by expanding a range of images: both would export the number of images as a constant.
    image = torch.div(torch.arange(rois.shape[0]), boxes.shape[1], rounding_mode="floor")
    pooled = torch.onnx.ops.symbolic(
        "RoiAlign",
        (features, rois, image),
        attrs={
            "mode": "avg",
            "output_height": bins,
            "output_width": bins,
            "sampling_ratio": 0,  # adaptive
            "spatial_scale": 1.0,
            "coordinate_transformation_mode": "output_half_pixel",  # no shift
        },
        dtype=features.dtype,
        shape=(rois.shape[0], features.shape[1], bins, bins),
        version=16,
    )
    return pooled.unflatten(0, boxes.shape[:2])
