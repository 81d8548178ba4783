"""The ground under a camera: by its height, or by tf."""

from __future__ import annotations

from typing import Any

import numpy as np

from add_model.geometry.level import LEVEL_UP
from add_model.ground import Ground
from add_ros.errors import FrameRejectedError
from add_ros.node.tf_transformer import TfTransformer


class CameraGround:
    """The plane on which things stand, in the frame of a camera.

    Args:
        height: metres of the camera above the ground, 0 where it is not known.
        slope_std: degrees, as `Ground` has it.
        to_ground: transforms to a frame whose x-y plane is the ground, which the height then does not matter for; or
            None.
    """

    def __init__(self, height: float, slope_std: float, to_ground: TfTransformer | None) -> None:
        self._height, self._slope_std, self._to_ground = height, slope_std, to_ground

    def at(self, header: Any, up: np.ndarray | None, covariance_scale: float) -> Ground | None:
        """The ground at the stamp of an image's header, None where it is not known.

        Args:
            header: of the image.
            up: (3,) where up is in the camera's frame, None of a level camera.
            covariance_scale: see `Ground`.

        Raises:
            FrameRejectedError: where tf does not say it in time, or has the camera below the ground.
        """
        if self._to_ground is None:
            up = LEVEL_UP if up is None else up
            return Ground(up, self._height, self._slope_std, covariance_scale) if self._height else None
        pose = self._to_ground.pose(header)
        try:
            return Ground(pose[2, :3], pose[2, 3], self._slope_std, covariance_scale)
        except ValueError as error:
            raise FrameRejectedError("no ground", f"{error}: is ground_frame one whose x-y plane it is?") from error
