"""Labelled boxes -> what MonoDETR is taught: a set of objects, and a depth map of the objects' 2D boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import CLASSES, MAX_OBJECTS, Limits, choose
from add_model.geometry.camera import Camera
from add_model.geometry.heading import encode_heading
from add_model.labels import Labels


@dataclass(frozen=True)
class SetTargetEncoder:
    """Targets for a depth map of `stride` pixels with these bins, at the reference focal length."""

    stride: int
    bins: DepthBins
    limits: Limits

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict:
        """Targets of one image, see `TargetEncoder`, with M = MAX_OBJECTS rows.

        Keys: mask (M,); label (M,); centre (M, 2) pixels of the projected 3D centre; sides (M, 4) pixels from there to
        the 2D box's left, top, right and bottom; depth (M,) at the reference focal length; size_3d (M, 3) metres;
        heading_bin, heading_residual (M,); ignored (M, 4) 2D boxes in pixels where the classes of ignored_class (M, C)
        are not punished; depth_bin (h, w): the nearest object's bin, the number of bins for none, -1 where ignored.
        """
        choice = choose(camera, labels, self.limits)
        boxes2d, chosen, n = labels.boxes2d, choice.chosen, len(choice.chosen)
        targets = {key: np.zeros(MAX_OBJECTS, np.int64) for key in ("label", "heading_bin")}
        targets |= {key: np.zeros(MAX_OBJECTS, np.float32) for key in ("depth", "heading_residual")}
        targets |= {"mask": np.zeros(MAX_OBJECTS, bool), "centre": np.zeros((MAX_OBJECTS, 2), np.float32)}
        targets |= {key: np.zeros((MAX_OBJECTS, 4), np.float32) for key in ("sides", "ignored")}
        targets |= {"size_3d": np.zeros((MAX_OBJECTS, 3), np.float32)}
        targets |= {"ignored_class": np.zeros((MAX_OBJECTS, len(CLASSES)), bool)}
        targets["mask"][:n] = True
        targets["label"][:n] = choice.label[chosen]
        targets["depth"][:n] = choice.depth[chosen]
        targets["centre"][:n] = pixel = choice.pixel[chosen]
        # A labelled 2D box may end before the centre where the object is cut off.
        low, high = np.minimum(boxes2d[chosen, :2], pixel - 0.5), np.maximum(boxes2d[chosen, 2:], pixel + 0.5)
        targets["sides"][:n] = np.hstack([pixel - low, high - pixel])
        targets["size_3d"][:n] = labels.boxes[chosen, 3:6]
        targets["heading_bin"][:n], targets["heading_residual"][:n] = encode_heading(choice.heading[chosen])
        ignored = np.flatnonzero(choice.ignored.any(axis=1))[:MAX_OBJECTS]
        targets["ignored"][: len(ignored)] = boxes2d[ignored]
        targets["ignored_class"][: len(ignored)] = choice.ignored[ignored]
        targets["depth_bin"] = self._depth_map(camera, boxes2d, choice.depth, chosen, ignored)
        return targets

    def _depth_map(
        self, camera: Camera, boxes2d: np.ndarray, depth: np.ndarray, chosen: np.ndarray, ignored: np.ndarray
    ) -> np.ndarray:
        rows, columns = camera.height // self.stride, camera.width // self.stride
        painted = np.full((rows, columns), self.bins.count, np.int64)
        bins = self.bins.label(depth[chosen])
        # Far to near: nearer objects cover farther ones.
        for k, value in [(k, -1) for k in ignored] + list(zip(chosen, bins, strict=True))[::-1]:
            low, high = (boxes2d[k, :2] + 0.5) / self.stride, (boxes2d[k, 2:] + 0.5) / self.stride
            (left, top), (right, bottom) = np.floor(low).astype(int), np.ceil(high).astype(int)
            painted[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = value
        return painted
