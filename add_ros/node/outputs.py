"""What is published for one camera. Everything but detections and markers is made only where somebody subscribes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection2DArray, Detection3DArray
from visualization_msgs.msg import MarkerArray

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.drawing import draw_detections
from add_model.tracking import Tracks
from add_ros.markers import MarkerPublisher
from add_ros.messages import detection_array, image_message, point_cloud, rectangle_array
from add_ros.node.autoware import detected_objects, message_type, tracked_objects
from add_ros.node.matched_subscription import type_name
from add_ros.node.obstacle_points import obstacle_points
from add_ros.node.taken_frame import TakenFrame
from add_ros.track_markers import TrackMarkers
from add_ros.track_messages import track_array, velocity_cloud

_DEPTH = 10
_IMAGE_DEPTH = 1


class StreamOutputs:
    """The publishers of one camera.

    `class_ids` has what stands for each class name in messages, the name itself where it is not there.

    Args:
        node: has the publishers.
        prefix: of the topics.
        autoware: whether Autoware's messages are published too.
        tracks: whether there are tracks.
        velocities: whether tracks have velocities.
        to_target: what moves the messages to the target frame; None leaves them in the camera's.

    Raises:
        ValueError: where Autoware's messages are missing.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        autoware: bool,
        tracks: bool,
        velocities: bool,
        to_target: Callable[[Detection3DArray], Detection3DArray] | None,
    ) -> None:
        self._node, self._marker_publisher, self._track_markers = node, MarkerPublisher(), TrackMarkers()
        self._to_target, self._run = to_target, uuid.uuid4()
        self._lock, self._open, self._cleared = threading.Lock(), False, False
        self.class_ids: Mapping[str, str] = {}

        self._publishers: list[Any] = []

        def create(kind: Any, name: str, depth: int = _DEPTH) -> Any:
            self._publishers.append(node.create_publisher(kind, f"{prefix}{name}", depth))
            return self._publishers[-1]

        try:
            self._detections = create(Detection3DArray, "detections")
            self._markers = create(MarkerArray, "markers")
            self._rectangles = create(Detection2DArray, "detections_2d")
            self._debug_image = create(Image, "debug_image", _IMAGE_DEPTH)
            self._obstacles = create(PointCloud2, "obstacles", _IMAGE_DEPTH)
            self._objects = create(message_type("DetectedObjects"), "detected_objects") if autoware else None
            self._tracks = create(Detection3DArray, "tracks") if tracks else None
            self._track_marker_topic = create(MarkerArray, "track_markers") if tracks else None
            self._velocities = create(PointCloud2, "track_velocities") if velocities else None
            self._tracked = (
                create(message_type("TrackedObjects"), "tracked_objects") if autoware and velocities else None
            )
        except Exception:
            self.destroy()
            raise

    @property
    def topic_name(self) -> str:
        """Of the detections."""
        return self._detections.topic_name

    def types(self) -> dict[str, str]:
        """Topic -> its type."""
        return {publisher.topic_name: type_name(publisher.msg_type) for publisher in self._publishers}

    def wanted(self) -> bool:
        """Whether anybody subscribes to any of this."""
        return any(publisher.get_subscription_count() for publisher in self._publishers)

    @property
    def image_wanted(self) -> bool:
        """Whether anybody subscribes to the picture with boxes, drawn into images of the camera's size only."""
        return bool(self._debug_image.get_subscription_count())

    def open(self) -> None:
        """Publish from now on."""
        self._open = True

    def close(self) -> None:
        """Publish no more, and leave no markers behind."""
        with self._lock:
            self._open = False
            self._markers.publish(self._marker_publisher.clear())
            if self._track_marker_topic is not None:
                self._track_marker_topic.publish(self._track_markers.clear())
        self._markers.wait_for_all_acked(Duration(seconds=0.1))

    def destroy(self) -> None:
        """Take the topics away."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def publish(self, frame: TakenFrame, found: Detections, classes: ClassSpec) -> None:
        """Publish what was found in a frame, in the camera's own frame, by a model of these classes.

        Raises FrameRejectedError where it cannot be moved to the target frame.
        """
        header, live = frame.header, frame.live
        message = self._moved(detection_array(found, header, self.class_ids, live["covariance_scale"]))
        with self._lock:
            if not self._open:
                return
            self._detections.publish(message)
            if not self._cleared:  # what an earlier run left; not before, since a new publisher is not found at once
                self._cleared = True
                self._markers.publish(self._marker_publisher.clear())
            # In the camera's frame always: RViz transforms by itself.
            markers = self._marker_publisher.update(found, header, live["marker_lifetime"], classes)
            self._markers.publish(markers)
            if self._rectangles.get_subscription_count():
                self._rectangles.publish(rectangle_array(found, header, self.class_ids))
            # Else somebody has subscribed since it was decoded, and gets the next one.
            if self.image_wanted and frame.image.shape[1::-1] == (frame.camera.width, frame.camera.height):
                drawn = draw_detections(frame.image, frame.camera, found, classes=classes)
                self._debug_image.publish(image_message(drawn, header))
            if self._obstacles.get_subscription_count():
                points = obstacle_points(found.boxes, live["obstacle_spacing"], found.up)
                self._obstacles.publish(point_cloud(points, header))
            if self._objects is not None and self._objects.get_subscription_count():
                self._objects.publish(detected_objects(message, found))

    def publish_tracks(self, frame: TakenFrame, tracks: Tracks, pose: np.ndarray | None) -> None:
        """Publish the tracks at a frame, in the camera's own frame, whose pose (4, 4) is that over ground.

        Raises FrameRejectedError where they cannot be moved to the target frame.
        """
        header, live = frame.header, frame.live
        message = self._moved(track_array(tracks, header, self.class_ids, live["covariance_scale"]))
        with self._lock:
            if not self._open or self._tracks is None:
                return
            self._tracks.publish(message)
            # Always made: trails go on while nobody looks.
            markers = self._track_markers.update(tracks, header, live["marker_lifetime"], pose)
            if self._track_marker_topic.get_subscription_count():
                self._track_marker_topic.publish(markers)
            if self._velocities is not None and self._velocities.get_subscription_count():
                self._velocities.publish(velocity_cloud(tracks, header))
            if self._tracked is not None and self._tracked.get_subscription_count():
                self._tracked.publish(tracked_objects(message, tracks, self._run))

    def _moved(self, message: Detection3DArray) -> Detection3DArray:
        return message if self._to_target is None else self._to_target(message)
