"""The tracks of one camera: its tracker, and where it learns how the camera moves."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.tracking import Tracker, TrackerSettings, Tracks
from add_ros.errors import FrameRejectedError
from add_ros.message_times import nanoseconds, seconds_text


class GroundPose(Protocol):
    """Knows where a camera is over ground: by tf, or by odometry."""

    def pose(self, header: Any) -> np.ndarray:
        """(4, 4) metres from the header's frame to one fixed to the ground, at its stamp.

        Raises:
            FrameRejectedError: where it is not known in time.
        """
        ...


class StreamTracking:
    """Follows what is detected in the images of one camera.

    Args:
        to_ground: knows the camera's pose over ground; None where nothing does.
    """

    def __init__(self, to_ground: GroundPose | None) -> None:
        self._tracker, self._to_ground = Tracker(), to_ground

    @staticmethod
    def least_score(score_threshold: float) -> float:
        """The score from which on it has a use for detections."""
        return TrackerSettings.at(score_threshold).low_score

    def update(
        self, found: Detections, camera: Camera, header: Any, score_threshold: float
    ) -> tuple[Tracks, np.ndarray | None]:
        """The tracks at the image of a header, in the camera's own frame, and the camera's pose (4, 4) over ground.

        Args:
            found: what was detected in it, from `least_score` on.
            camera: that of the image.
            header: its stamp and frame.
            score_threshold: from which on detections count.

        Raises:
            FrameRejectedError: where the image is older than one before it, or the camera's pose at its stamp does not
                arrive in time.
        """
        pose = None if self._to_ground is None else self._to_ground.pose(header)
        self._tracker.settings = TrackerSettings.at(score_threshold)
        stamp = nanoseconds(header.stamp)
        tracks = self._tracker.update(found, camera, stamp, pose)
        if tracks is None:
            raise FrameRejectedError(
                "late for tracks", f"stamp {seconds_text(header.stamp)} is not newer than the last one"
            )
        return tracks, pose
