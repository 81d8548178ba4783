"""The frame in which tracks live: fixed to the ground where the camera's motion is known, else the camera's own.

A fixed frame is the camera's own at one moment, x right, y down, z forward, so that headings are angles about its y
axis whatever the axes of odometry's frame are, and numbers stay small however far away its origin is.
"""

from __future__ import annotations

import cv2
import numpy as np

# A camera whose step differs from its last one, over the same time, by more than a floor and a share of the time has
# not moved so: its odometry was set anew. Metres and m/s, radians and radians/s.
_STEP = 0.3, 5.0
_TURN = 0.1, 1.0
_FIRST_STEP = 2.0, 100.0  # the same of the first step, before which the camera's speed is not known


class Anchor:
    """Where the camera is in the frame of the tracks."""

    def __init__(self) -> None:
        self._origin: np.ndarray | None = None  # from the fixed frame's coordinates to those that poses are given in
        self._camera = np.eye(4)
        self._speed: np.ndarray | None = None  # (6,) of the last step: m/s along its axes, radians/s

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
            and `camera` is where its last step leads to in the old one; `renew` begins the new one.
        """
        if pose is None:
            if self.fixed:
                self._camera = self._expected(time)
            return self.fixed
        if self._origin is None:
            return True
        camera = np.linalg.solve(self._origin, pose)
        expected = self._expected(time)
        floor, share = _FIRST_STEP if self._speed is None else _STEP
        jumps = np.linalg.norm(camera[:3, 3] - expected[:3, 3]) > floor + share * time
        if self._speed is not None:
            jumps |= np.linalg.norm(_turn(expected, camera)) > _TURN[0] + _TURN[1] * time
        if jumps:
            self._camera = expected
            return True
        if time > 0:
            step = (camera[:3, 3] - self._camera[:3, 3]) @ self._camera[:3, :3]
            self._speed = np.concatenate([step, _turn(self._camera, camera)]) / time
        self._camera = camera
        return False

    def renew(self, pose: np.ndarray | None) -> None:
        """Begin a frame that is the camera's own at this moment, at `pose` or, for None, wherever it is."""
        self._origin = None if pose is None else np.array(pose, float)
        self._camera, self._speed = np.eye(4), None

    def _expected(self, time: float) -> np.ndarray:
        """(4, 4) where the camera is if it goes on as in its last step."""
        expected = self._camera.copy()
        if self._speed is not None:
            expected[:3, 3] += self._camera[:3, :3] @ self._speed[:3] * time
            expected[:3, :3] = expected[:3, :3] @ cv2.Rodrigues(time * self._speed[3:])[0]
        return expected


def _turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3,) radians about the first camera's axes from one place (4, 4) of it to another."""
    turn: np.ndarray = cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0][:, 0]
    return turn
