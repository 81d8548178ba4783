"""How a camera leans: by parameters, or by tf."""

from __future__ import annotations

from typing import Any

import numpy as np

from add_model.geometry.level import camera_up, level_rotation
from add_ros.errors import FrameRejectedError
from add_ros.node.tf_transformer import TfTransformer


class CameraAttitude:
    """Where up is in the frame of a camera.

    Args:
        pitch: degrees by which it looks down.
        roll: degrees by which it is turned clockwise, seen from behind.
        to_level: transforms to a frame whose z axis points up, which pitch and roll then do not matter for; or None.

    Raises:
        ValueError: where by pitch and roll the camera leans too far for a level view.
    """

    def __init__(self, pitch: float, roll: float, to_level: TfTransformer | None) -> None:
        self._fixed = camera_up(pitch, roll) if pitch or roll else None
        self._to_level = to_level
        if to_level is None and self._fixed is not None:
            try:
                level_rotation(self._fixed)
            except ValueError as error:
                raise ValueError(f"parameters camera_pitch {pitch:g} and camera_roll {roll:g}: {error}") from error

    def up(self, header: Any) -> np.ndarray | None:
        """(3,) unit vector at the stamp of an image's header; None of a level camera.

        Raises:
            FrameRejectedError: where tf does not say it in time, or the camera leans too far.
        """
        if self._to_level is None:
            return self._fixed
        up = self._to_level.pose(header)[2, :3]
        try:
            level_rotation(up)
        except ValueError as error:
            raise FrameRejectedError("no level view", f"{error}: is level_frame one with z up?") from error
        return up
