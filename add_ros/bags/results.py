"""A result bag for Foxglove and RViz: the camera's topics as they were recorded, with detections and markers.

Detections and markers are the messages that the node would publish, made and serialised by the node's own code.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.interfaces import Connection
from std_msgs.msg import Header

from add_model.classes import ClassSpec
from add_model.colours import TRUTH_COLOUR
from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.tracking import Tracker, TrackerSettings
from add_ros.bags import messages, types
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrame, BagFrames
from add_ros.bags.ground_poses import GroundPoses
from add_ros.bags.reading import decoded, open_bag, raw_messages
from add_ros.bags.writing import finish, naming, offered_qos, open_writer
from add_ros.errors import FrameRejectedError
from add_ros.markers import MarkerPublisher
from add_ros.messages import detection_array
from add_ros.track_markers import TrackMarkers
from add_ros.track_messages import track_array, velocity_cloud
from training.data.sample import Objects

_LIFETIME = 1.0  # seconds that RViz shows a marker, as by the node's default
_NO_IMAGE = np.empty((0, 0, 3), np.uint8)  # not a view, which would keep the pixels
_TRACKS = {
    "tracks": types.DETECTIONS,
    "track_markers": types.MARKERS,
    "track_velocities": types.POINTS,
}
_SCENE = (types.TRANSFORMS, types.POINTS)


class ResultBag:
    """A context manager: `add` each frame with its detections; leaving it writes the bag.

    Beside the image of camera `/camera/image_rect`, its camera_info and ground truth, transforms and point clouds (but
    those that a node made of detections), all copied byte for byte, the bag gets /camera/detections (Detection3DArray),
    /camera/markers and, where frames have ground truth, /camera/ground_truth_markers, in white; and /camera/tracks and
    /camera/track_markers as the node would publish them, with /camera/track_velocities where the bag's /tf says how the
    camera moves. An image that was not added is copied without any. Leaving by an exception removes the bag.

    Args:
        path: the new bag.
        frames: the bag that the frames are read from.
        shown: the least score of detections with markers, by default that of what the node would publish;
            /camera/detections has all, so that the bag can be scored.
        classes: have the colours of markers, see `add_model.colours.class_colour`.

    `without_tracks` counts the images at whose stamps the bag's /tf does not say where the moving camera is.

    Raises:
        BagError: where the bag exists or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        frames: BagFrames,
        shown: float = SCORE_THRESHOLD,
        classes: ClassSpec | None = None,
    ) -> None:
        self.path, self._frames, self._shown, self._classes = Path(path), frames, shown, classes
        self.counts: dict[str, int] = {}
        self.without_tracks = 0
        self._types = types.typestore()
        self._results: dict[int, tuple[BagFrame, Detections]] = {}
        self._poses = GroundPoses(frames.path)
        self._writer = open_writer(self.path, "mcap")

    @property
    def malformed_transforms(self) -> int:
        """How many messages with transforms could not be decoded: tracks do without them."""
        return self._poses.malformed

    def add(self, frame: BagFrame, found: Detections) -> None:
        """Keep the detections of a frame of the bag, in the camera's own frame, best first."""
        self._results[frame.stamp] = replace(frame, image=_NO_IMAGE), found

    def _write(self) -> None:
        topics = self._frames.topics
        base = topics.image.removesuffix("/compressed").rpartition("/")[0]
        out = {name: f"{base}/{name}" for name in ("detections", "markers", "ground_truth_markers", *_TRACKS)}
        own = {topics.image, topics.camera_info, topics.ground_truth, topics.ground_truth_2d} - {None}
        if clash := sorted(own & set(out.values())):
            raise BagError(f"{self._frames.path} has its {', '.join(clash)} where the results belong: cannot add them")
        with open_bag(self._frames.path) as reader:
            derived = {*out.values(), f"{base}/obstacles"}
            scene = {c.topic for c in reader.connections if c.msgtype in _SCENE} - derived
            copied = [c for c in reader.connections if c.topic in own | scene]
            merged = {c.topic: c for c in copied}  # a topic may have several connections; their messages go to one
            target = {topic: self._connect(topic, c.msgtype, c) for topic, c in merged.items()}
            target |= {out["detections"]: self._connect(out["detections"], types.DETECTIONS)}
            target |= {out["markers"]: self._connect(out["markers"], types.MARKERS)}
            target |= {out[name]: self._connect(out[name], _TRACKS[name]) for name in ("tracks", "track_markers")}
            if topics.ground_truth:
                target |= {out["ground_truth_markers"]: self._connect(out["ground_truth_markers"], types.MARKERS)}
            found_markers, truth_markers = MarkerPublisher(), MarkerPublisher(TRUTH_COLOUR)
            tracker, track_markers = Tracker(TrackerSettings.at(self._shown)), TrackMarkers()
            for connection, time, data in self._readable(reader, copied):
                self._put(target[connection.topic], time, data)
                if connection.topic != topics.image:
                    continue
                frame, found = self._results.pop(self._stamp(connection, data), (None, None))
                if frame is None:
                    continue
                header = Header(
                    stamp=Time(sec=frame.stamp // 10**9, nanosec=frame.stamp % 10**9), frame_id=frame.frame_id
                )
                self._put(target[out["detections"]], time, serialize_message(detection_array(found, header)))
                shown = found[found.scores >= self._shown]
                markers = found_markers.update(shown, header, _LIFETIME, self._classes)
                self._put(target[out["markers"]], time, serialize_message(markers))
                try:
                    pose = self._poses(frame.frame_id, frame.stamp)
                    tracks = tracker.update(_projected(found, frame.camera), frame.camera, frame.stamp, pose)
                except FrameRejectedError:  # an image without tracks, as the node has it, begins none anew
                    pose = tracks = None
                    self.without_tracks += 1
                if tracks is not None:
                    markers = track_markers.update(tracks, header, _LIFETIME, pose)
                    self._put(target[out["tracks"]], time, serialize_message(track_array(tracks, header)))
                    self._put(target[out["track_markers"]], time, serialize_message(markers))
                    if pose is not None:
                        topic = out["track_velocities"]
                        if topic not in target:
                            target[topic] = self._connect(topic, _TRACKS["track_velocities"])
                        self._put(target[topic], time, serialize_message(velocity_cloud(tracks, header)))
                if frame.truth is not None:
                    markers = truth_markers.update(_solid(frame.truth), header, _LIFETIME)
                    self._put(target[out["ground_truth_markers"]], time, serialize_message(markers))

    def _readable(self, reader: Any, chosen: list[Connection]) -> Any:
        try:
            yield from raw_messages(reader, chosen)
        except BagError:
            if not self._frames.damage:  # which was reported when the frames were read
                raise

    def _stamp(self, connection: Connection, data: bytes | memoryview) -> int | None:
        try:
            return messages.stamp_of(decoded(self._types, connection, data))
        except BagError:
            return None  # a broken message, which was reported as well

    def _connect(self, topic: str, msgtype: str, recorded: Connection | None = None) -> Connection:
        qos = recorded.ext.offered_qos_profiles if recorded else [offered_qos()]
        return self._writer.add_connection(topic, msgtype, typestore=self._types, offered_qos_profiles=qos)

    def _put(self, connection: Connection, time: int, data: bytes | memoryview) -> None:
        with naming(self.path):
            self._writer.write(connection, time, data)
        self.counts[connection.topic] = self.counts.get(connection.topic, 0) + 1

    def __enter__(self) -> ResultBag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        finish(self._writer, self.path, error is not None, last=self._write)


def _projected(found: Detections, camera: Camera) -> Detections:
    """The detections with 2D boxes: recorded ones have none."""
    boxes2d = box3d.clip_to_image(box3d.project_boxes(found.boxes, camera), camera)
    return replace(found, boxes2d=np.where(np.isnan(found.boxes2d), boxes2d, found.boxes2d))


def _solid(truth: Objects) -> Detections:
    """The labelled objects that have a 3D box, as detections of score 1."""
    solid = truth[np.isfinite(truth.boxes).all(axis=1)]
    return Detections(solid.names, np.ones(len(solid)), solid.boxes, solid.boxes2d, np.zeros(len(solid)))
