"""MonoDETR's targets: a set of objects, and a depth map of the objects' 2D boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import MAX_OBJECTS, Limits, assign, box_headings, require_3d
from add_model.geometry.camera import Camera
from add_model.geometry.heading import encode_heading
from add_model.labels import Labels


@dataclass(frozen=True)
class SetTargetEncoder:
    """Targets for a set of objects and for a depth map.

    stride: of the depth map, pixels
    bins: of the depth map, at the reference focal length
    limits: objects beyond them are ignored
    classes: those of the detector
    keep_cut, box_heading, far_cells: see `Conventions`
    """

    stride: int
    bins: DepthBins
    limits: Limits
    classes: ClassSpec = KITTI_CLASSES
    keep_cut: bool = True
    box_heading: bool = False
    far_cells: bool = False

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict:
        """Targets of one image with M = MAX_OBJECTS rows, see `TargetEncoder`.

        Keys: mask (M,); label (M,); centre (M, 2) pixels of the projected 3D centre; sides (M, 4) pixels from there to
        the 2D box's left, top, right and bottom; depth (M,) at the reference focal length; size_3d (M, 3) metres;
        heading_bin, heading_residual (M,); ignored (M, 4) 2D boxes in pixels where the classes of ignored_class (M, C)
        do not count as wrong; depth_bin (h, w) the nearest object's bin, the number of bins for none, one more for an
        object beyond them that counts, -1 where ignored.
        """
        require_3d(labels, "MonoDETR")
        choice = assign(camera, labels, self.classes, self.limits)
        boxes2d, chosen = labels.boxes2d, choice.chosen
        if not self.keep_cut:
            pixel, box = choice.pixel[chosen], boxes2d[chosen]
            chosen = chosen[((box[:, :2] <= pixel) & (pixel <= box[:, 2:])).all(axis=1)]
        n = len(chosen)
        targets = {key: np.zeros(MAX_OBJECTS, np.int64) for key in ("label", "heading_bin")}
        targets |= {key: np.zeros(MAX_OBJECTS, np.float32) for key in ("depth", "heading_residual")}
        targets |= {"mask": np.zeros(MAX_OBJECTS, bool), "centre": np.zeros((MAX_OBJECTS, 2), np.float32)}
        targets |= {key: np.zeros((MAX_OBJECTS, 4), np.float32) for key in ("sides", "ignored")}
        targets |= {"size_3d": np.zeros((MAX_OBJECTS, 3), np.float32)}
        targets |= {"ignored_class": np.zeros((MAX_OBJECTS, len(self.classes)), bool)}
        targets["mask"][:n] = True
        targets["label"][:n] = choice.label[chosen]
        targets["depth"][:n] = choice.depth[chosen]
        targets["centre"][:n] = pixel = choice.pixel[chosen]
        # A labelled 2D box may end before the centre where the object is cut off.
        low, high = np.minimum(boxes2d[chosen, :2], pixel - 0.5), np.maximum(boxes2d[chosen, 2:], pixel + 0.5)
        targets["sides"][:n] = np.hstack([pixel - low, high - pixel])
        targets["size_3d"][:n] = labels.boxes[chosen, 3:6]
        heading = box_headings(camera, labels.boxes, boxes2d) if self.box_heading else choice.heading
        targets["heading_bin"][:n], targets["heading_residual"][:n] = encode_heading(heading[chosen])
        ignored = np.flatnonzero(choice.ignored.any(axis=1))
        targets["depth_bin"] = self._depth_map(camera, boxes2d, choice.depth, chosen, ignored)
        largest = _largest(boxes2d, ignored)
        targets["ignored"][: len(largest)] = boxes2d[largest]
        targets["ignored_class"][: len(largest)] = choice.ignored[largest]
        return targets

    def _depth_map(
        self, camera: Camera, boxes2d: np.ndarray, depth: np.ndarray, chosen: np.ndarray, ignored: np.ndarray
    ) -> np.ndarray:
        rows, columns = camera.height // self.stride, camera.width // self.stride
        depth_bin = np.full((rows, columns), self.bins.count, np.int64)
        bins = self.bins.label(depth[chosen])
        bins += (bins == self.bins.count) & self.far_cells
        # Ignored ones first, then far to near: nearer objects cover farther ones.
        for k, value in [(k, -1) for k in ignored] + list(zip(chosen, bins, strict=True))[::-1]:
            low, high = (boxes2d[k, :2] + 0.5) / self.stride, (boxes2d[k, 2:] + 0.5) / self.stride
            (left, top), (right, bottom) = np.floor(low).astype(int), np.ceil(high).astype(int)
            depth_bin[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = value
        return depth_bin


def _largest(boxes2d: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of the rows, in their order, that have the largest 2D boxes, at most MAX_OBJECTS."""
    areas = np.prod(boxes2d[rows, 2:] - boxes2d[rows, :2], axis=1)
    return rows[np.sort(np.argsort(-areas, kind="stable")[:MAX_OBJECTS])]
