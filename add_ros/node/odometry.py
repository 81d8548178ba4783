"""Where cameras are over ground, by nav_msgs/Odometry: for robots whose odometry is not on tf. It needs no tf2."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from add_model.geometry.camera import BODY_TO_OPTICAL
from add_ros.bounds import shown
from add_ros.errors import FrameRejectedError
from add_ros.message_times import nanoseconds
from add_ros.node.node_gate import NodeGate
from add_ros.transforms import TransformTree, odometry_transform

_MEMORY = 10 * 10**9  # nanoseconds, as tf2 has it
_DEPTH = 50


class Odometry:
    """Keeps the last seconds of a topic.

    Args:
        node: has the subscription.
        topic: of nav_msgs/Odometry.
        patience: seconds that an image waits for odometry of its stamp, by the wall clock.

    Raises:
        ValueError: where nav_msgs is missing.
    """

    def __init__(self, node: Node, topic: str, patience: float) -> None:
        try:
            from nav_msgs.msg import Odometry as OdometryMessage
        except ImportError as error:
            raise ValueError(
                f"parameter odom_topic needs nav_msgs ({error}): install ros-$ROS_DISTRO-nav-msgs, or leave it empty"
            ) from error
        self._node, self._patience, self._poses = node, patience, _RecentPoses()
        self.topic = node.resolve_topic_name(topic)
        self._gate = NodeGate(node, self._poses, f"{self.topic}: a message")
        # Both reliable and best-effort publishers reach a best-effort subscription.
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = node.create_subscription(OdometryMessage, topic, self._take, profile)

    def destroy(self) -> None:
        """Listen no more."""
        self._node.destroy_subscription(self._subscription)
        self._gate.destroy()

    def of_camera(self, mounting: Sequence[float]) -> CameraOdometry:
        """The poses of a camera; `mounting` is the parameter camera_mounting."""
        return CameraOdometry(self, mounting)

    def at(self, stamp: int) -> tuple[str, np.ndarray]:
        """The frame that odometry is of, and its pose (4, 4) over ground at a stamp in nanoseconds, metres.

        Raises:
            FrameRejectedError: where odometry of this stamp does not arrive in time.
        """
        try:
            return self._poses.at(stamp, self._patience)
        except FrameRejectedError as error:
            raise FrameRejectedError("no odometry", f"{self.topic}: {error}") from error

    def _take(self, message: Any) -> None:
        self._gate.set_transform(odometry_transform(message), self.topic)


class CameraOdometry:
    """Where one camera is over ground.

    Args:
        odometry: of what carries it.
        mounting: x, y, z in metres and roll, pitch, yaw in degrees of the camera in the frame that odometry is of (both
            x forward, y left, z up); all 0 where that is the camera's own.
    """

    def __init__(self, odometry: Odometry, mounting: Sequence[float]) -> None:
        self._odometry, self._mounting = odometry, None
        if any(mounting):
            self._mounting = np.eye(4)
            turn = Rotation.from_euler("xyz", mounting[3:], degrees=True).as_matrix()
            self._mounting[:3, :3] = turn @ BODY_TO_OPTICAL.T
            self._mounting[:3, 3] = mounting[:3]

    def pose(self, header: Header) -> np.ndarray:
        """(4, 4) metres from the header's frame to one that is fixed to the ground, at its stamp.

        Raises:
            FrameRejectedError: where odometry does not arrive in time, or is of another frame without a mounting.
        """
        frame, pose = self._odometry.at(nanoseconds(header.stamp))
        if frame.lstrip("/") == header.frame_id.lstrip("/"):
            return pose
        if self._mounting is None:
            raise FrameRejectedError(
                "no camera_mounting",
                f"{self._odometry.topic} is of '{shown(frame)}', the images are of '{shown(header.frame_id)}': the "
                "parameter camera_mounting must say where the camera is on it",
            )
        return pose @ self._mounting


class _RecentPoses:
    """What a `TransformGate` writes to; another thread may wait for poses meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.clear()

    def clear(self) -> None:
        with self._changed:
            self._tree, self._frames, self._newest = TransformTree(), ("", ""), -1

    def set_transform(self, transform: Any, _: str) -> None:
        frames = transform.header.frame_id, transform.child_frame_id
        stamp = nanoseconds(transform.header.stamp)
        with self._changed:
            if frames != self._frames:
                self._tree, self._frames, self._newest = TransformTree(), frames, -1
            self._tree.add([transform], static=False, recorded=stamp)
            self._newest = max(self._newest, stamp)
            self._tree.forget(self._newest - _MEMORY)
            self._changed.notify_all()

    def at(self, stamp: int, patience: float) -> tuple[str, np.ndarray]:
        end = time.monotonic() + patience
        with self._changed:
            while self._newest < stamp:
                left = end - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise FrameRejectedError("no odometry", self._missing(stamp))
            parent, child = self._frames
            return child, self._tree.lookup(parent, child, stamp)

    def _missing(self, stamp: int) -> str:
        if self._newest < 0:
            return "no odometry has arrived; is it published there?"
        return f"the newest odometry is {(stamp - self._newest) / 1e9:.3f} s older than the image"
