"""CaDDN's ground: the voxel grid before the camera, anchors on it, and how boxes are coded against anchors.

All in the camera's own optical frame, in metres. The grid's axes are those of a LiDAR that looks where the camera does:
forward (z), left (-x) and up (-y). Rows of a bird's-eye map go forward, its columns left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import CLASSES, MAX_OBJECTS, MEAN_SIZES, Limits, choose
from add_model.errors import ModelError
from add_model.geometry.camera import Camera, reference_focal_scale
from add_model.labels import Labels

HEADINGS = (0.0, math.pi / 2)  # rotation_y of the two anchors of each class
_GROUND = 1.65  # metres below the camera: KITTI's camera stands so high
# A class's anchors that overlap an object by more than the first are its, by less than the second are background.
_OVERLAPS = ((0.6, 0.45), (0.5, 0.35), (0.5, 0.35))
_TURN = math.pi / 4  # headings between this and this plus pi are of the first direction


@dataclass(frozen=True)
class Grid:
    """Voxels from `low` to `high`, each (forward, left, up) in metres, of these sides."""

    low: tuple[float, float, float] = (2.0, -30.08, -3.0)
    high: tuple[float, float, float] = (46.8, 30.08, 1.0)
    sides: tuple[float, float, float] = (0.16, 0.16, 0.16)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, columns, heights)."""
        return tuple(round((b - a) / s) for a, b, s in zip(self.low, self.high, self.sides, strict=True))

    def centres(self, stride: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(z of the rows, x of the columns, y of the heights), metres; of cells of `stride` voxels on the ground."""
        steps = [n // k for n, k in zip(self.shape, (stride, stride, 1), strict=True)]
        forward, left, up = (
            a + (b - a) / n * (np.arange(n) + 0.5) for a, b, n in zip(self.low, self.high, steps, strict=True)
        )
        return forward, -left, -up


@dataclass(frozen=True)
class AnchorTargetEncoder:
    """Targets for anchors on cells of `stride` voxels, and for a depth map of `map_stride` pixels with these bins.

    bins are at the reference focal length.
    """

    grid: Grid
    stride: int
    bins: DepthBins
    map_stride: int
    limits: Limits

    @property
    def anchors(self) -> np.ndarray:
        """(rows, columns, classes, headings, 7) boxes that stand on the ground."""
        z, x, _ = self.grid.centres(self.stride)
        boxes = np.empty((len(z), len(x), len(CLASSES), len(HEADINGS), 7))
        sizes = np.array(MEAN_SIZES)[:, None]
        boxes[..., 0], boxes[..., 2] = x[:, None, None], z[:, None, None, None]
        boxes[..., 1] = _GROUND - sizes[..., 2] / 2
        boxes[..., 3:6], boxes[..., 6] = sizes, HEADINGS
        return boxes

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict:
        """Targets of one image, see `TargetEncoder`, with M = MAX_OBJECTS rows. Raises ModelError without a depth map.

        Keys: mask (M,); label (M,); box (M, 7) in the camera's own frame; anchor_object (rows, columns, classes,
        headings) the row of the object that an anchor answers for, -1 for background, -2 where neither is right;
        depth_bin (h, w) the bin of the nearest known depth in each cell, the number of bins beyond the last, -1 where
        unknown; depth_foreground (h, w) whether a cell is in an object's 2D box.
        """
        if depth_map is None:
            raise ModelError("CaDDN is taught by depth maps: give data.depth lidar, object or dense")
        choice = choose(camera, labels, self.limits)
        own = labels.boxes.copy()
        own[:, :3] += camera.translation
        low, high = self.grid.low, self.grid.high
        with np.errstate(invalid="ignore"):
            inside = (own[:, 2] >= low[0]) & (own[:, 2] < high[0]) & (-own[:, 0] >= low[1]) & (-own[:, 0] < high[1])
        chosen = choice.chosen[inside[choice.chosen]]
        n = len(chosen)
        targets = {"mask": np.arange(MAX_OBJECTS) < n, "label": np.zeros(MAX_OBJECTS, np.int64)}
        targets["box"] = np.zeros((MAX_OBJECTS, 7), np.float32)
        targets["label"][:n], targets["box"][:n] = choice.label[chosen], own[chosen]
        ignored = choice.ignored.copy()
        ignored[chosen] = False
        outside = choice.chosen[~inside[choice.chosen]]
        ignored[outside, choice.label[outside]] = True
        ignored &= np.isfinite(own).all(axis=1)[:, None]
        targets["anchor_object"] = self._assign(own[chosen], choice.label[chosen], own, ignored)
        targets |= self._depth(camera, labels.boxes2d[choice.label >= 0], depth_map)
        return targets

    def _assign(self, objects: np.ndarray, label: np.ndarray, others: np.ndarray, ignored: np.ndarray) -> np.ndarray:
        z, x, _ = self.grid.centres(self.stride)
        owner = np.full((len(z), len(x), len(CLASSES), len(HEADINGS)), -1, np.int16)
        for kind, (enough, little) in enumerate(_OVERLAPS):
            mine = np.flatnonzero(label == kind)
            best = np.zeros((len(z), len(x), len(HEADINGS)))
            taken = owner[:, :, kind]
            forced = []
            for k in mine:
                overlap = _overlaps(objects[k], MEAN_SIZES[kind], z, x)
                better = overlap > best
                taken[better], best[better] = k, overlap[better]
                forced.append((k, np.unravel_index(overlap.argmax(), overlap.shape)))
            taken[(best < enough) & (best >= little)] = -2
            taken[best < little] = -1
            for box in others[ignored[:, kind]]:
                taken[(_overlaps(box, MEAN_SIZES[kind], z, x) >= little) & (taken < 0)] = -2
            for k, where in forced:
                taken[where] = k  # every object has an anchor
        return owner

    def _depth(self, camera: Camera, boxes2d: np.ndarray, depth: np.ndarray) -> dict:
        s = self.map_stride
        rows, columns = camera.height // s, camera.width // s
        cells = depth[: rows * s, : columns * s].reshape(rows, s, columns, s)
        nearest = np.where(cells > 0, cells, np.inf).min(axis=(1, 3))
        known = np.isfinite(nearest)
        bins = self.bins.label(np.where(known, nearest, 0) / reference_focal_scale(camera.P))
        foreground = np.zeros((rows, columns), bool)
        for box in boxes2d:
            (left, top), (right, bottom) = np.floor((box[:2] + 0.5) / s), np.ceil((box[2:] + 0.5) / s)
            foreground[max(int(top), 0) : max(int(bottom), 0), max(int(left), 0) : max(int(right), 0)] = True
        return {"depth_bin": np.where(known, bins, -1), "depth_foreground": foreground}


def _overlaps(box: np.ndarray, size: tuple[float, float, float], z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Intersection over union (rows, columns, headings), from above, of anchors of this size and a box (7,), turned to
    the nearest right angle.
    """
    across = abs(math.cos(box[6])) >= abs(math.sin(box[6]))
    along_x, along_z = (box[3], box[4]) if across else (box[4], box[3])
    found = np.empty((len(z), len(x), len(HEADINGS)))
    for i, (anchor_x, anchor_z) in enumerate(((size[0], size[1]), (size[1], size[0]))):
        common = _common(z, anchor_z, box[2], along_z)[:, None] * _common(x, anchor_x, box[0], along_x)
        found[:, :, i] = common / (along_x * along_z + anchor_x * anchor_z - common)
    return found


def _common(places: np.ndarray, length: float, place: float, other: float) -> np.ndarray:
    """What intervals of this length around many places share with one of another length around its place."""
    low = np.maximum(places - length / 2, place - other / 2)
    return np.clip(np.minimum(places + length / 2, place + other / 2) - low, 0, None)


def encode_residuals(boxes: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes, their anchors (..., 7) -> residuals (..., 7), direction (...) 0 or 1: the inverse of `decode_residuals`.

    Positions on the ground by the anchor's diagonal, heights by its own, sizes by their logarithm (Yan et al., SECOND,
    2018, section 3.2).
    """
    diagonal = anchors[..., 3:5].norm(dim=-1, keepdim=True)
    unit = torch.cat([diagonal, anchors[..., 5:6], diagonal], -1)
    place = (boxes[..., :3] - anchors[..., :3]) / unit
    size = (boxes[..., 3:6] / anchors[..., 3:6]).log()
    direction = torch.floor(_within(boxes[..., 6] - _TURN, 2 * math.pi) / math.pi).long().clamp(0, 1)
    return torch.cat([place, size, boxes[..., 6:] - anchors[..., 6:]], -1), direction


def decode_residuals(residuals: Tensor, direction: Tensor, anchors: Tensor) -> Tensor:
    """Residuals and anchors (..., 7), direction (...) 0 or 1 -> boxes (..., 7), headings in [-pi, pi).

    The residual says the heading up to half a turn, since it is learnt by its sine; the direction says which half.
    """
    diagonal = anchors[..., 3:5].norm(dim=-1, keepdim=True)
    unit = torch.cat([diagonal, anchors[..., 5:6], diagonal], -1)
    place = residuals[..., :3] * unit + anchors[..., :3]
    size = residuals[..., 3:6].clamp(-3, 3).exp() * anchors[..., 3:6]
    heading = _within(residuals[..., 6] + anchors[..., 6] - _TURN, math.pi) + _TURN + math.pi * direction
    heading = _within(heading + math.pi, 2 * math.pi) - math.pi
    return torch.cat([place, size, heading[..., None]], -1)


def _within(angle: Tensor, period: float) -> Tensor:
    return angle - torch.floor(angle / period) * period
