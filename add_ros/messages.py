"""Detections -> vision_msgs."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Vector3
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox3D,
    Detection3D,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    VisionClass,
)

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.uncertainty import pose_covariances


def detection_array(detections: Detections, header: Header) -> Detection3DArray:
    """Detections -> Detection3DArray.

    Position is the geometric centre, size is (length, width, height) along the object's axes x forward, y left, z up.
    The covariance is positive definite, see `add_model.uncertainty`.

    Args:
        detections: in the camera's own optical frame.
        header: of the image.
    """
    covariances = pose_covariances(detections)
    rows = zip(detections.names, detections.scores, detections.boxes, covariances, strict=True)
    orientations = box3d.quaternions(detections.boxes)
    return Detection3DArray(
        header=header,
        detections=[
            _detection(str(name), float(score), box, orientation, covariance, header)
            for (name, score, box, covariance), orientation in zip(rows, orientations, strict=True)
        ],
    )


def label_info(classes: ClassSpec, threshold: float) -> LabelInfo:
    """The class names. Detections have the name itself as their class_id; the numbers are the order of the classes."""
    return LabelInfo(
        class_map=[VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes.names)],
        threshold=float(threshold),
    )


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
