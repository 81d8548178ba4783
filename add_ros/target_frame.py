"""Detections in another frame, through tf2. tf2_ros is imported only where a target frame is asked for."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.time import Time
from vision_msgs.msg import Detection3DArray

from add_ros.messages import transformed
from add_ros.rejected import Rejected

_PATIENCE, _PAUSE = 0.1, 0.01  # seconds; of the wall clock, since simulated time may stand still


class TargetFrame:
    """Transforms messages at their own stamp. Raises ValueError where tf2_ros is missing."""

    def __init__(self, node: Node, frame: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(
                f"parameter target_frame needs tf2_ros ({error}): install ros-$ROS_DISTRO-tf2-ros-py, or leave it empty"
            ) from error
        self._frame = frame
        self._errors = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def __call__(self, message: Detection3DArray) -> Detection3DArray:
        """The message in the target frame. Raises Rejected where no transform is known within 0.1 s."""
        source, stamp = message.header.frame_id, Time.from_msg(message.header.stamp)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return transformed(message, self._buffer.lookup_transform(self._frame, source, stamp))
            except self._errors as error:
                if time.monotonic() > end:
                    raise Rejected(
                        "no transform", f"no transform from '{source}' to '{self._frame}': {error}"
                    ) from error
            time.sleep(_PAUSE)
