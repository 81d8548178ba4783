"""Which of a frame's detections are published, and which frames are worked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera

_EARLY = 0.1  # share of the period by which a frame may come early: cameras jitter


@dataclass(frozen=True)
class DetectionFilter:
    """What a detection has to be, as `add_ros.node.parameter_list` describes it.

    classes: names, [''] for all; min_range, max_range: metres from the camera; region: left, top, right, bottom as
    shares of the image, in which the 2D box's centre lies.
    """

    score_threshold: float = 0.0
    classes: Sequence[str] = ("",)
    min_range: float = 0.0
    max_range: float = 1000.0
    region: Sequence[float] = (0.0, 0.0, 1.0, 1.0)

    def __call__(self, found: Detections, camera: Camera) -> Detections:
        """The detections that are wanted, in their order."""
        keep = found.scores >= self.score_threshold
        if wanted := set(self.classes) - {""}:
            keep &= np.isin(found.names, list(wanted))
        distance = np.linalg.norm(found.boxes[:, :3] + camera.translation, axis=1)
        keep &= (distance >= self.min_range) & (distance <= self.max_range)
        low, high = np.reshape(self.region, (2, 2)) * (camera.width, camera.height)
        centre = (found.boxes2d[:, :2] + found.boxes2d[:, 2:] + 1) / 2  # of pixels, whose centres are whole numbers
        return found[keep & ((centre >= low) & (centre <= high)).all(axis=1)]


class RateLimit:
    """Says yes at most so many times per second, and in the long run as often as asked for."""

    def __init__(self) -> None:
        self._due: float | None = None

    def ready(self, now: float, rate: float) -> bool:
        """Whether a frame at `now`, seconds, may pass at `rate` Hz; 0 lets all pass."""
        if rate <= 0:
            return True
        period = 1 / rate
        due = now if self._due is None else self._due
        if due - 2 * period < now < due - _EARLY * period:  # before that, the rate was another
            return False
        self._due = max(min(due, now + _EARLY * period) + period, now + period / 2)
        return True
