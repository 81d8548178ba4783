"""Labels as detectors take them: which objects are taught, and where no answer is punished."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.geometry.camera import REFERENCE_FOCAL, Camera, reference_focal_scale
from add_model.labels import Labels

CLASSES = ("Car", "Pedestrian", "Cyclist")
# Mean length, width, height in metres of each class in KITTI's training labels.
MEAN_SIZES = ((3.884, 1.629, 1.526), (0.844, 0.660, 1.761), (1.763, 0.597, 1.737))
MAX_OBJECTS = 50
# Types that look like a class without counting as it: their region teaches that class nothing.
NEIGHBOURS = {"Van": "Car", "Truck": "Car", "Person_sitting": "Pedestrian"}
_TYPES = {name.lower(): name for name in (*CLASSES, *NEIGHBOURS, "DontCare")}


@dataclass(frozen=True)
class Limits:
    """Objects beyond them are neither taught nor punished.

    min_height: of a 2D box, in canvas pixels; max_depth: metres at the reference focal length.
    """

    min_height: float = 8.0
    max_depth: float = 65.0

    @classmethod
    def seen_at(cls, focal: float) -> Limits:
        """The same objects' limits for a detector that sees images at this focal length, pixels."""
        zoom = focal / REFERENCE_FOCAL
        return cls(cls.min_height * zoom, cls.max_depth / zoom)


@dataclass(frozen=True, eq=False)
class Choice:
    """What of N labels is taught.

    label (N,) index into CLASSES, -1 for other types; pixel (N, 2) of the projected 3D centre; depth (N,) at the
    reference focal length; heading (N,) against the viewing ray, radians; chosen (K,) indices of those taught, nearest
    first, at most MAX_OBJECTS; ignored (N, C) the classes that must not be punished for answering where this label is.
    """

    label: np.ndarray
    pixel: np.ndarray
    depth: np.ndarray
    heading: np.ndarray
    chosen: np.ndarray
    ignored: np.ndarray


def choose(camera: Camera, labels: Labels, limits: Limits, stride: int = 1) -> Choice:
    """Which objects are taught: teachable ones within the limits that have their 3D centre in the image.

    The image reaches as far as whole cells of `stride` pixels.
    """
    boxes, boxes2d = labels.boxes, labels.boxes2d
    names = np.array([_TYPES.get(str(name).lower(), name) for name in labels.names], dtype=str)
    label = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in names], dtype=np.int64)
    own = boxes[:, :3] + camera.translation
    uvd = camera.project(boxes[:, :3]) if len(boxes) else np.empty((0, 3))
    depth = uvd[:, 2] / reference_focal_scale(camera.P)
    with np.errstate(invalid="ignore"):
        centre, cells = (uvd[:, :2] + 0.5) / stride, (camera.width // stride, camera.height // stride)
        inside = ((centre >= 0) & (centre < cells)).all(axis=1) & (depth > 0.5)
        high = boxes2d[:, 3] - boxes2d[:, 1] >= limits.min_height
        taught = (label >= 0) & inside & high & (depth <= limits.max_depth) & labels.teachable
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
    return Choice(label, uvd[:, :2], depth, heading, chosen, ignored)
