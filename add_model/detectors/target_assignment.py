"""Which labelled objects a detector is trained on, and where it is trained on nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.classes import DONT_CARE, ClassSpec
from add_model.errors import ModelError
from add_model.geometry.camera import REFERENCE_FOCAL, Camera, reference_focal_scale
from add_model.labels import Labels

MAX_OBJECTS = 50  # of one image; targets have as many rows
_NEAREST = 0.5  # metres at the reference focal length


@dataclass(frozen=True)
class Limits:
    """Objects beyond them are ignored: neither trained on nor counted as wrong.

    min_height: of a 2D box, in pixels of the network's input; max_depth: metres at the reference focal length.
    """

    min_height: float = 8.0
    max_depth: float = 65.0

    @classmethod
    def seen_at(cls, focal: float) -> Limits:
        """The same objects' limits for a detector that sees images at this focal length, pixels."""
        zoom = focal / REFERENCE_FOCAL
        return cls(cls.min_height * zoom, cls.max_depth / zoom)


@dataclass(frozen=True, eq=False)
class Assignment:
    """What N labels mean for training.

    label (N,): index of the class, -1 for other types
    pixel (N, 2): the projected 3D centre
    depth (N,): metres at the reference focal length
    heading (N,): against the viewing ray, radians
    chosen (K,): indices of the objects to train on, nearest first, at most MAX_OBJECTS
    ignored (N, C): classes that are not counted as wrong where this label is
    """

    label: np.ndarray
    pixel: np.ndarray
    depth: np.ndarray
    heading: np.ndarray
    chosen: np.ndarray
    ignored: np.ndarray


def assign(camera: Camera, labels: Labels, classes: ClassSpec, limits: Limits, stride: int = 1) -> Assignment:
    """Choose the objects to train on: visible ones within the limits that have their 3D centre in the image.

    Args:
        camera: of the network's input.
        labels: of the same image.
        classes: those of the detector.
        limits: how small and how far objects may be.
        stride: pixels; the image reaches as far as whole cells of this size.
    """
    boxes, boxes2d = labels.boxes, labels.boxes2d
    label = np.array([classes.index(str(name)) for name in labels.names], dtype=np.int64)
    own = boxes[:, :3] + camera.translation
    uvd = camera.project(boxes[:, :3]) if len(boxes) else np.empty((0, 3))
    depth = uvd[:, 2] / reference_focal_scale(camera.P)
    with np.errstate(invalid="ignore"):
        centre, cells = (uvd[:, :2] + 0.5) / stride, (camera.width // stride, camera.height // stride)
        inside = ((centre >= 0) & (centre < cells)).all(axis=1) & (depth > _NEAREST)
        within = (boxes2d[:, 3] - boxes2d[:, 1] >= limits.min_height) & (depth <= limits.max_depth)
        used = (label >= 0) & inside & (within | (not labels.limited)) & labels.visible
        heading = boxes[:, 6] - np.arctan2(own[:, 0], own[:, 2])
    chosen = np.flatnonzero(used)
    chosen = chosen[np.argsort(depth[chosen], kind="stable")][:MAX_OBJECTS]
    trained = np.zeros_like(used)
    trained[chosen] = True
    return Assignment(label, uvd[:, :2], depth, heading, chosen, _ignored(labels, label, trained, classes))


def box_headings(camera: Camera, boxes: np.ndarray, boxes2d: np.ndarray) -> np.ndarray:
    """Headings (N,) of boxes (N, 7) against the rays through the middles of their 2D boxes (N, 4), radians.

    GUPNet's and MonoDETR's published codes have it so.
    """
    middle = (boxes2d[:, 0] + boxes2d[:, 2]) / 2
    return boxes[:, 6] - np.arctan2(middle - camera.P[0, 2], camera.P[0, 0])


def require_3d(labels: Labels, detector: str) -> None:
    """Raises ModelError for labels whose 3D boxes are not to be trained on."""
    if not labels.trains_3d:
        raise ModelError(f"{detector} learns 3D boxes from all views: give data.augmentation.crop.train_3d true")


def _ignored(labels: Labels, label: np.ndarray, trained: np.ndarray, classes: ClassSpec) -> np.ndarray:
    ignored = np.zeros((len(label), len(classes)), bool)
    if labels.background:
        return ignored
    for k in np.flatnonzero(~trained):
        name = str(labels.names[k])
        kind = label[k] if label[k] >= 0 else classes.looks_like(name)
        if kind >= 0:
            ignored[k, kind] = True
        elif name.lower() == DONT_CARE.lower():
            ignored[k] = True
    return ignored
