"""Which detection shows which labelled object, decided in the image so that depth errors do not decide it.

This is for error statistics and pictures; average precision has the official rules of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.detection import Detections
from training.data.sample import DONT_CARE, Objects
from training.evaluation.average_precision import MAX_OCCLUSION, MAX_TRUNCATION, MIN_HEIGHT, NEIGHBOURS
from training.evaluation.overlap import ratio, rectangle_area, rectangle_intersection

FREE, IGNORED = -1, -2
MIN_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Association:
    """The objects and detections of one class in one frame.

    truth:     (M,) index of the detection that shows object m, FREE where it is missed, IGNORED where it is of another
               class or outside the hard difficulty (too small, occluded or truncated)
    detection: (N,) index of the object that detection n shows, FREE for a false positive, IGNORED where it is of
               another class or shows an ignored object, a neighbour class or a DontCare region
    """

    truth: np.ndarray
    detection: np.ndarray


def associate(objects: Objects, detections: Detections, name: str) -> Association:
    """Give each detection of class `name`, best score first, the free object that its 2D box overlaps most.

    A pair needs an intersection over union of at least `MIN_IOU`.
    """
    names = np.char.lower(objects.names.astype(str))
    valid = (names == name.lower()) & ~_too_hard(objects) & ~np.isnan(objects.boxes).any(axis=1)
    alike = np.isin(
        names, [name.lower(), *(other.lower() for own, other in NEIGHBOURS.items() if own.lower() == name.lower())]
    )
    region = names == DONT_CARE.lower()
    truth = np.where(valid, FREE, IGNORED)
    detection = np.where(np.char.lower(detections.names.astype(str)) == name.lower(), FREE, IGNORED)
    for n in np.argsort(-detections.scores, kind="stable"):
        if detection[n] == IGNORED or not len(objects):
            continue
        rectangle = np.repeat(detections.boxes2d[n : n + 1], len(objects), axis=0)
        common, area = rectangle_intersection(rectangle, objects.boxes2d), rectangle_area(rectangle)
        iou = ratio(common, area + rectangle_area(objects.boxes2d) - common)
        own = np.where(truth == FREE, iou, 0)
        best = int(own.argmax())
        if own[best] >= MIN_IOU:
            truth[best], detection[n] = n, best
        elif (iou[alike & ~valid] >= MIN_IOU).any() or (ratio(common, area)[region] > MIN_IOU).any():
            detection[n] = IGNORED
    return Association(truth, detection)


def best_threshold(frames: list[tuple[Association, np.ndarray]]) -> float:
    """The score at which hits and misses balance best (largest F1) over frames of (association, scores).

    0 where nothing is found.
    """
    objects = sum(int((association.truth != IGNORED).sum()) for association, _ in frames)
    scores = np.concatenate([np.empty(0), *(scores[a.detection != IGNORED] for a, scores in frames)])
    hits = np.concatenate([np.empty(0, bool), *(a.detection[a.detection != IGNORED] >= 0 for a, _ in frames)])
    if not objects or not hits.any():
        return 0.0
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
