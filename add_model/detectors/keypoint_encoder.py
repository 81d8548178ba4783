"""How centre-based detectors code boxes: labelled boxes -> cell targets, and cell outputs -> boxes, its inverse.

An object lives in the cell that its projected 3D centre falls into (MonoDLE, Ma et al., CVPR 2021). A map of
stride s has cell (row i, column j) centred on pixel ((j + 0.5) s - 0.5, (i + 0.5) s - 0.5). Depth is coded at a
reference focal length f_ref: a camera of focal length f sees an object at depth d as large as the reference camera
sees it at d f_ref / f. Headings are coded as the angle between the object and its viewing ray, in the camera's own
optical frame, so that P = [K | 0] and P = [K | K t] of one camera mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.decoding import decode_boxes
from add_model.detectors.target_assignment import MAX_OBJECTS, Limits, assign, box_headings
from add_model.geometry.camera import Camera, reference_focal_scale
from add_model.geometry.heading import encode_heading
from add_model.labels import Labels

Radius = Callable[[np.ndarray, np.ndarray], np.ndarray]


def gaussian_radius(height: np.ndarray, width: np.ndarray, overlap: float = 0.7) -> np.ndarray:
    """How many cells the corners may move until a box of this size overlaps itself by less (CornerNet, section 3.2).

    They may move together, outwards or inwards; inwards costs the most overlap whatever the box's sides are.
    """
    total, area = height + width, width * height
    return (total - np.sqrt(total**2 - 4 * (1 - overlap) * area)) / 4


def published_radius(height: np.ndarray, width: np.ndarray, overlap: float = 0.7) -> np.ndarray:
    """The radius that the published codes of CenterNet, MonoDLE and GUPNet draw.

    They divide the roots of CornerNet's three equations by 2 where 2 a is due, so that the last one, with a = 4
    overlap, always is the smallest.
    """
    total, area = height + width, width * height
    scale = 4 * overlap
    return (-2 * overlap * total + np.sqrt((2 * overlap * total) ** 2 + 4 * scale * (1 - overlap) * area)) / 2


@dataclass(frozen=True)
class KeypointEncoder:
    """Targets and decoding for maps of `stride` pixels.

    radius: heights and widths of 2D boxes (N,) -> radii of the heatmap's peaks (N,), cells
    box_heading: whether headings count against the ray through the 2D box's centre, as GUPNet's published code has it
    """

    classes: ClassSpec = KITTI_CLASSES
    stride: int = 4
    limits: Limits = field(default_factory=Limits)
    radius: Radius = gaussian_radius
    box_heading: bool = False

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict:
        """Targets of one image with M = MAX_OBJECTS rows, see `TargetEncoder`.

        Keys: heatmap and ignore (C, h, w); mask (M,); mask_3d (M,) which of them have their depth, 3D size and 3D
        offset trained on; cell (M,) = row * w + column; label (M,); offset_3d, offset_2d, size_2d (M, 2) in cells;
        depth (M,) at the reference focal length; size_3d (M, 3) metres off the class mean; heading_bin (M,);
        heading_residual (M,).
        """
        rows, columns = camera.height // self.stride, camera.width // self.stride
        targets = self._blank(rows, columns)
        boxes2d = labels.boxes2d
        choice = assign(camera, labels, self.classes, self.limits, self.stride)
        label, chosen = choice.label, choice.chosen
        self._mark_ignored(targets["ignore"], choice.ignored, boxes2d)
        centre = (choice.pixel + 0.5) / self.stride
        n = len(chosen)
        if not n:
            return targets
        cell = np.floor(centre[chosen]).astype(np.int64)
        low, high2d = (boxes2d[chosen, :2] + 0.5) / self.stride, (boxes2d[chosen, 2:] + 0.5) / self.stride
        targets["mask"][:n], targets["mask_3d"][:n] = True, labels.trains_3d
        targets["label"][:n] = label[chosen]
        targets["cell"][:n] = cell[:, 1] * columns + cell[:, 0]
        targets["offset_3d"][:n] = centre[chosen] - (cell + 0.5)
        targets["offset_2d"][:n] = (low + high2d) / 2 - (cell + 0.5)
        targets["size_2d"][:n] = high2d - low
        targets["depth"][:n] = choice.depth[chosen]
        targets["size_3d"][:n] = labels.boxes[chosen, 3:6] - np.array(self.classes.mean_sizes)[label[chosen]]
        heading = box_headings(camera, labels.boxes, boxes2d) if self.box_heading else choice.heading
        targets["heading_bin"][:n], targets["heading_residual"][:n] = encode_heading(heading[chosen])
        radius = np.maximum(0, self.radius(*np.maximum(high2d - low, 0.1).T[::-1])).astype(int)
        # Farthest first, so that where objects share a cell the nearest one's peak stays exact.
        for k in range(n - 1, -1, -1):
            _draw_gaussian(targets["heatmap"][label[chosen[k]]], cell[k], radius[k])
        return targets

    def _blank(self, rows: int, columns: int) -> dict:
        targets = {
            "heatmap": np.zeros((len(self.classes), rows, columns), np.float32),
            "ignore": np.zeros((len(self.classes), rows, columns), bool),
            "mask": np.zeros(MAX_OBJECTS, bool),
            "mask_3d": np.zeros(MAX_OBJECTS, bool),
        }
        targets |= {key: np.zeros(MAX_OBJECTS, np.int64) for key in ("cell", "label", "heading_bin")}
        targets |= {key: np.zeros(MAX_OBJECTS, np.float32) for key in ("depth", "heading_residual")}
        targets |= {key: np.zeros((MAX_OBJECTS, 2), np.float32) for key in ("offset_3d", "offset_2d", "size_2d")}
        return targets | {"size_3d": np.zeros((MAX_OBJECTS, 3), np.float32)}

    def _mark_ignored(self, ignore: np.ndarray, ignored: np.ndarray, boxes2d: np.ndarray) -> None:
        for k in np.flatnonzero(ignored.any(axis=1)):
            left, top, right, bottom = np.round((boxes2d[k] + 0.5) / self.stride).astype(int)
            ignore[ignored[k], max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True

    def decode(
        self, cell: Any, columns: int, label: Any, outputs: dict, P: Any, mean_sizes: Any
    ) -> tuple[Any, Any, Any]:
        """Torch tensors -> (boxes (B, K, 7) in P's frame, boxes2d (B, K, 4) in canvas pixels, depth std (B, K)).

        cell and label are (B, K), columns is the map's width, outputs has offset_3d, offset_2d, size_2d (B, K, 2),
        depth and log_variance (B, K) at the reference focal length, size_3d (B, K, 3) and heading (B, K, 24) as 12
        bin scores and 12 residuals; P (B, 3, 4) of the canvas; mean_sizes (C, 3).
        """
        row = cell // columns
        column, row = cell - row * columns + 0.5, row + 0.5  # ONNX's remainder takes no symbolic size
        u = (column + outputs["offset_3d"][..., 0]) * self.stride - 0.5
        v = (row + outputs["offset_3d"][..., 1]) * self.stride - 0.5
        scale = reference_focal_scale(P[:, None])
        size = (mean_sizes[label] + outputs["size_3d"]).clamp(min=0.1)
        centre = torch.stack([column, row], -1) + outputs["offset_2d"]
        middle = centre[..., 0] * self.stride - 0.5 if self.box_heading else None
        boxes = decode_boxes(P, u, v, outputs["depth"] * scale, size, outputs["heading"], middle)
        half = outputs["size_2d"].clamp(min=0) / 2
        boxes2d = torch.cat([centre - half, centre + half], dim=-1) * self.stride - 0.5
        return boxes, boxes2d, torch.exp(outputs["log_variance"] / 2) * scale


def _draw_gaussian(heatmap: np.ndarray, cell: np.ndarray, radius: int) -> None:
    """Raise the map (h, w) to a Gaussian of this radius in cells around the cell (column, row)."""
    column, row = cell
    rows, columns = heatmap.shape
    top, bottom = max(row - radius, 0), min(row + radius + 1, rows)
    left, right = max(column - radius, 0), min(column + radius + 1, columns)
    y, x = np.ogrid[top - row : bottom - row, left - column : right - column]
    sigma = (2 * radius + 1) / 6
    patch = heatmap[top:bottom, left:right]
    np.maximum(patch, np.exp(-(x * x + y * y) / (2 * sigma * sigma)), out=patch, casting="same_kind")
