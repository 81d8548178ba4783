"""The frame in which tracks live: fixed to the ground where the camera's motion is known, else the camera's own.

A fixed frame is the camera's own at one moment, x right, y down, z forward, so that headings are angles about its y
axis whatever the axes of odometry's frame are, and numbers stay small however far away its origin is.
"""

from __future__ import annotations

import numpy as np

_FASTEST = 100.0  # m/s: a camera that seems faster has not moved, but its odometry was set anew
_LEAST_JUMP = 2.0  # metres


class Anchor:
    """Where the camera is in the frame of the tracks."""

    def __init__(self) -> None:
        self._origin: np.ndarray | None = None  # from the fixed frame's coordinates to those that poses are given in
        self._camera = np.eye(4)

    @property
    def fixed(self) -> bool:
        """Whether the frame is fixed to the ground."""
        return self._origin is not None

    @property
    def camera(self) -> np.ndarray:
        """(4, 4) from the camera's frame to that of the tracks."""
        return self._camera

    def follow(self, pose: np.ndarray | None, time: float) -> bool:
        """Move the camera to a pose (4, 4), or None where it is not known, `time` seconds after the one before.

        Returns:
            Whether that cannot be told from where it was: then the frame is a new one, the camera's own at this moment,
            and `camera` is still where it was in the old one; `renew` begins the new one.
        """
        if pose is None:
            return self.fixed
        if self._origin is None:
            return True
        camera = np.linalg.solve(self._origin, pose)
        if np.linalg.norm(camera[:3, 3] - self._camera[:3, 3]) > _LEAST_JUMP + _FASTEST * time:
            return True
        self._camera = camera
        return False

    def renew(self, pose: np.ndarray | None) -> None:
        """Begin a frame that is the camera's own at this moment, at `pose` or, for None, wherever it is."""
        self._origin = None if pose is None else np.array(pose, float)
        self._camera = np.eye(4)
