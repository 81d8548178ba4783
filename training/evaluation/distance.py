"""How errors grow with distance: depth, lateral position, size, heading and recall in 10 m bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from add_model.boxes import wrap
from add_model.detection import Detections
from training.data.sample import Objects
from training.evaluation.association import IGNORED, associate

EDGES = np.arange(0.0, 81.0, 10.0)
QUARTILES = (25, 50, 75)


@dataclass(frozen=True, eq=False)
class DistanceErrors:
    """Errors of one class in B bins of the object's distance on the ground from the frame's origin.

    edges:   (B + 1,) metres; objects and detections are those of `associate`
    objects: (B,) how many are labelled, found: (B,) how many of them are detected
    depth:   (3, B) quartiles of |z error|, metres; NaN where nothing is found
    lateral: (3, B) quartiles of |x error|, metres
    size:    (3, B) quartiles of the mean |error| of length, width and height, metres
    heading: (3, B) quartiles of |rotation_y error|, degrees, 0 to 180
    """

    edges: np.ndarray
    objects: np.ndarray
    found: np.ndarray
    depth: np.ndarray
    lateral: np.ndarray
    size: np.ndarray
    heading: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """Share (B,) of the objects that are found; NaN where there are none."""
        return np.divide(self.found, self.objects, out=np.full(len(self.found), np.nan), where=self.objects > 0)


def distance_errors(
    objects: Sequence[Objects], detections: Sequence[Detections], name: str, edges: np.ndarray = EDGES
) -> DistanceErrors:
    """Errors of class `name` over frames: the n-th detections belong to the n-th objects.

    Objects and detections are matched in the image (see `associate`) and need 2D boxes. Detections all count: drop
    those of low score beforehand. Raises ValueError where the numbers of frames differ.
    """
    if len(objects) != len(detections):
        raise ValueError(f"{len(objects)} frames of objects but {len(detections)} of detections")
    labelled, truths, found = [np.empty(0)], [np.empty((0, 7))], [np.empty((0, 7))]
    for of_frame, seen in zip(objects, detections, strict=True):
        match = associate(of_frame, seen, name).truth
        hit = match >= 0
        counted = of_frame.boxes[match != IGNORED]
        labelled.append(np.hypot(counted[:, 0], counted[:, 2]))
        truths.append(of_frame.boxes[hit])
        found.append(seen.boxes[match[hit]])
    truth, detected = np.concatenate(truths), np.concatenate(found)
    error = np.abs(detected - truth)
    place = np.digitize(np.hypot(truth[:, 0], truth[:, 2]), edges) - 1
    count = len(edges) - 1
    return DistanceErrors(
        edges=np.asarray(edges, float),
        objects=np.histogram(np.concatenate(labelled), edges)[0],
        found=np.bincount(place[(place >= 0) & (place < count)], minlength=count),
        depth=_quartiles(error[:, 2], place, count),
        lateral=_quartiles(error[:, 0], place, count),
        size=_quartiles(error[:, 3:6].mean(axis=1), place, count),
        heading=_quartiles(np.degrees(np.abs(wrap(detected[:, 6] - truth[:, 6]))), place, count),
    )


def _quartiles(error: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    quartiles = np.full((len(QUARTILES), count), np.nan)
    for i in range(count):
        inside = error[(place == i) & np.isfinite(error)]
        if inside.size:
            quartiles[:, i] = np.percentile(inside, QUARTILES)
    return quartiles
