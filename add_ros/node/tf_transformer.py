"""Detections in other frames, through tf2. tf2_ros is imported only where a parameter names one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from add_ros.bounds import impossible_transform, shown
from add_ros.errors import FrameRejectedError
from add_ros.messages import matrix_of, transformed
from add_ros.node.node_gate import NodeGate
from add_ros.stamps import ros_time

_PAUSE = 0.01  # seconds
_LONGEST_ERROR = 300  # characters


class TfTree:
    """The transforms between all frames: one listener for whoever asks.

    Args:
        node: has the subscriptions to tf.
        parameter: that asks for it, for messages.

    Raises:
        ValueError: where tf2_ros is missing.
    """

    def __init__(self, node: Node, parameter: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(
                f"parameter {parameter} needs tf2_ros ({error}): install ros-$ROS_DISTRO-tf2-ros-py, or leave it empty"
            ) from error
        self.errors, self.too_early = tf2_ros.TransformException, tf2_ros.ExtrapolationException
        self.buffer = tf2_ros.Buffer()
        self._gate = NodeGate(node, self.buffer, "a transform")
        self._listener = tf2_ros.TransformListener(self._gate, node)

    def destroy(self) -> None:
        """Listen no more."""
        self._listener.unregister()
        self._gate.destroy()


class TfTransformer:
    """Transforms messages at their own stamp.

    Args:
        tree: all transforms.
        frame: the target.
        patience: seconds that a message waits for a transform which has not arrived, by the wall clock, since simulated
            time may stand still.
    """

    def __init__(self, tree: TfTree, frame: str, patience: float) -> None:
        self._tree, self._frame, self._patience = tree, frame, patience

    def require(self, source: str) -> None:
        """Check that a frame is connected to the target frame; raises FrameRejectedError where it is not."""
        try:
            self._tree.buffer.lookup_transform(self._frame, source, Time())
        except self._tree.too_early:
            return  # connected, but there is no time at which all transforms between are known
        except self._tree.errors as error:
            raise self._rejected(source, error) from error

    def __call__(self, message: Detection3DArray) -> Detection3DArray:
        """The message in the target frame.

        Raises:
            FrameRejectedError: where the transform at its stamp does not arrive in time, or the stamp is negative.
        """
        return transformed(message, self._lookup(message.header))

    def pose(self, header: Header) -> np.ndarray:
        """(4, 4) metres from the header's frame to the target frame at its stamp.

        Raises:
            FrameRejectedError: where the transform does not arrive in time, or the stamp is negative.
        """
        return matrix_of(self._lookup(header))

    def _lookup(self, header: Header) -> Any:
        source, stamp = header.frame_id, ros_time(header.stamp)
        if stamp is None:
            raise FrameRejectedError(
                "stamp before 1970",
                f"the stamp {header.stamp.sec} s of '{shown(source)}' is negative, and tf2 has no transform of it: "
                "its publisher must set header.stamp",
            )
        end = time.monotonic() + self._patience
        while True:
            try:
                return self._checked(self._tree.buffer.lookup_transform(self._frame, source, stamp), source)
            except self._tree.too_early as error:
                if time.monotonic() > end:
                    raise self._rejected(source, error) from error
            except self._tree.errors as error:
                raise self._rejected(source, error) from error
            time.sleep(_PAUSE)

    def _checked(self, transform: Any, source: str) -> Any:
        if problem := impossible_transform(transform):
            raise FrameRejectedError(
                "invalid transform", f"the transform from '{source}' to '{self._frame}' can't be: {problem}"
            )
        return transform

    def _rejected(self, source: str, error: Exception) -> FrameRejectedError:
        said = " ".join(str(error).split())[:_LONGEST_ERROR]  # tf2 lists all frames where they close a circle
        return FrameRejectedError("no transform", f"no transform from '{shown(source)}' to '{self._frame}': {said}")
