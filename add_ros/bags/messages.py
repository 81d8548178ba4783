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
from add_model.pose_covariance import depth_std
from add_ros.bags.errors import BagError
from add_ros.message_times import nanoseconds

_JPEG_QUALITY = 95
_END = 2**31 * 10**9  # nanoseconds: builtin_interfaces/Time counts seconds in an int32
_NO_TURN = 1e-6  # length of a quaternion that says nothing


def header(types: Typestore, stamp: int, frame_id: str) -> Any:
    """std_msgs/Header; stamp in nanoseconds. Raises BagError for one that a message can't hold."""
    if not -_END <= stamp < _END:
        raise BagError(f"no message can hold the time {seconds(stamp)} s: ROS counts up to 2147483647 s (in 2038)")
    time = types.types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return types.types["std_msgs/msg/Header"](time, frame_id)


def stamp_of(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    return nanoseconds(message.header.stamp)


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
        without any has an empty name and a score of NaN. A box is NaN where `box_fault` finds something wrong with it.
    """
    names, scores, boxes = [], [], np.full((len(message.detections), 7), np.nan)
    for row, detection in zip(boxes, message.detections, strict=True):
        best = max((result.hypothesis for result in detection.results), key=lambda h: h.score, default=None)
        names.append(best.class_id if best else "")
        scores.append(best.score if best else np.nan)
        row[:], _ = _checked_box(detection.bbox.size, *_pose(detection))
    return np.array(names, dtype=str), np.array(scores, dtype=float), boxes


def box_fault(detection: Any) -> tuple[str, str] | None:
    """Why a Detection3D gives no upright box, as the kind of fault and in words; None where it does."""
    return _fault(detection.bbox.size, *_pose(detection))


def box_of(pose: Any, size: Any) -> tuple[np.ndarray, tuple[str, str] | None]:
    """The upright box (7,) of a pose and a size (geometry_msgs/Pose and Vector3), such as a Marker's cube has.

    Returns:
        The box, and None; where there is a fault NaN, and what `box_fault` says of such a Detection3D.
    """
    p, q = pose.position, pose.orientation
    position, turn = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    return _checked_box(size, position, turn)


def _checked_box(size: Any, position: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, tuple[str, str] | None]:
    fault = _fault(size, position, turn)
    return (np.full(7, np.nan) if fault else _upright_box(size, position, turn)), fault


def _fault(size: Any, position: np.ndarray, turn: np.ndarray) -> tuple[str, str] | None:
    sides = np.array([size.x, size.y, size.z])
    if not all(np.isfinite(values).all() for values in (sides, position, turn)):
        return "not finite", "has a position, a size or an orientation that is not finite"
    if not (sides > 0).all():
        return "without a size", f"has no size ({size.x:g}, {size.y:g}, {size.z:g}): bbox.size must hold it"
    if np.linalg.norm(turn) < _NO_TURN:
        return "without an orientation", (
            "has the orientation 0 0 0 0, which is no rotation: the publisher must fill it in"
        )
    _, lean = _upright(turn)
    if lean > box3d.MOST_LEAN:  # a camera's own tilt, against which boxes may be given
        return "leaning", (
            f"is tilted by {lean:.0f} degrees: only upright boxes can be scored, in the image's own optical frame"
        )
    return None


def _upright_box(size: Any, position: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The box (7,) whose sides are given along any axes of its own; x is taken for forward.

    vision_msgs leaves the axes open: by REP 103 z is up, by KITTI's own convention y is down.
    """
    axis, _ = _upright(turn)
    sides = np.array([size.x, size.y, size.z])
    forward = 1 if axis == 0 else 0
    (beside,) = {0, 1, 2} - {axis, forward}
    heading = box3d.heading_of(box3d.rotation_matrix(turn)[:, forward])
    return np.r_[position, sides[[forward, beside, axis]], heading]


def _pose(detection: Any) -> tuple[np.ndarray, np.ndarray]:
    """Position and orientation (x, y, z, w): of the box, or of its best hypothesis where only that is filled in."""
    pose = detection.bbox.center
    if not any((pose.position.x, pose.position.y, pose.position.z)) and detection.results:
        other = max(detection.results, key=lambda result: result.hypothesis.score).pose.pose
        if any((other.position.x, other.position.y, other.position.z)):
            pose = other
    p, q = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])


def _upright(turn: np.ndarray) -> tuple[int, float]:
    """(the box's axis that is nearest to the vertical, degrees by which it leans from it), for a rotation."""
    vertical = np.abs(box3d.rotation_matrix(turn)[1])
    axis = int(vertical.argmax())
    return axis, float(np.degrees(np.arccos(min(1.0, vertical[axis]))))


def same_frame(one: str, other: str) -> bool:
    """Whether two frame ids name one frame, as far as they say: ROS 1's had a slash before them."""
    return not one or not other or one.lstrip("/") == other.lstrip("/")


def detections_of(message: Any) -> Detections:
    """A Detection3DArray as detections in its own frame, best first; boxes2d is NaN, since messages don't have it."""
    names, scores, boxes = boxes_of(message)
    variances = [found.results[0].pose.covariance[14] if found.results else np.nan for found in message.detections]
    deviations = depth_std(np.array(variances, dtype=float))
    found = Detections(names, scores, boxes, np.full((len(names), 4), np.nan), deviations)
    return found[np.argsort(-scores, kind="stable")]
