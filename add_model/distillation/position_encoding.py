"""3D-aware positional encoding: where in space a feature cell looks (ADD, section 3D-aware positional encoding).

A cell is lifted to points in its own camera's optical frame with its sample's own projection, so that a flipped,
cropped or resized image keeps its geometry: the encoding depends on the 3D points alone.
"""

from __future__ import annotations

import math
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.geometry.camera import lift, own_projection, reference_focal_scale

NEAREST, FARTHEST = 1.0, 80.0  # metres: the working range
FRUSTUM_POINTS = 8  # of a token, in the encoding `frustum`


class Encoding(Enum):
    """What the encoding is made of: nothing, the cell's place in the image, one point a cell, or a set of them."""

    none = "none"
    image = "image"
    point = "point"
    frustum = "frustum"


def cell_pixels(rows: int, columns: int, stride: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """(u, v) of the centres of a map's cells, each (rows * columns,), row by row, in pixels of the network's input."""
    v = (torch.arange(rows, device=device) + 0.5) * stride - 0.5
    u = (torch.arange(columns, device=device) + 0.5) * stride - 0.5
    return u.repeat(rows), v.repeat_interleave(columns)


def cell_depth(depth: Tensor, stride: int) -> Tensor:
    """Depth maps (B, H, W), 0 unknown -> (B, H / s * W / s): the nearest known depth within each cell, 0 for none."""
    far = torch.where(depth > 0, depth, torch.inf)[:, None]
    nearest = -functional.max_pool2d(-far, stride)
    return torch.where(nearest.isinf(), 0, nearest).flatten(1)


def at_reference(depth: Tensor, P: Tensor) -> Tensor:
    """Depth maps (B, H, W) in metres, 0 unknown -> the same at the reference focal length, as detectors code depth.

    Teachers see depth this way: metres depend on each view's scale, which images do not show, so a student could not
    follow.
    """
    return depth / reference_focal_scale(P)[:, None, None]


def reference_depth(depth: Tensor, P: Tensor, stride: int) -> Tensor:
    """Depth maps (B, H, W), 0 unknown -> (B, H / s, W / s): `cell_depth` as a map, at the reference focal length."""
    return cell_depth(at_reference(depth, P), stride).unflatten(1, (depth.shape[1] // stride, -1))


def own_points(P: Tensor, u: Tensor, v: Tensor, depth: Tensor) -> Tensor:
    """Pixels (..., N) of cameras P (B, 3, 4) at depths (B, N) -> (B, N, 3) metres in each camera's own optical frame.

    Points of unknown depth (0) are NaN.
    """
    points = torch.stack(lift(own_projection(P)[:, None], u, v, depth), dim=-1)
    return torch.where(depth[..., None] > 0, points, torch.nan)


def image_points(P: Tensor, rows: int, columns: int, stride: int) -> Tensor:
    """(B, N, 1, 3): the cells of a map as if all lay in one plane before a camera that all samples share.

    Depends on the cell alone: the positional encoding of an ordinary transformer, the control for the 3D ones.
    """
    u, v = cell_pixels(rows, columns, stride, P.device)
    scale = FARTHEST / max(rows, columns) / stride
    flat = torch.stack([u * scale - FARTHEST / 2, v * scale - FARTHEST / 2, torch.full_like(u, FARTHEST / 2)], -1)
    return flat.expand(len(P), -1, -1)[:, :, None]


def surface_points(P: Tensor, depth: Tensor, stride: int) -> Tensor:
    """(B, N, 1, 3): what each cell sees, by the depth map (B, H, W) of the network's input; NaN where unknown."""
    rows, columns = depth.shape[1] // stride, depth.shape[2] // stride
    u, v = cell_pixels(rows, columns, stride, P.device)
    return own_points(P, u, v, cell_depth(depth, stride))[:, :, None]


def frustum_points(P: Tensor, rows: int, columns: int, stride: int, bins: int = FRUSTUM_POINTS) -> Tensor:
    """(B, N, bins, 3): points along each cell's ray, at depths spaced evenly in their logarithm."""
    u, v = cell_pixels(rows, columns, stride, P.device)
    steps = torch.linspace(math.log(2.0), math.log(FARTHEST), bins, device=P.device).exp()
    points = own_points(P, u.repeat(bins), v.repeat(bins), steps.repeat_interleave(len(u)).expand(len(P), -1))
    return points.unflatten(1, (bins, -1)).transpose(1, 2)


def map_points(
    encoding: Encoding, P: Tensor, depth: Tensor | None, rows: int, columns: int, stride: int
) -> Tensor | None:
    """(B, N, D, 3) metres: where the cells of a map look, as the encoding wants it; None for no encoding.

    depth (B, H, W) of the network's input, which `point` alone needs; where a map reaches beyond it, it is unknown.
    """
    if encoding is Encoding.point:
        missing = (0, columns * stride - depth.shape[2], 0, rows * stride - depth.shape[1])
        return surface_points(P, functional.pad(depth, missing), stride)
    if encoding is Encoding.frustum:
        return frustum_points(P, rows, columns, stride)
    return image_points(P, rows, columns, stride) if encoding is Encoding.image else None


class PositionalEncoding(nn.Module):
    """Points (B, N, D, 3) in metres -> (B, N, C): sines of each coordinate at `waves` octaves, then an MLP.

    Directions are encoded beside positions in the logarithm of depth, since what a metre is worth falls with distance.
    A cell of which no point is known gets a learnt vector instead.
    """

    def __init__(self, channels: int, points: int = 1, waves: int = 6) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(waves), persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(points * 3 * (2 * waves + 1), channels), nn.ReLU(inplace=True), nn.Linear(channels, channels)
        )
        self.unknown = nn.Parameter(torch.zeros(channels))

    def forward(self, points: Tensor) -> Tensor:
        known = points.isfinite().all(-1).all(-1)
        x, y, z = torch.where(known[..., None, None], points, 1.0).unbind(-1)
        z = z.clamp(NEAREST, FARTHEST)
        far = (z / NEAREST).log() / math.log(FARTHEST / NEAREST)
        places = torch.stack([(x / z).clamp(-2, 2) / 2, (y / z).clamp(-2, 2) / 2, 2 * far - 1], -1)
        waves = places[..., None] * self.frequencies
        parts = torch.cat([places[..., None], waves.sin(), waves.cos()], -1)
        return torch.where(known[..., None], self.mlp(parts.flatten(2)), self.unknown)
