"""The worst misses and false positives of a class, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detections import Detections
from add_model.drawing import LEGIBLE_WIDTH, side_by_side
from add_model.geometry.camera import Camera
from training.data.sample import Objects
from training.evaluation.association import FREE, associate
from training.report.pictures import encoded

_MARK, _RIM = (255, 40, 40), (40, 0, 0)
_MARGIN = 4  # pixels between the marked 2D box and the frame around it


@dataclass(frozen=True)
class Case:
    """One object that was missed or one false positive: frame index, 2D box and a sentence."""

    frame: int
    box2d: tuple[float, float, float, float]
    text: str


def worst_misses(
    objects: Sequence[Objects],
    detections: Sequence[Detections],
    name: str,
    count: int,
    classes: ClassSpec = KITTI_CLASSES,
) -> list[Case]:
    """Missed objects, the most visible ones first: least occluded, then largest in the image.

    Args:
        objects: of each frame.
        detections: of the same frames.
        name: the class.
        count: how many cases at most.
        classes: what is scored.
    """
    cases = []
    for frame, (truths, found) in enumerate(zip(objects, detections, strict=True)):
        for m in np.flatnonzero(associate(truths, found, name, classes).truth == FREE):
            height = truths.boxes2d[m, 3] - truths.boxes2d[m, 1]
            distance = np.hypot(truths.boxes[m, 0], truths.boxes[m, 2])
            text = f"{name} missed at {distance:.0f} m, {height:.0f} pixels high, occlusion {truths.occluded[m]}"
            cases.append((truths.occluded[m], -height, Case(frame, tuple(truths.boxes2d[m]), text)))
    return _first(cases, count)


def worst_false_positives(
    objects: Sequence[Objects],
    detections: Sequence[Detections],
    name: str,
    count: int,
    classes: ClassSpec = KITTI_CLASSES,
) -> list[Case]:
    """Detections that match no labelled object, highest score first. Arguments are those of `worst_misses`."""
    cases = []
    for frame, (truths, found) in enumerate(zip(objects, detections, strict=True)):
        for n in np.flatnonzero(associate(truths, found, name, classes).detection == FREE):
            distance = np.hypot(found.boxes[n, 0], found.boxes[n, 2])
            where = "without a 3D box" if np.isnan(distance) else f"at {distance:.0f} m"
            text = f"{name} found with score {found.scores[n]:.2f} {where} that matches no labelled object"
            cases.append((-found.scores[n], 0, Case(frame, tuple(found.boxes2d[n]), text)))
    return _first(cases, count)


def _first(cases: list[tuple[float, float, Case]], count: int) -> list[Case]:
    return [case for *_, case in sorted(cases, key=lambda case: (*case[:2], case[2].frame))[:count]]


def picture(
    case: Case,
    image: np.ndarray,
    camera: Camera,
    objects: Objects,
    detections: Detections,
    classes: ClassSpec | None = None,
) -> bytes:
    """The case as JPEG: the image with all boxes and a red frame around the case, beside the bird's-eye view.

    Args:
        case: what is marked.
        image: (H, W, 3) uint8 RGB of its frame.
        camera: that of the image.
        objects: of its frame.
        detections: of its frame.
        classes: have the colours, see `add_model.colours.class_colour`.
    """
    scale = max(1.0, LEGIBLE_WIDTH / camera.width)  # as side_by_side enlarges it
    width, height = round(scale * camera.width), round(scale * camera.height)
    truth = objects.boxes[~np.isnan(objects.boxes).any(axis=1)]
    drawn = side_by_side(image, camera, detections, truth, classes=classes)
    corners = np.clip(scale * np.array(case.box2d) + [-_MARGIN, -_MARGIN, _MARGIN, _MARGIN], 1, width - 2)
    left, top, right, bottom = corners.astype(int).tolist()
    bottom = min(bottom, height - 2)
    # Last, and with a dark rim, so that it stands out among the boxes.
    for colour, line in ((_RIM, 4), (_MARK, 2)):
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, line * max(1, round(width / 1000)))
    return encoded(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 85])
