"""Which frames of a recording go into the data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FrameChoice:
    """What frames are chosen by; each condition has to hold.

    every: take one frame of this many
    min_seconds: since the last frame that was taken
    min_metres: between the camera's places at the last frame that was taken and at this one
    min_sharpness: see `sharpness`
    around: frames within `window` seconds of one of these times only, nanoseconds; empty for all
    window: seconds
    """

    every: int = 1
    min_seconds: float = 0.0
    min_metres: float = 0.0
    min_sharpness: float = 0.0
    around: tuple[int, ...] = ()
    window: float = 1.0


class FrameChooser:
    """Chooses the frames of one camera, in their order.

    Args:
        choice: what by.
    """

    def __init__(self, choice: FrameChoice) -> None:
        self._choice, self._count = choice, 0
        self._stamp: int | None = None
        self._place: np.ndarray | None = None  # at the last frame that was taken
        self._seen: np.ndarray | None = None  # at the one that was last asked about

    def due(self, stamp: int) -> bool:
        """Whether a frame may be taken by its number and time. To be asked once for every frame."""
        number, choice = self._count, self._choice
        self._count += 1
        if number % choice.every:
            return False
        near = not choice.around or min(abs(stamp - time) for time in choice.around) <= choice.window * 1e9
        waited = self._stamp is None or stamp - self._stamp >= round(choice.min_seconds * 1e9) or stamp < self._stamp
        return near and waited

    def moved(self, place: Callable[[], np.ndarray]) -> bool:
        """Whether the camera is far enough from the last frame that was taken; `place` (3,) is asked only if needed."""
        if not self._choice.min_metres:
            return True
        self._seen = seen = place()
        return self._place is None or np.linalg.norm(seen - self._place) >= self._choice.min_metres

    def sharp(self, image: np.ndarray) -> bool:
        """Whether the image (H, W, 3) is sharp enough."""
        return not self._choice.min_sharpness or sharpness(image) >= self._choice.min_sharpness

    def taken(self, stamp: int) -> None:
        """Remember that the frame, which was last asked about, was taken."""
        self._stamp, self._place = stamp, self._seen


def sharpness(image: np.ndarray) -> float:
    """The variance of the Laplacian of the image (H, W, 3) at a width of 640, in grey levels squared.

    A usual measure of focus (Pech-Pacheco et al., ICPR 2000). Blur by motion takes it down to a fraction of what the
    same camera's sharp images have; what is usual depends on the scene.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape[1] > 640:
        grey = cv2.resize(grey, (640, max(1, round(grey.shape[0] * 640 / grey.shape[1]))), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
