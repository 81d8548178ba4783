"""One bag as frames to export: images with their camera, scan, labels and attitude, in the order of recording.

A frame is given once the bag has been read `WAIT` further, so that the scan and the transforms around its stamp are
known; nothing is held for longer, so that memory does not grow with the recording.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection

from add_model.geometry.camera import Camera
from add_model.geometry.level import LevelView
from add_ros.bag_export.delays import Delays
from add_ros.bag_export.label_stream import LabelStream
from add_ros.bag_export.labels import objects_of
from add_ros.bag_export.sources import ExportTopics, find_sources
from add_ros.bag_export.sweeps import Sweep, sweep_of
from add_ros.bags import messages, types
from add_ros.bags.errors import BagError
from add_ros.bags.frames import DARK, DOUBT, FALLBACK, NO_INFO
from add_ros.bags.reading import open_bag, readable_messages
from add_ros.bags.topics import Topics
from add_ros.calibration import Calibrator
from add_ros.camera_info_sync import PATIENCE, CameraInfoSynchronizer, synchronizer_of_recorded
from add_ros.errors import FrameRejectedError
from add_ros.rectified_images import rectified_image
from add_ros.transforms import TransformTree, odometry_transform
from training.data.sample import Objects

WAIT = 500_000_000  # ns
_MEMORY = 10_000_000_000  # ns of moving transforms that are kept
_IMU_MEMORY = 3_000_000_000  # ns between an IMU's message and the last one that is kept
_SCANS = 64
_UPRIGHT = 0.5  # cosine: a frame whose z axis leans more than 60 degrees from the camera's up has no z up
TF, TF_STATIC = "/tf", "/tf_static"


class Recording:
    """The frames of the cameras of one bag.

    Args:
        path: the bag.
        wanted: its topics.
        max_offset: nanoseconds between an image and its scan at most.
        rectification: as the node's parameter.

    `noted` counts what is unusual about frames that are given, and `skipped` images that are not; `problems` has a
    sentence on the first of each kind. `delays` has seconds from stamp to recording of each topic's messages.

    Raises:
        BagError: where the bag cannot be read or has not these topics.
    """

    def __init__(self, path: Path, wanted: ExportTopics, max_offset: int, rectification: str = "auto") -> None:
        self.path, self._wanted, self._max_offset = path, wanted, max_offset
        self.store = types.typestore()
        with open_bag(path) as reader:
            try:
                self.sources = find_sources(list(reader.connections), wanted, self.store)
            except BagError as error:
                raise BagError(f"{path}: {error}") from error
            self.notes = list(reader.notes)
            counts = {c.topic: c.msgcount for c in reader.connections}
        self.images = sum(counts[camera.image] for camera in self.sources.cameras)
        self.tree = TransformTree()
        self.noted: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        self.calibrations: dict[str, list[str]] = {}
        self.delays: dict[str, Delays] = {}
        self.damage: str | None = None
        self._scans: deque[tuple[int, Any]] = deque(maxlen=_SCANS)
        self._imu: deque[tuple[int, int, str, np.ndarray]] = deque()  # recorded, stamp, frame, up
        self._calibrators = {c.image: Calibrator(rectification, c.image) for c in self.sources.cameras}
        labelled = {topic for topic in self.sources.labels.values() if topic}
        self.labels = LabelStream(path, self.store, labelled, self._count_malformed)

    def frames(self) -> Iterator[RecordedFrame]:
        """Each image that has a CameraInfo, in the order of recording."""
        self._read_static()
        waiting: deque[tuple[int, RecordedFrame]] = deque()
        pairs = {camera.image: self._synchronizer(camera, waiting) for camera in self.sources.cameras}
        infos: dict[str, list[CameraInfoSynchronizer]] = {}
        for camera in self.sources.cameras:
            infos.setdefault(camera.camera_info, []).append(pairs[camera.image])
        self._now = 0
        for topic, now, message in self._messages({*pairs, *infos}):
            self._now = now
            for pair in pairs.values():
                pair.expire(self._now)
            if topic in pairs:
                pairs[topic].add_image(message, self._now)
            for pair in infos.get(topic, ()):
                pair.add_info(message)
            if topic == self.sources.points:
                self._scans.append((messages.stamp_of(message), message))
            elif topic in (TF, self._wanted.odometry):
                self.tree.add(message.transforms if topic == TF else [odometry_transform(message)], False, self._now)
            elif topic == self._wanted.imu:
                self._imu.append((now, messages.stamp_of(message), message.header.frame_id, _up_of(message)))
                while now - self._imu[0][0] > _IMU_MEMORY:
                    self._imu.popleft()
            while waiting and self._now - waiting[0][0] >= WAIT:
                yield self._given(waiting.popleft()[1])
        for pair in pairs.values():
            pair.flush()
        while waiting:
            yield self._given(waiting.popleft()[1])

    def count(self, counted: Counter[str], reason: str, sentence: str) -> None:
        """Count something, and keep the first sentence on it."""
        counted[reason] += 1
        self.problems.setdefault(reason, sentence)

    def _count_malformed(self, topic: str, sentence: str) -> None:
        self.count(self.noted, f"malformed message on {topic}", sentence)

    def _given(self, frame: RecordedFrame) -> RecordedFrame:
        self.tree.forget(frame.stamp - _MEMORY)
        return frame

    def _synchronizer(self, camera: Topics, waiting: deque[tuple[int, RecordedFrame]]) -> CameraInfoSynchronizer:
        def fell_back(*_: Any) -> None:
            self.noted[FALLBACK] += 1

        def unpaired() -> None:
            sentence = f"no message had come on {camera.camera_info} {PATIENCE} s after the image"
            self.count(self.skipped, NO_INFO, sentence)

        return synchronizer_of_recorded(
            lambda image, info: waiting.append((self._now, RecordedFrame(self, camera, image, info))),
            fell_back,
            unpaired,
        )

    def _messages(self, cameras: set[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, nanoseconds, message), up to where the bag breaks."""
        topics = {*cameras, self.sources.points, TF, self._wanted.odometry, self._wanted.imu} - {None}
        for connection, time, message in self._readable(topics):
            if connection.topic != TF:
                delay = (time - messages.stamp_of(message)) / 1e9
                self.delays.setdefault(connection.topic, Delays()).add(delay)
            yield connection.topic, time, message

    def _readable(self, topics: set[str]) -> Iterator[tuple[Connection, int, Any]]:
        return readable_messages(
            self.path, self.store, lambda c: c.topic in topics, self._count_malformed, self._break_off
        )

    def _read_static(self) -> None:
        """All of /tf_static, since it may have been recorded after the first images."""
        for _, time, message in self._readable({TF_STATIC}):
            self.tree.add(message.transforms, True, time)

    def _break_off(self, damage: str) -> None:
        self.damage = damage

    def scan_near(self, stamp: int) -> Any | None:
        """The PointCloud2 nearest in time, None where none is near enough."""
        near = min(self._scans, key=lambda scan: abs(scan[0] - stamp), default=None)
        return near[1] if near and abs(near[0] - stamp) <= self._max_offset else None

    def up(self, frame_id: str, stamp: int) -> np.ndarray | None:
        """(3,) unit vector in a frame that points up, by the IMU where there is one, else by tf; None if unknown."""
        if self._imu:
            close = (row for row in self._imu if abs(row[1] - stamp) <= WAIT)
            near = [(frame, up) for _, _, frame, up in close if np.isfinite(up).all()]
            if near:
                up = np.mean([up for _, up in near], axis=0)
                return self.tree.lookup(frame_id, near[0][0], stamp)[:3, :3] @ (up / np.linalg.norm(up))
            return None
        top = self.tree.ground(frame_id) or self.tree.root(frame_id)
        if top == frame_id:
            return None
        up = self.tree.lookup(frame_id, top, stamp)[:3, 2]
        return up if -up[1] >= _UPRIGHT else None


class RecordedFrame:
    """One image; what belongs to it is read when it is asked for, soon after it was given.

    Every method raises FrameRejectedError where what it gives is unusable.
    """

    def __init__(self, recording: Recording, camera: Topics, image: Any, info: Any) -> None:
        self._recording, self._camera, self._image, self._info = recording, camera, image, info
        self.topic, self.stamp, self.frame_id = camera.image, messages.stamp_of(image), image.header.frame_id

    def load(self) -> tuple[np.ndarray, Camera]:
        """The rectified image (H, W, 3) uint8 RGB, and its camera with points in its own frame."""
        recording = self._recording
        note = partial(recording.count, recording.noted, DARK)
        pixels, calibration = rectified_image(self._image, self._info, recording._calibrators[self.topic], note)
        known = recording.calibrations.setdefault(self.topic, [])
        if calibration.source not in known:
            known.append(calibration.source)
        if calibration.doubt:
            recording.count(recording.noted, DOUBT, calibration.doubt)
        return pixels, calibration.camera

    def place(self) -> np.ndarray:
        """(3,) metres: where the camera is, in the frame that does not move with it."""
        tree = self._recording.tree
        ground = tree.ground(self.frame_id)
        if ground is None:
            raise FrameRejectedError(
                "no odometry",
                f"nothing in /tf moves '{self.frame_id}': to choose frames by metres, record /tf or name --odometry",
            )
        return tree.lookup(ground, self.frame_id, self.stamp)[:3, 3]

    def up(self) -> np.ndarray | None:
        """(3,) unit vector in the camera's frame that points up, None where nothing tells."""
        return self._recording.up(self.frame_id, self.stamp)

    def sweep(self) -> Sweep | None:
        """The scan nearest in time, None where there is none within the limit."""
        message = self._recording.scan_near(self.stamp)
        return None if message is None else sweep_of(message, self._recording.tree, self.frame_id, self.stamp)

    def objects(self, camera: Camera, scan_stamp: int | None, view: LevelView | None = None) -> Objects | None:
        """The labels of the image's stamp, else of the scan's; None where there is no message of either.

        camera, view: as `objects_of` has them.
        """
        recording, topic = self._recording, self._recording.sources.labels[self.topic]
        for stamp in (self.stamp, scan_stamp):
            found = recording.labels.at(topic, stamp) if topic and stamp is not None else None
            if found is not None:
                note = partial(recording.count, recording.noted)
                return objects_of(*found, camera, partial(self._brought, stamp=stamp), note, view)
        return None

    def _brought(self, frame: str, stamp: int) -> np.ndarray:
        """(4, 4) from a frame as it was at a stamp to the camera's at the image's, over ground where that is known."""
        tree, same = self._recording.tree, messages.same_frame(frame, self.frame_id)
        ground = None if stamp == self.stamp else tree.ground(self.frame_id)
        if ground is None:
            return np.eye(4) if same else tree.lookup(self.frame_id, frame, self.stamp)
        there = tree.lookup(ground, self.frame_id if same else frame, stamp)
        return np.linalg.inv(tree.lookup(ground, self.frame_id, self.stamp)) @ there


def _up_of(imu: Any) -> np.ndarray:
    """(3,) unit vector that points up in the IMU's frame: by its orientation, else by what it accelerates against."""
    q = imu.orientation
    x, y, z, w = q.x, q.y, q.z, q.w
    if imu.orientation_covariance[0] >= 0 and abs(x * x + y * y + z * z + w * w - 1) < 0.1:
        return np.array([2 * (x * z - y * w), 2 * (y * z + x * w), w * w - x * x - y * y + z * z])
    a = imu.linear_acceleration
    force = np.array([a.x, a.y, a.z])
    length = np.linalg.norm(force)
    return force / length if length > 1 else np.full(3, np.nan)
