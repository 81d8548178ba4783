"""CaDDN's voxel grid before the camera, anchors on its ground, and how boxes are coded against anchors.

All in the camera's own optical frame, in metres. The grid's axes are those of a LiDAR that looks where the camera does:
forward (z), left (-x) and up (-y). Rows of a bird's-eye map go forward, its columns left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from add_model.classes import KITTI_CLASSES, ClassSpec, ObjectClass
from add_model.detectors.caddn.depth_targets import DepthTargets, nearest_known
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import MAX_OBJECTS, Assignment, Limits, assign, require_3d
from add_model.errors import ModelError
from add_model.geometry.camera import Camera, reference_focal_scale
from add_model.labels import Labels

HEADINGS = (0.0, math.pi / 2)  # rotation_y of the two anchors of each class
_LARGE = 2.5  # metres: longer classes than this have large anchors
_TURN = math.pi / 4  # headings from this to this plus pi have direction 0


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
    """Targets for anchors on the ground and for a depth map.

    Anchors whose overlap with an object of their class is at least the first of two overlaps are positive, below the
    second negative; those between do not count.

    grid, stride: anchors stand on cells of `stride` voxels
    bins, map_stride: of the depth map, at the reference focal length and in pixels
    limits: objects beyond them are ignored
    classes: those of the detector
    camera_height: metres above the ground, on which anchors stand; the default is KITTI's
    depth_targets: which depth of a cell counts
    large_overlaps, small_overlaps: of classes longer than 2.5 m on average, and of others
    """

    grid: Grid
    stride: int
    bins: DepthBins
    map_stride: int
    limits: Limits
    classes: ClassSpec = KITTI_CLASSES
    camera_height: float = 1.65
    depth_targets: DepthTargets = nearest_known
    large_overlaps: tuple[float, float] = (0.6, 0.45)
    small_overlaps: tuple[float, float] = (0.5, 0.35)

    @property
    def anchors(self) -> np.ndarray:
        """(rows, columns, classes, headings, 7) boxes that stand on the ground."""
        z, x, _ = self.grid.centres(self.stride)
        boxes = np.empty((len(z), len(x), len(self.classes), len(HEADINGS), 7))
        sizes = np.array(self.classes.mean_sizes)[:, None]
        boxes[..., 0], boxes[..., 2] = x[:, None, None], z[:, None, None, None]
        boxes[..., 1] = self.camera_height - sizes[..., 2] / 2
        boxes[..., 3:6], boxes[..., 6] = sizes, HEADINGS
        return boxes

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict:
        """Targets of one image with M = MAX_OBJECTS rows, see `TargetEncoder`. Raises ModelError without a depth map.

        Keys: mask (M,); label (M,); box (M, 7) in the camera's own frame; anchor_object (rows, columns, classes,
        headings) the row of the object that a positive anchor belongs to, -1 for negative anchors, -2 for those that
        do not count; depth_bin (h, w) of each cell, see `depth_targets`; depth_foreground (h, w) whether a cell is in
        an object's 2D box.
        """
        if depth_map is None:
            raise ModelError("CaDDN trains on depth maps: give data.depth lidar, object or dense")
        require_3d(labels, "CaDDN")
        choice = assign(camera, labels, self.classes, self.limits)
        own_boxes = labels.boxes.copy()
        own_boxes[:, :3] += camera.translation
        in_grid = self._in_grid(own_boxes)
        chosen = choice.chosen[in_grid[choice.chosen]]
        n = len(chosen)
        targets = {"mask": np.arange(MAX_OBJECTS) < n, "label": np.zeros(MAX_OBJECTS, np.int64)}
        targets["box"] = np.zeros((MAX_OBJECTS, 7), np.float32)
        targets["label"][:n], targets["box"][:n] = choice.label[chosen], own_boxes[chosen]
        ignored = _ignored(choice, chosen, labels.background) & np.isfinite(own_boxes).all(axis=1)[:, None]
        targets["anchor_object"] = self._assign_anchors(own_boxes[chosen], choice.label[chosen], own_boxes, ignored)
        targets |= self._depth(camera, labels.boxes2d[choice.label >= 0], depth_map)
        return targets

    def _in_grid(self, boxes: np.ndarray) -> np.ndarray:
        """Which boxes (N, 7) in the camera's own frame have their centre over the grid."""
        low, high = self.grid.low, self.grid.high
        forward, left = boxes[:, 2], -boxes[:, 0]
        with np.errstate(invalid="ignore"):
            return (forward >= low[0]) & (forward < high[0]) & (left >= low[1]) & (left < high[1])

    def _overlaps(self, kind: ObjectClass) -> tuple[float, float]:
        return self.large_overlaps if kind.mean_size[0] > _LARGE else self.small_overlaps

    def _assign_anchors(
        self, objects: np.ndarray, label: np.ndarray, boxes: np.ndarray, ignored: np.ndarray
    ) -> np.ndarray:
        """Objects (K, 7) with labels (K,) to train on, and all boxes (N, 7), ignored (N, C) -> `anchor_object`."""
        z, x, _ = self.grid.centres(self.stride)
        anchor_object = np.empty((len(z), len(x), len(self.classes), len(HEADINGS)), np.int16)
        for index, kind in enumerate(self.classes):
            positive, negative = self._overlaps(kind)
            best = np.zeros((len(z), len(x), len(HEADINGS)))
            assigned = anchor_object[:, :, index]
            forced = []
            for k in np.flatnonzero(label == index):
                overlap = _anchor_overlaps(objects[k], kind.mean_size, z, x)
                better = overlap > best
                assigned[better], best[better] = k, overlap[better]
                forced.append((k, np.unravel_index(overlap.argmax(), overlap.shape)))
            assigned[(best < positive) & (best >= negative)] = -2
            assigned[best < negative] = -1
            for box in boxes[ignored[:, index]]:
                assigned[(_anchor_overlaps(box, kind.mean_size, z, x) >= negative) & (assigned < 0)] = -2
            for k, best_anchor in forced:
                assigned[best_anchor] = k  # every object has an anchor
        return anchor_object

    def _depth(self, camera: Camera, boxes2d: np.ndarray, depth: np.ndarray) -> dict:
        s = self.map_stride
        depth_bin = self.depth_targets(depth, s, self.bins, reference_focal_scale(camera.P))
        foreground = np.zeros(depth_bin.shape, bool)
        for box in boxes2d:
            (left, top), (right, bottom) = np.floor((box[:2] + 0.5) / s), np.ceil((box[2:] + 0.5) / s)
            foreground[max(int(top), 0) : max(int(bottom), 0), max(int(left), 0) : max(int(right), 0)] = True
        return {"depth_bin": depth_bin, "depth_foreground": foreground}


def _ignored(choice: Assignment, chosen: np.ndarray, background: bool) -> np.ndarray:
    """`Assignment.ignored` (N, C) of a detector that trains on `chosen` alone, since the others lie beyond its grid."""
    if background:
        return choice.ignored
    ignored = choice.ignored.copy()
    ignored[chosen] = False
    outside = np.setdiff1d(choice.chosen, chosen)
    ignored[outside, choice.label[outside]] = True
    return ignored


def _anchor_overlaps(box: np.ndarray, size: tuple[float, float, float], z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """BEV intersection over union (rows, columns, headings) of anchors of this size with a box (7,), which is turned
    to the nearest right angle.
    """
    across = abs(math.cos(box[6])) >= abs(math.sin(box[6]))
    along_x, along_z = (box[3], box[4]) if across else (box[4], box[3])
    iou = np.empty((len(z), len(x), len(HEADINGS)))
    for i, (anchor_x, anchor_z) in enumerate(((size[0], size[1]), (size[1], size[0]))):
        common = _common(z, anchor_z, box[2], along_z)[:, None] * _common(x, anchor_x, box[0], along_x)
        iou[:, :, i] = common / (along_x * along_z + anchor_x * anchor_z - common)
    return iou


def _common(centres: np.ndarray, length: float, centre: float, other_length: float) -> np.ndarray:
    """The overlap in metres of intervals of one length around many centres with another interval."""
    low = np.maximum(centres - length / 2, centre - other_length / 2)
    return np.clip(np.minimum(centres + length / 2, centre + other_length / 2) - low, 0, None)


def encode_residuals(boxes: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes, their anchors (..., 7) -> residuals (..., 7), direction (...) 0 or 1: the inverse of `decode_residuals`.

    Positions on the ground are divided by the anchor's diagonal, heights by its height; sizes are coded by the
    logarithm of their ratio (Yan et al., SECOND, 2018, section 3.2).
    """
    diagonal = anchors[..., 3:5].norm(dim=-1, keepdim=True)
    unit = torch.cat([diagonal, anchors[..., 5:6], diagonal], -1)
    centre = (boxes[..., :3] - anchors[..., :3]) / unit
    size = (boxes[..., 3:6] / anchors[..., 3:6]).log()
    direction = torch.floor(_wrapped(boxes[..., 6] - _TURN, 2 * math.pi) / math.pi).long().clamp(0, 1)
    return torch.cat([centre, size, boxes[..., 6:] - anchors[..., 6:]], -1), direction


def decode_residuals(residuals: Tensor, direction: Tensor, anchors: Tensor) -> Tensor:
    """Residuals and anchors (..., 7), direction (...) 0 or 1 -> boxes (..., 7), headings in [-pi, pi).

    The residual gives the heading up to half a turn, since its loss is that of its sine; the direction gives the half.
    """
    diagonal = anchors[..., 3:5].norm(dim=-1, keepdim=True)
    unit = torch.cat([diagonal, anchors[..., 5:6], diagonal], -1)
    centre = residuals[..., :3] * unit + anchors[..., :3]
    size = residuals[..., 3:6].clamp(-3, 3).exp() * anchors[..., 3:6]
    heading = _wrapped(residuals[..., 6] + anchors[..., 6] - _TURN, math.pi) + _TURN + math.pi * direction
    heading = _wrapped(heading + math.pi, 2 * math.pi) - math.pi
    return torch.cat([centre, size, heading[..., None]], -1)


def _wrapped(angle: Tensor, period: float) -> Tensor:
    """Into [0, period)."""
    return angle - torch.floor(angle / period) * period
