"""Which detection belongs to which labelled object: decided in the image, or on the ground where there are no 2D boxes.

Both ways are lenient about errors in depth. They are for error statistics and pictures; average precision has the
official rules of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from add_model.classes import DONT_CARE, KITTI_CLASSES, ClassSpec
from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry.boxes import image_iou, rectangle_area, rectangle_intersection
from add_model.geometry.rotated_iou import ratio
from training.data.sample import Objects
from training.evaluation.difficulty import MAX_OCCLUSION, MAX_TRUNCATION, MIN_HEIGHT

FREE, IGNORED = -1, -2
MIN_IOU = 0.5
# On the ground, in metres and as a share of the object's distance. nuScenes (Caesar et al. 2020) counts a detection
# within 2 m as a hit; along the line of sight, where a single camera errs, Hung et al. (2022) let the tolerance grow.
NEAR, NEAR_SHARE = 2.0, 0.2


@dataclass(frozen=True, eq=False)
class Association:
    """The objects and detections of one class in one frame.

    truth:     (M,) index of the detection of object m, FREE where it is missed, IGNORED where it is of another class or
               outside the hard difficulty (too small, occluded or truncated)
    detection: (N,) index of the object of detection n, FREE for a false positive, IGNORED where it is of another class
               or belongs to an ignored object, a neighbour class or a DontCare region
    """

    truth: np.ndarray
    detection: np.ndarray


def associate(objects: Objects, detections: Detections, name: str, classes: ClassSpec = KITTI_CLASSES) -> Association:
    """Give each detection of one class, best score first, the free object that its 2D box overlaps most.

    A pair needs an intersection over union of at least `MIN_IOU`.

    Args:
        objects: of one frame.
        detections: of the same frame.
        name: the class, in any case.
        classes: have its ignored neighbours.
    """
    iou = image_iou(detections.boxes2d, objects.boxes2d)
    nearness = np.where(iou >= MIN_IOU, iou, 0)
    counts = ~np.isnan(objects.boxes).any(axis=1) & ~_too_hard(objects)
    return _associate(objects, detections, name, classes, counts, nearness)


def associate_on_ground(
    objects: Objects, detections: Detections, name: str, classes: ClassSpec = KITTI_CLASSES
) -> Association:
    """Give each detection of one class, best score first, the nearest free object in bird's-eye view.

    A pair is at most `NEAR` metres apart across the line of sight to the object, and along it at most `NEAR` metres or
    `NEAR_SHARE` of the object's distance, whichever is more. All objects count that have a 3D box and lie in the image
    by half or more; no 2D box is needed. Arguments are those of `associate`.
    """
    centre, distance = objects.boxes[:, [0, 2]], np.hypot(objects.boxes[:, 0], objects.boxes[:, 2])
    sight = centre / np.maximum(distance, 1e-9)[:, None]
    apart = detections.boxes[:, None, [0, 2]] - centre
    along = np.abs((apart * sight).sum(axis=2)) / np.maximum(NEAR, NEAR_SHARE * distance)
    across = np.abs(apart[..., 0] * sight[:, 1] - apart[..., 1] * sight[:, 0]) / NEAR
    nearness = np.where((along <= 1) & (across <= 1), 3 - along**2 - across**2, 0)
    counts = ~np.isnan(objects.boxes).any(axis=1) & (objects.truncated <= MAX_TRUNCATION[-1])
    return _associate(objects, detections, name, classes, counts, nearness)


def _associate(
    objects: Objects,
    detections: Detections,
    name: str,
    classes: ClassSpec,
    counts: np.ndarray,
    nearness: np.ndarray,
) -> Association:
    """counts: (M,) which objects count, if of this class; nearness: (N, M) more is nearer, 0 is no pair."""
    names = np.char.lower(objects.names.astype(str))
    index = classes.index(name)
    neighbours = classes.classes[index].neighbours if index >= 0 else ()
    valid = (names == name.lower()) & counts
    similar = np.isin(names, [name.lower(), *map(str.lower, neighbours)])
    regions = objects.boxes2d[names == DONT_CARE.lower()]
    truth = np.where(valid, FREE, IGNORED)
    detection = np.where(np.char.lower(detections.names.astype(str)) == name.lower(), FREE, IGNORED)
    for n in np.argsort(-detections.scores, kind="stable"):
        if detection[n] == IGNORED or not len(objects):
            continue
        own = np.where(truth == FREE, nearness[n], 0)
        best = int(own.argmax())
        if own[best] > 0:
            truth[best], detection[n] = n, best
        elif (nearness[n, similar & ~valid] > 0).any() or _lies_in(detections.boxes2d[n], regions):
            detection[n] = IGNORED
    return Association(truth, detection)


def _lies_in(box: np.ndarray, regions: np.ndarray) -> bool:
    return bool((ratio(rectangle_intersection(box, regions), rectangle_area(box)) > MIN_IOU).any())


def outcomes(frames: Iterable[tuple[Association, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The detections of one class that count, over all frames.

    Args:
        frames: (association, scores of its detections) of each frame.

    Returns:
        Their scores (N,) and whether each is right (N,), that is, belongs to an object.
    """
    scores, right, _ = _counted(frames)
    return scores, right


def _counted(frames: Iterable[tuple[Association, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, int]:
    """`outcomes`, and how many objects count."""
    scores, right, objects = [np.empty(0)], [np.empty(0, bool)], 0
    for association, of_frame in frames:
        counts = association.detection >= FREE
        scores.append(of_frame[counts])
        right.append(association.detection[counts] >= 0)
        objects += int((association.truth != IGNORED).sum())
    return np.concatenate(scores), np.concatenate(right), objects


def best_threshold(frames: Iterable[tuple[Association, np.ndarray]]) -> float:
    """The score with the largest F1.

    Args:
        frames: (association, scores of its detections) of each frame.

    Returns:
        `SCORE_THRESHOLD` where no object is found: F1 is 0 at every score then, and all that a network gives at the
        lowest scores would be false positives.
    """
    scores, hits, objects = _counted(frames)
    if not objects or not hits.any():
        return SCORE_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order])
    f1 = 2 * found / (np.arange(1, len(scores) + 1) + objects)
    f1[:-1][scores[:-1] == scores[1:]] = 0  # a threshold takes all detections of equal score
    return float(scores[f1.argmax()])


def _too_hard(objects: Objects) -> np.ndarray:
    height = objects.boxes2d[:, 3] - objects.boxes2d[:, 1]
    return (
        (objects.occluded > MAX_OCCLUSION[-1]) | (objects.truncated > MAX_TRUNCATION[-1]) | (height <= MIN_HEIGHT[-1])
    )
