"""Detections -> vision_msgs, and the images and points that go with them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Vector3
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    BoundingBox3D,
    Detection2D,
    Detection2DArray,
    Detection3D,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.pose_covariance import pose_covariances

_FIELD_TYPES = {"<f4": PointField.FLOAT32, "<u4": PointField.UINT32}


def detection_array(
    detections: Detections, header: Header, class_ids: Mapping[str, str] | None = None, covariance_scale: float = 1.0
) -> Detection3DArray:
    """Detections -> Detection3DArray.

    Position is the geometric centre, size is (length, width, height) along the object's axes x forward, y left, z up.
    The covariance is positive definite, see `add_model.pose_covariance`.

    Args:
        detections: in the camera's own optical frame.
        header: of the image.
        class_ids: class name -> class_id; the name itself where it is missing.
        covariance_scale: factor on the standard deviations of the position.
    """
    covariances = pose_covariances(detections)
    covariances[:, :3, :3] *= covariance_scale**2
    return box_array(detections, covariances, header, class_ids)


def box_array(
    boxes: Detections,
    covariances: np.ndarray,
    header: Header,
    class_ids: Mapping[str, str] | None = None,
    identities: Sequence[str] | None = None,
) -> Detection3DArray:
    """Boxes with covariances (N, 6, 6) -> Detection3DArray, as `detection_array` describes it.

    Args:
        boxes: in the frame of the header.
        covariances: of position and rotation, in the frame of the header.
        header: of the message.
        class_ids: as `detection_array` takes them.
        identities: each box's id; None for none.
    """
    rows = zip(
        _class_ids(boxes, class_ids),
        boxes.scores,
        boxes.boxes,
        box3d.quaternions(boxes.boxes, boxes.up),
        covariances,
        [""] * len(boxes) if identities is None else identities,
        strict=True,
    )
    return Detection3DArray(
        header=header,
        detections=[
            _detection(str(name), float(score), box, orientation, covariance, header, identity)
            for name, score, box, orientation, covariance, identity in rows
        ],
    )


def rectangle_array(
    detections: Detections, header: Header, class_ids: Mapping[str, str] | None = None
) -> Detection2DArray:
    """The 2D boxes of detections, in pixels of the rectified image, in the order of `detection_array`."""
    left, top, right, bottom = detections.boxes2d.T
    rows = zip(
        _class_ids(detections, class_ids),
        detections.scores.tolist(),
        np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=1).tolist(),
        strict=True,
    )
    found = []
    for name, score, (u, v, width, height) in rows:
        hypothesis = ObjectHypothesis(class_id=name, score=score)
        box = BoundingBox2D(center=Pose2D(position=Point2D(x=u, y=v)), size_x=width, size_y=height)
        found.append(Detection2D(header=header, results=[ObjectHypothesisWithPose(hypothesis=hypothesis)], bbox=box))
    return Detection2DArray(header=header, detections=found)


def image_message(pixels: np.ndarray, header: Header) -> Image:
    """RGB pixels (H, W, 3) uint8 as an image."""
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = array("B", np.ascontiguousarray(pixels).tobytes())
    return message


def point_cloud(points: np.ndarray, header: Header) -> PointCloud2:
    """Points (N, 3) float32 as x, y, z."""
    return structured_cloud(np.ascontiguousarray(points, "<f4").view([(name, "<f4") for name in "xyz"])[:, 0], header)


def structured_cloud(points: np.ndarray, header: Header) -> PointCloud2:
    """Points (N,) with the named fields of their type, each little-endian float32 or uint32."""
    fields = [
        PointField(name=name, offset=offset, datatype=_FIELD_TYPES[kind.str], count=1)
        for name, (kind, offset) in points.dtype.fields.items()
    ]
    step = points.dtype.itemsize
    message = PointCloud2(header=header, height=1, width=len(points), fields=fields, point_step=step, is_dense=True)
    message.row_step = step * len(points)
    message.data = array("B", points.tobytes())
    return message


def label_info(classes: ClassSpec, threshold: float) -> LabelInfo:
    """The class names. Detections have the name itself as their class_id; the numbers are the order of the classes."""
    return LabelInfo(
        class_map=[VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes.names)],
        threshold=float(threshold),
    )


def _class_ids(detections: Detections, class_ids: Mapping[str, str] | None) -> list[str]:
    return [(class_ids or {}).get(str(name), str(name)) for name in detections.names]


def matrix_of(transform: Any) -> np.ndarray:
    """(4, 4) of a geometry_msgs/TransformStamped, from its child frame to its frame."""
    from scipy.spatial.transform import Rotation  # slow to import, and only needed for other frames

    turn, shift = transform.transform.rotation, transform.transform.translation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    matrix[:3, 3] = shift.x, shift.y, shift.z
    return matrix


def transformed(message: Detection3DArray, transform: Any) -> Detection3DArray:
    """The message in the frame of a geometry_msgs/TransformStamped: positions, orientations and covariances."""
    from scipy.spatial.transform import Rotation  # slow to import, and only needed for a target frame

    turn, shift = transform.transform.rotation, transform.transform.translation
    rotation, offset = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]), np.array([shift.x, shift.y, shift.z])
    header = Header(stamp=message.header.stamp, frame_id=transform.header.frame_id)
    return Detection3DArray(
        header=header, detections=[_turned(found, rotation, offset, header) for found in message.detections]
    )


def _turned(found: Detection3D, rotation: Any, offset: np.ndarray, header: Header) -> Detection3D:
    pose = found.bbox.center
    position = rotation.apply([pose.position.x, pose.position.y, pose.position.z]) + offset
    own = type(rotation).from_quat([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    result = found.results[0]
    matrix = np.kron(np.eye(2), rotation.as_matrix())  # positions and rotations turn alike
    covariance = matrix @ np.reshape(result.pose.covariance, (6, 6)) @ matrix.T
    box = np.array([*position, found.bbox.size.x, found.bbox.size.y, found.bbox.size.z])
    hypothesis = result.hypothesis
    return _detection(
        hypothesis.class_id, hypothesis.score, box, (rotation * own).as_quat(), covariance, header, found.id
    )


def _detection(
    name: str,
    score: float,
    box: np.ndarray,
    orientation: np.ndarray,
    covariance: np.ndarray,
    header: Header,
    identity: str = "",
) -> Detection3D:
    x, y, z, length, width, height = map(float, box[:6])
    qx, qy, qz, qw = map(float, orientation)
    pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
    result = ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(class_id=name, score=score),
        pose=PoseWithCovariance(pose=pose, covariance=covariance.ravel()),
    )
    bbox = BoundingBox3D(center=pose, size=Vector3(x=length, y=width, z=height))
    return Detection3D(header=header, results=[result], bbox=bbox, id=identity)
