"""Write camera frames with their calibration and ground truth to a rosbag2, one frame at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from add_model.geometry.camera import BODY_TO_OPTICAL, Camera
from add_ros.bags import messages, types
from add_ros.bags.errors import BagError
from add_ros.bags.ground_truth import encode
from add_ros.bags.sources import Scan
from add_ros.bags.writing import finish, naming, offered_qos, open_writer
from add_ros.topic_names import RULE, is_relative_name
from training.data.sample import Sample

IMAGE, CAMERA_INFO, GROUND_TRUTH, GROUND_TRUTH_2D = "image_rect", "camera_info", "ground_truth", "ground_truth_2d"

TF_STATIC, VELODYNE, VELODYNE_FRAME = "/tf_static", "/velodyne_points", "velodyne"
BASE_FRAME = "base_link"
TF, ODOM_FRAME = "/tf", "odom"
CAMERA_HEIGHT = 1.65  # metres above the road, as KITTI's cameras


class CameraBagWriter:
    """A context manager that writes samples of one camera; an exception in it, or in closing, removes the bag.

    The topics are below `camera`: image_rect (or image_rect/compressed), camera_info and, where `ground_truth` is set,
    ground_truth and ground_truth_2d. /tf_static has the camera's pose in `base_link`, which is on the road below the
    camera with z up. Where frames have a velodyne, /velodyne_points has its scans in the frame `velodyne`, which is
    between these two, again whenever the calibration changes. Where frames have a pose, /tf has that of `base_link` in
    `odom`, which is where the vehicle was at first. `counts` has the number of messages per topic, `flat`
    the labels without a 3D box, by name, which are in ground_truth_2d only.

    Args:
        path: folder of the new bag.
        storage: mcap or sqlite3.
        compress: whether to compress with zstd.
        compressed_images: whether images are JPEG.
        ground_truth: whether samples have labels to write.
        camera: namespace of the topics.
        frame_id: of the camera.
        camera_height: metres above the road.

    Raises:
        BagError: where the bag exists or cannot be written, and for impossible names.
    """

    def __init__(
        self,
        path: str | Path,
        storage: str = "mcap",
        compress: bool = False,
        compressed_images: bool = False,
        ground_truth: bool = True,
        camera: str = "/camera",
        frame_id: str = "camera_optical_frame",
        camera_height: float = CAMERA_HEIGHT,
    ) -> None:
        self.path, self.frame_id = Path(path), frame_id
        self._base = np.c_[BODY_TO_OPTICAL, (0.0, camera_height, 0.0)]  # base_link's points in the camera's frame
        self.counts: Counter[str] = Counter()
        self.flat: Counter[str] = Counter()
        self._compressed_images = compressed_images
        self._types = types.typestore()
        self._velodyne: np.ndarray | None = None
        self._placed = False
        self._start: np.ndarray | None = None
        self._connections: dict[str, Any] = {}
        if not frame_id.strip():
            raise BagError("the camera's frame must have a name, such as camera_optical_frame: tf knows no '' frame")
        for taken, whose in (
            (VELODYNE_FRAME, "the velodyne's"),
            (BASE_FRAME, "the vehicle's"),
            (ODOM_FRAME, "odometry's"),
        ):
            if frame_id == taken:
                raise BagError(f"the frame '{taken}' is {whose}: name the camera's differently")
        camera = camera.strip("/")
        if camera and not is_relative_name(camera):
            raise BagError(f"camera '{camera}' is no namespace for topics ({RULE})")
        camera = f"/{camera}" if camera else ""
        self._writer = open_writer(self.path, storage, compress)
        image = (f"{IMAGE}/compressed", "CompressedImage") if compressed_images else (IMAGE, "Image")
        self._image, self._info = f"{camera}/{image[0]}", f"{camera}/{CAMERA_INFO}"
        self._truth, self._truth_2d = f"{camera}/{GROUND_TRUTH}", f"{camera}/{GROUND_TRUTH_2D}"
        self._connect(self._image, f"sensor_msgs/msg/{image[1]}")
        self._connect(self._info, "sensor_msgs/msg/CameraInfo")
        if ground_truth:
            self._connect(self._truth, types.DETECTIONS)
            self._connect(self._truth_2d, types.RECTANGLES)

    def write(
        self,
        sample: Sample,
        stamp: int,
        tracks: np.ndarray | None = None,
        velodyne: np.ndarray | None = None,
        scan: Scan | None = None,
        pose: np.ndarray | None = None,
    ) -> None:
        """Write one frame. The CameraInfo comes first, so that a node has it when the image arrives.

        Args:
            sample: image, camera and labels.
            stamp: nanoseconds.
            tracks: as in `sources.SourceFrame`; objects without a track get an id that no other frame has.
            velodyne: as in `sources.SourceFrame`.
            scan: as in `sources.SourceFrame`.
            pose: as in `sources.SourceFrame`.
        """
        if sample.image.shape != (sample.camera.height, sample.camera.width, 3):
            raise BagError(f"frame {sample.id}: image {sample.image.shape} does not fit its camera {sample.camera}")
        to_message = messages.compressed_image if self._compressed_images else messages.image
        own = None if velodyne is None else velodyne + np.c_[np.zeros((3, 3)), sample.camera.translation]
        self._put_transforms(own, stamp)
        if pose is not None:
            self._put_odometry(pose, sample.camera, stamp)
        self._put(self._info, stamp, messages.camera_info(self._types, sample.camera, stamp, self.frame_id))
        self._put(self._image, stamp, to_message(self._types, sample.image, stamp, self.frame_id))
        if self._truth in self._connections:
            self._put_truth(sample, stamp, tracks)
        if scan is not None:
            self._connect(VELODYNE, types.POINTS)
            cloud = messages.point_cloud(self._types, scan.points, scan.stamp, VELODYNE_FRAME)
            self._put(VELODYNE, scan.stamp, cloud)

    def _put_transforms(self, velodyne: np.ndarray | None, stamp: int) -> None:
        """A frame has one parent in tf: with a velodyne, base_link carries that, and it the camera."""
        new = velodyne is not None and (self._velodyne is None or not np.array_equal(velodyne, self._velodyne))
        if self._placed and not new:
            return
        self._placed = True
        self._connect(TF_STATIC, types.TRANSFORMS, latched=True)
        if velodyne is None:
            message = messages.transform(self._types, self._base, stamp, BASE_FRAME, self.frame_id)
        else:
            self._velodyne = velodyne
            message = messages.transform(self._types, velodyne, stamp, VELODYNE_FRAME, self.frame_id)
            turn = velodyne[:, :3].T  # from the camera's frame to the velodyne's
            base = np.c_[turn @ self._base[:, :3], turn @ (self._base[:, 3] - velodyne[:, 3])]
            message.transforms += messages.transform(self._types, base, stamp, BASE_FRAME, VELODYNE_FRAME).transforms
        self._put(TF_STATIC, stamp, message)

    def _put_odometry(self, pose: np.ndarray, camera: Camera, stamp: int) -> None:
        """Where the vehicle is in `odom`, which is where it was at first."""
        to_projection, base = np.eye(4), np.eye(4)
        to_projection[:3, 3], base[:3] = -camera.translation, self._base
        vehicle = pose @ to_projection @ base
        if self._start is None:
            self._start = vehicle
        self._connect(TF, types.TRANSFORMS)
        to_vehicle = np.linalg.solve(vehicle, self._start)[:3]
        self._put(TF, stamp, messages.transform(self._types, to_vehicle, stamp, ODOM_FRAME, BASE_FRAME))

    def _put_truth(self, sample: Sample, stamp: int, tracks: np.ndarray | None) -> None:
        objects = sample.objects
        self.flat.update(map(str, objects.names[~np.isfinite(objects.boxes).all(axis=1)]))
        tracks = np.full(len(objects), -1) if tracks is None else tracks
        ids = [str(track) if track >= 0 else f"{sample.id}/{row}" for row, track in enumerate(tracks)]
        own = replace(objects, boxes=objects.boxes + np.r_[sample.camera.translation, [0] * 4])
        truth, rectangles = encode(self._types, own, ids, stamp, self.frame_id)
        self._put(self._truth, stamp, truth)
        self._put(self._truth_2d, stamp, rectangles)

    def _connect(self, topic: str, msgtype: str, latched: bool = False) -> None:
        """Once for each topic: those of the velodyne come when the first frame has one."""
        if topic not in self._connections:
            qos = [offered_qos(latched=latched)]
            with naming(self.path):
                self._connections[topic] = self._writer.add_connection(
                    topic, msgtype, typestore=self._types, offered_qos_profiles=qos
                )

    def _put(self, topic: str, stamp: int, message: Any) -> None:
        connection = self._connections[topic]
        with naming(self.path):
            self._writer.write(connection, stamp, self._types.serialize_cdr(message, connection.msgtype))
        self.counts[topic] += 1

    def __enter__(self) -> CameraBagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        finish(self._writer, self.path, error is not None)
