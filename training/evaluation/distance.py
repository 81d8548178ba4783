"""How errors grow with distance: depth, lateral position, size, heading and recall, in bins of 10 m and one beyond."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from add_model.detections import Detections
from add_model.geometry.boxes import wrap
from training.data.sample import Objects
from training.evaluation.association import IGNORED, Association

EDGES = np.append(np.arange(0.0, 81.0, 10.0), np.inf)  # metres
QUARTILES = (25, 50, 75)
QUANTITIES = {"depth": "m", "lateral": "m", "size": "m", "heading": "deg"}


@dataclass(frozen=True, eq=False)
class DistanceErrors:
    """Errors of one class in B bins of the object's distance on the ground from the frame's origin.

    edges:   (B + 1,) metres, the last one infinite
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


@dataclass(frozen=True, eq=False)
class ObjectErrors:
    """The M objects of one class that count, over all frames.

    frame:    (M,) index of the object's frame
    distance: (M,) metres on the ground from the frame's origin
    found:    (M,) bool
    error:    (M, 4) |error| of the detection in the order of `QUANTITIES`; NaN where there is none
    """

    frame: np.ndarray
    distance: np.ndarray
    found: np.ndarray
    error: np.ndarray

    def binned(self) -> DistanceErrors:
        """The errors in the bins of `EDGES`."""
        place, count = np.digitize(self.distance, EDGES) - 1, len(EDGES) - 1
        inside = (place >= 0) & (place < count)
        depth, lateral, size, heading = np.moveaxis(_quartiles(self.error, place, count), 2, 0)
        return DistanceErrors(
            edges=EDGES,
            objects=np.bincount(place[inside], minlength=count),
            found=np.bincount(place[inside & self.found], minlength=count),
            depth=depth,
            lateral=lateral,
            size=size,
            heading=heading,
        )

    def weighted(self, weights: np.ndarray) -> ObjectErrors:
        """The objects of a set that has frame f weights[f] times, weights (F,) whole numbers."""
        index = np.repeat(np.arange(len(self.frame)), weights[self.frame])
        return ObjectErrors(self.frame[index], self.distance[index], self.found[index], self.error[index])


def object_errors(frames: Iterable[tuple[Objects, Detections, Association]]) -> ObjectErrors:
    """The errors of each object that counts.

    Args:
        frames: the objects of each, its detections, and which belong together.
    """
    numbers, truths, found = [np.empty(0, int)], [np.empty((0, 7))], [np.empty((0, 7))]
    hits = [np.empty(0, bool)]
    for i, (labelled, detected, pairs) in enumerate(frames):
        counted = pairs.truth != IGNORED
        partner = pairs.truth[counted]
        boxes = np.full((len(partner), 7), np.nan)
        boxes[partner >= 0] = detected.boxes[partner[partner >= 0]]
        numbers.append(np.full(len(partner), i))
        truths.append(labelled.boxes[counted])
        found.append(boxes)
        hits.append(partner >= 0)
    truth, detected = np.concatenate(truths), np.concatenate(found)
    error = np.abs(detected - truth)
    heading = np.degrees(np.abs(wrap(detected[:, 6] - truth[:, 6])))
    errors = np.stack([error[:, 2], error[:, 0], error[:, 3:6].mean(axis=1), heading], axis=1)
    return ObjectErrors(np.concatenate(numbers), np.hypot(truth[:, 0], truth[:, 2]), np.concatenate(hits), errors)


def _quartiles(error: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Quartiles (3, count, 4) of errors (M, 4) by place; NaN where there is none."""
    quartiles = np.full((len(QUARTILES), count, error.shape[1]), np.nan)
    known = np.isfinite(error).all(axis=1)
    for i in range(count):
        inside = error[known & (place == i)]
        if len(inside):
            quartiles[:, i] = np.percentile(inside, QUARTILES, axis=0)
    return quartiles
