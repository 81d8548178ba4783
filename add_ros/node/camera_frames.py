"""How a camera stands in the world: what its parameters, tf and odometry say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from add_ros.node.camera_attitude import CameraAttitude
from add_ros.node.camera_ground import CameraGround
from add_ros.node.stream_tracking import GroundPose
from add_ros.node.tf_transformer import TfTransformer

if TYPE_CHECKING:
    from add_ros.node.odometry import Odometry

FRAME_PARAMETERS = ("target_frame", "tracking_frame", "level_frame", "ground_frame")  # those that need tf2


@dataclass(frozen=True)
class CameraFrames:
    """What knows where a camera is.

    to_target: transforms the detections; None leaves them in the camera's frame
    to_ground: knows the camera's pose over ground, for tracks; None where nothing does
    attitude:  how the camera is tilted
    ground:    the ground under the camera
    """

    to_target: TfTransformer | None
    to_ground: GroundPose | None
    attitude: CameraAttitude
    ground: CameraGround

    @classmethod
    def of(
        cls, values: Mapping[str, Any], transformers: Mapping[str, TfTransformer], odometry: Odometry | None
    ) -> CameraFrames:
        """Of the parameters of one camera, and those of `FRAME_PARAMETERS` that name a frame.

        Raises:
            ValueError: where by its parameters the camera is tilted too far for a level view.
        """
        to_ground: GroundPose | None = transformers.get("tracking_frame")
        if odometry is not None:
            to_ground = odometry.of_camera(values["camera_mounting"])
        return cls(
            transformers.get("target_frame"),
            to_ground,
            CameraAttitude(values["camera_pitch"], values["camera_roll"], transformers.get("level_frame")),
            CameraGround(values["camera_height"], values["ground_slope_std"], transformers.get("ground_frame")),
        )
