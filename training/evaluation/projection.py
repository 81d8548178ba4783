"""2D boxes by projection of 3D boxes, for labels and detections that have none: the benchmark's rules need them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.sample import Objects


@dataclass(frozen=True)
class Derived:
    """Counts of what was not given and had to be derived, in one frame or, added up, in many.

    objects:       labelled objects that take part
    boxes2d:       of these, how many got the 2D box that encloses their projection, clipped to the image
    truncation:    how many got the share of that projection outside the image as their truncation
    occlusion:     how many have no occlusion given and count as fully visible
    out_of_sight:  labelled objects left out because no part of them projects into the image, not finite or without size
    detections:    detections that take part; detections2d: of these, how many got a projected 2D box
    lost:          detections left out because they are not in the image, not finite or without a size
    """

    objects: int = 0
    boxes2d: int = 0
    truncation: int = 0
    occlusion: int = 0
    out_of_sight: int = 0
    detections: int = 0
    detections2d: int = 0
    lost: int = 0

    def __add__(self, other: Derived) -> Derived:
        return Derived(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Derived)))


def complete_objects(objects: Objects, camera: Camera) -> tuple[Objects, np.ndarray, Derived]:
    """Give each object a 2D box and a truncation, and leave out those outside the image that had no 2D box.

    Rows without a 3D box (DontCare) stay as they are; occlusion stays -1 where it is not given, which the benchmark
    counts as visible.

    Args:
        objects: in the frame of the camera's P; NaN in boxes2d and a negative truncation are not given.
        camera: that of the image.

    Returns:
        The objects, which (N,) of the given ones they are, and counts.
    """
    solid, flat = _solid(objects.boxes), np.isnan(objects.boxes2d).any(axis=1)
    clipped, share = box3d.visible_part(box3d.project_boxes(objects.boxes, camera), camera)
    derive, guess = solid & flat, solid & (objects.truncated < 0)
    kept = ~flat | (solid & (share > 0))
    complete = Objects(
        objects.names,
        objects.boxes,
        np.where(derive[:, None], clipped, objects.boxes2d),
        np.where(guess, 1 - np.nan_to_num(share), objects.truncated),
        objects.occluded,
    )[_picked(kept)]
    return (
        complete,
        kept,
        Derived(
            objects=int((solid & kept).sum()),
            boxes2d=int((derive & kept).sum()),
            truncation=int((guess & kept).sum()),
            occlusion=int((solid & kept & (objects.occluded < 0)).sum()),
            out_of_sight=int((~kept).sum()),
        ),
    )


def complete_detections(detections: Detections, camera: Camera, project_all: bool) -> tuple[Detections, Derived]:
    """Give detections the 2D box of their projected 3D box, and leave out those not finite or outside the image.

    Left out as well is what has no size or no score.

    Args:
        detections: in the frame of the camera's P; boxes2d is NaN where it is not given.
        camera: that of the image.
        project_all: whether those that have a 2D box get a projected one too.
    """
    sane = _solid(detections.boxes) & np.isfinite(detections.scores)
    found = detections[_picked(sane)]
    derive = np.isnan(found.boxes2d).any(axis=1) | project_all
    clipped, share = box3d.visible_part(box3d.project_boxes(found.boxes, camera), camera)
    boxes2d = np.where(derive[:, None], clipped, found.boxes2d) if derive.any() else found.boxes2d
    kept = ~derive | (share > 0)
    complete = Detections(found.names, found.scores, found.boxes, boxes2d, found.depth_std)[_picked(kept)]
    lost = len(detections) - len(complete)
    return complete, Derived(detections=len(complete), detections2d=int((derive & kept).sum()), lost=lost)


def _picked(mask: np.ndarray) -> np.ndarray | slice:
    """An index of what a mask picks. All, by far the most frequent, are not copied: long runs have many frames."""
    return slice(None) if mask.all() else mask


def _solid(boxes: np.ndarray) -> np.ndarray:
    """(N,) whether boxes are finite and have a size."""
    return np.isfinite(boxes).all(axis=1) & (boxes[:, 3:6] > 0).all(axis=1)
