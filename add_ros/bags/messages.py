"""Samples to messages in bags, and back: pure functions on the message classes of a rosbags typestore.

Everything is published in this camera's own optical frame: CameraInfo has P = [K | 0], and ground truth that KITTI
gives in the reference camera's frame is shifted by the camera's translation K^-1 P[:, 3].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from rosbags.typesys.store import Typestore

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera

_JPEG_QUALITY = 95


def header(types: Typestore, stamp: int, frame_id: str) -> Any:
    """std_msgs/Header; stamp in nanoseconds."""
    time = types.types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return types.types["std_msgs/msg/Header"](time, frame_id)


def stamp_of(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def seconds(stamp: int) -> str:
    """Nanoseconds as decimal seconds, exactly."""
    return f"{stamp // 10**9}.{stamp % 10**9:09d}"


def image(types: Typestore, pixels: np.ndarray, stamp: int, frame_id: str) -> Any:
    """sensor_msgs/Image, rgb8, of an RGB image (H, W, 3) uint8."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    return types.types["sensor_msgs/msg/Image"](
        header(types, stamp, frame_id), height, width, "rgb8", 0, 3 * width, data
    )


def compressed_image(types: Typestore, pixels: np.ndarray, stamp: int, frame_id: str) -> Any:
    """sensor_msgs/CompressedImage, JPEG at quality 95, of an RGB image (H, W, 3) uint8."""
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return types.types["sensor_msgs/msg/CompressedImage"](
        header(types, stamp, frame_id), "rgb8; jpeg compressed bgr8", data.reshape(-1)
    )


def camera_info(types: Typestore, camera: Camera, stamp: int, frame_id: str) -> Any:
    """sensor_msgs/CameraInfo of a rectified image: K = P[:, :3], no distortion, R = I, P = [K | 0]."""
    K = camera.P[:, :3]
    region = types.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return types.types["sensor_msgs/msg/CameraInfo"](
        header(types, stamp, frame_id),
        camera.height,
        camera.width,
        "plumb_bob",
        np.zeros(5),
        K.reshape(-1).copy(),
        np.eye(3).reshape(-1),
        camera.own_frame().P.reshape(-1).copy(),
        0,
        0,
        region,
    )


def point_cloud(types: Typestore, points: np.ndarray, stamp: int, frame_id: str) -> Any:
    """sensor_msgs/PointCloud2 of points (M, 4) as x, y, z in metres and intensity, stored as float32."""
    point_field = types.types["sensor_msgs/msg/PointField"]
    fields = [point_field(name, 4 * i, point_field.FLOAT32, 1) for i, name in enumerate(("x", "y", "z", "intensity"))]
    rows = np.ascontiguousarray(points, dtype="<f4")
    return types.types["sensor_msgs/msg/PointCloud2"](
        header(types, stamp, frame_id), 1, len(rows), fields, False, 16, 16 * len(rows),
        rows.view(np.uint8).reshape(-1), bool(np.isfinite(rows).all()),
    )  # fmt: skip


def transform(types: Typestore, matrix: np.ndarray, stamp: int, parent: str, child: str) -> Any:
    """tf2_msgs/TFMessage of a rigid transform.

    Args:
        types: has the message classes.
        matrix: (3, 4) metres, from points of the parent frame to points of the child frame. tf has the other direction:
            the child's pose in the parent frame.
        stamp: nanoseconds.
        parent: a frame.
        child: a frame.
    """
    from scipy.spatial.transform import Rotation  # slow to import, and only needed for transforms

    make = types.types
    # Calibrations are rounded: this is the nearest rotation, and the parent's origin stays where it is.
    inverse = Rotation.from_matrix(matrix[:, :3]).inv()
    x, y, z, w = map(float, inverse.as_quat())
    pose = make["geometry_msgs/msg/Transform"](
        make["geometry_msgs/msg/Vector3"](*map(float, -inverse.apply(matrix[:, 3]))),
        make["geometry_msgs/msg/Quaternion"](x, y, z, w),
    )
    stamped = make["geometry_msgs/msg/TransformStamped"](header(types, stamp, parent), child, pose)
    return make["tf2_msgs/msg/TFMessage"]([stamped])


def empty_pose(types: Typestore) -> Any:
    """geometry_msgs/PoseWithCovariance at the origin, for messages whose pose has no meaning."""
    make = types.types
    pose = make["geometry_msgs/msg/Pose"](
        make["geometry_msgs/msg/Point"](0.0, 0.0, 0.0), make["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    return make["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36))


def detections(
    types: Typestore,
    names: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    stamp: int,
    frame_id: str,
    ids: Sequence[str] | None = None,
) -> Any:
    """vision_msgs/Detection3DArray of boxes.

    Args:
        types: has the message classes.
        names: (N,) of the classes.
        scores: (N,).
        boxes: (N, 7) in the frame of frame_id.
        stamp: nanoseconds.
        frame_id: of the boxes.
        ids: identities over time; None for empty ones.
    """
    make = types.types
    head = header(types, stamp, frame_id)
    entries = []
    rows = zip(names, scores, boxes, box3d.quaternions(boxes), [""] * len(boxes) if ids is None else ids, strict=True)
    for name, score, box, turn, identity in rows:
        pose = make["geometry_msgs/msg/Pose"](
            make["geometry_msgs/msg/Point"](*map(float, box[:3])),
            make["geometry_msgs/msg/Quaternion"](*map(float, turn)),
        )
        hypothesis = make["vision_msgs/msg/ObjectHypothesisWithPose"](
            make["vision_msgs/msg/ObjectHypothesis"](str(name), float(score)),
            make["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        )
        size = make["geometry_msgs/msg/Vector3"](*map(float, box[3:6]))
        extent = make["vision_msgs/msg/BoundingBox3D"](pose, size)
        entries.append(make["vision_msgs/msg/Detection3D"](head, [hypothesis], extent, identity))
    return make["vision_msgs/msg/Detection3DArray"](head, entries)


def boxes_of(message: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A Detection3DArray, of a bag or of rclpy, as arrays.

    Returns:
        Names (N,), scores (N,) and boxes (N, 7) in the message's frame, by the best hypothesis of each detection; one
        without any has an empty name and a score of NaN.
    """
    names, scores, boxes = [], [], np.empty((len(message.detections), 7))
    for row, detection in zip(boxes, message.detections, strict=True):
        best = max((result.hypothesis for result in detection.results), key=lambda h: h.score, default=None)
        names.append(best.class_id if best else "")
        scores.append(best.score if best else np.nan)
        centre, turn, size = detection.bbox.center.position, detection.bbox.center.orientation, detection.bbox.size
        row[:6] = centre.x, centre.y, centre.z, size.x, size.y, size.z
        row[6] = box3d.rotation_y(np.array([[turn.x, turn.y, turn.z, turn.w]]))[0]
    return np.array(names, dtype=str), np.array(scores, dtype=float), boxes


def detections_of(message: Any) -> Detections:
    """A Detection3DArray as detections in its own frame, best first; boxes2d is NaN, since messages don't have it."""
    names, scores, boxes = boxes_of(message)
    deviations = [
        np.sqrt(found.results[0].pose.covariance[14]) if found.results else np.nan for found in message.detections
    ]
    found = Detections(names, scores, boxes, np.full((len(names), 4), np.nan), np.array(deviations, dtype=float))
    return found[np.argsort(-scores, kind="stable")]
