"""Which labels are taught, how boxes are coded, and the one coder of centre-based detectors: labelled boxes -> cell
targets, cell outputs -> boxes, inverse functions.

An object lives in the cell that its projected 3D centre falls into (MonoDLE, Ma et al., CVPR 2021). A map of
stride s has cell (row i, column j) centred on pixel ((j + 0.5) s - 0.5, (i + 0.5) s - 0.5). Depth is coded at a
reference focal length f_ref: a camera of focal length f sees an object at depth d as large as the reference camera
sees it at d f_ref / f. Headings are coded as the angle between the object and its viewing ray, in the camera's own
optical frame, so that P = [K | 0] and P = [K | K t] of one camera mean the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from add_model import boxes as box3d
from add_model.camera import Camera, lift
from add_model.view import REFERENCE_FOCAL

CLASSES = ("Car", "Pedestrian", "Cyclist")
# Mean length, width, height in metres of each class in KITTI's training labels.
MEAN_SIZES = ((3.884, 1.629, 1.526), (0.844, 0.660, 1.761), (1.763, 0.597, 1.737))
HEADING_BINS = 12
MAX_OBJECTS = 50
# Types that look like a class without counting as it: their region teaches that class nothing.
NEIGHBOURS = {"Van": "Car", "Truck": "Car", "Person_sitting": "Pedestrian"}
_TYPES = {name.lower(): name for name in (*CLASSES, *NEIGHBOURS, "DontCare")}


def reference_focal_scale(P: Any) -> Any:
    """Metres of depth for each metre at the reference focal length: sqrt(fu fv) / f_ref. P is (..., 3, 4)."""
    return (P[..., 0, 0] * P[..., 1, 1]) ** 0.5 / REFERENCE_FOCAL


def own_projection(P: torch.Tensor) -> torch.Tensor:
    """P (..., 3, 4) -> the same cameras' projections (..., 3, 4) from their own optical frames: no fourth column."""
    return torch.cat([P[..., :3], torch.zeros_like(P[..., 3:])], dim=-1)


def encode_heading(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (N,) -> (bin index (N,), residual (N,) in [-pi / 12, pi / 12]); bin b is centred on b pi / 6."""
    width = 2 * np.pi / HEADING_BINS
    index = np.round((angle % (2 * np.pi)) / width).astype(np.int64) % HEADING_BINS
    return index, box3d.wrap(angle - index * width)


def decode_heading(index: Any, residual: Any) -> Any:
    """Bin indices and residuals -> angles, radians, up to whole turns: the inverse of `encode_heading`."""
    return index * (2 * math.pi / HEADING_BINS) + residual


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


class Encoder(Protocol):
    """How labels become what a detector is taught: its attribute `coder`. Runs in loader processes: numpy alone."""

    def encode(
        self,
        camera: Camera,
        names: np.ndarray,
        boxes: np.ndarray,
        boxes2d: np.ndarray,
        teachable: np.ndarray,
        depth_map: np.ndarray | None = None,
    ) -> dict:
        """Targets of one image as a dict of arrays, of the same shapes for all images of one size.

        names (N,) in any case, boxes (N, 7) in P's frame, boxes2d (N, 4) in canvas pixels, teachable (N,) False for
        objects that are too hidden to be learnt from; depth_map (H, W) metres, 0 unknown, where the frames come with
        one. `mask` (M,) says which of the objects' rows are real; losses are divided by their number.
        """


@dataclass(frozen=True)
class Labelled:
    """The labels of one image, as detectors want them. N labels, K of which are taught.

    label (N,) index into CLASSES, -1 for other types; pixel (N, 2) of the projected 3D centre; depth (N,) at the
    reference focal length; heading (N,) against the viewing ray, radians; taught (N,); chosen (K,) indices of those
    taught, nearest first, at most MAX_OBJECTS; ignored (N, C) the classes that must not be punished for answering where
    this label is.
    """

    label: np.ndarray
    pixel: np.ndarray
    depth: np.ndarray
    heading: np.ndarray
    taught: np.ndarray
    chosen: np.ndarray
    ignored: np.ndarray


def choose(
    camera: Camera,
    names: np.ndarray,
    boxes: np.ndarray,
    boxes2d: np.ndarray,
    teachable: np.ndarray,
    min_height: float,
    max_depth: float,
    stride: int = 1,
) -> Labelled:
    """Which objects are taught: those with their 3D centre in the image, high enough, near enough and `teachable`.

    The image reaches as far as whole cells of `stride` pixels; the other arguments are those of `Encoder` and `Coder`.
    """
    names = np.array([_TYPES.get(str(name).lower(), name) for name in names], dtype=str)
    label = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in names], dtype=np.int64)
    own = boxes[:, :3] + camera.translation
    uvd = camera.project(boxes[:, :3]) if len(boxes) else np.empty((0, 3))
    depth = uvd[:, 2] / reference_focal_scale(camera.P)
    with np.errstate(invalid="ignore"):
        centre, cells = (uvd[:, :2] + 0.5) / stride, (camera.width // stride, camera.height // stride)
        inside = ((centre >= 0) & (centre < cells)).all(axis=1) & (depth > 0.5)
        high = boxes2d[:, 3] - boxes2d[:, 1] >= min_height
        taught = (label >= 0) & inside & high & (depth <= max_depth) & teachable
        heading = boxes[:, 6] - np.arctan2(own[:, 0], own[:, 2])
    chosen = np.flatnonzero(taught)
    chosen = chosen[np.argsort(depth[chosen], kind="stable")][:MAX_OBJECTS]
    ignored = np.zeros((len(names), len(CLASSES)), bool)
    for k in np.flatnonzero(~taught):
        if label[k] >= 0:
            ignored[k, label[k]] = True
        elif names[k] in NEIGHBOURS:
            ignored[k, CLASSES.index(NEIGHBOURS[names[k]])] = True
        elif names[k] == "DontCare":
            ignored[k] = True
    return Labelled(label, uvd[:, :2], depth, heading, taught, chosen, ignored)


def gaussian_radius(height: np.ndarray, width: np.ndarray, overlap: float = 0.7) -> np.ndarray:
    """How many cells a corner may move until a box of this size overlaps itself by less (CornerNet, section 3.2)."""
    total, area = height + width, width * height
    inner = (total - np.sqrt(total**2 - 4 * area * (1 - overlap) / (1 + overlap))) / 2
    outer = (total - np.sqrt(total**2 - 4 * (1 - overlap) * area)) / 4
    scale = 4 * overlap
    around = (-2 * overlap * total + np.sqrt((2 * overlap * total) ** 2 + 4 * scale * (1 - overlap) * area)) / (
        2 * scale
    )
    return np.minimum(np.minimum(inner, outer), around)


@dataclass(frozen=True)
class Coder:
    """Targets and decoding for maps of `stride` pixels.

    min_height: objects whose 2D box is lower than this many canvas pixels are neither taught nor punished.
    max_depth: the same for objects farther than this at the reference focal length, metres.
    """

    stride: int = 4
    min_height: float = 8.0
    max_depth: float = 65.0

    def encode(
        self,
        camera: Camera,
        names: np.ndarray,
        boxes: np.ndarray,
        boxes2d: np.ndarray,
        teachable: np.ndarray,
        depth_map: np.ndarray | None = None,
    ) -> dict:
        """Targets of one image, as a dict of arrays with M = MAX_OBJECTS rows, see `Encoder`.

        Keys: heatmap and ignore (C, h, w); mask (M,); cell (M,) = row * w + column; label (M,); offset_3d, offset_2d,
        size_2d (M, 2) in cells; depth (M,) at the reference focal length; size_3d (M, 3) metres off the class mean;
        heading_bin (M,); heading_residual (M,).
        """
        rows, columns = camera.height // self.stride, camera.width // self.stride
        targets = self._blank(rows, columns)
        labelled = choose(camera, names, boxes, boxes2d, teachable, self.min_height, self.max_depth, self.stride)
        label, depth, chosen = labelled.label, labelled.depth, labelled.chosen
        self._mark_ignored(targets["ignore"], labelled.ignored, boxes2d)
        centre = (labelled.pixel + 0.5) / self.stride
        n = len(chosen)
        if not n:
            return targets
        cell = np.floor(centre[chosen]).astype(np.int64)
        low, high2d = (boxes2d[chosen, :2] + 0.5) / self.stride, (boxes2d[chosen, 2:] + 0.5) / self.stride
        targets["mask"][:n] = True
        targets["label"][:n] = label[chosen]
        targets["cell"][:n] = cell[:, 1] * columns + cell[:, 0]
        targets["offset_3d"][:n] = centre[chosen] - (cell + 0.5)
        targets["offset_2d"][:n] = (low + high2d) / 2 - (cell + 0.5)
        targets["size_2d"][:n] = high2d - low
        targets["depth"][:n] = depth[chosen]
        targets["size_3d"][:n] = boxes[chosen, 3:6] - np.array(MEAN_SIZES)[label[chosen]]
        targets["heading_bin"][:n], targets["heading_residual"][:n] = encode_heading(labelled.heading[chosen])
        radius = np.maximum(0, gaussian_radius(*np.maximum(high2d - low, 0.1).T[::-1])).astype(int)
        # Farthest first, so that where objects share a cell the nearest one's peak stays exact.
        for k in range(n - 1, -1, -1):
            _draw_gaussian(targets["heatmap"][label[chosen[k]]], cell[k], radius[k])
        return targets

    def _blank(self, rows: int, columns: int) -> dict:
        targets = {
            "heatmap": np.zeros((len(CLASSES), rows, columns), np.float32),
            "ignore": np.zeros((len(CLASSES), rows, columns), bool),
            "mask": np.zeros(MAX_OBJECTS, bool),
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
        boxes = decode_boxes(P, u, v, outputs["depth"] * scale, size, outputs["heading"])
        centre = torch.stack([column, row], -1) + outputs["offset_2d"]
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
