"""Detections and tracks as Autoware takes them: autoware_perception_msgs' DetectedObjects and TrackedObjects."""

from __future__ import annotations

import importlib
import uuid
from typing import Any

import numpy as np
from vision_msgs.msg import Detection3DArray

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.pose_covariance import heading_std
from add_model.tracking import Tracks

# Class names, in small letters, and the constants of ObjectClassification that stand for them; others are UNKNOWN.
_LABELS = {
    "car": "CAR",
    "van": "CAR",
    "truck": "TRUCK",
    "bus": "BUS",
    "trailer": "TRAILER",
    "motorcycle": "MOTORCYCLE",
    "bicycle": "BICYCLE",
    "cyclist": "BICYCLE",
    "pedestrian": "PEDESTRIAN",
    "person": "PEDESTRIAN",
    "person_sitting": "PEDESTRIAN",
}
_SURE_HEADING = 0.5  # radians: above it front and back may be mixed up
_STATIONARY = 0.5  # m/s


def message_type(name: str) -> Any:
    """DetectedObjects or TrackedObjects. Raises ValueError where autoware_perception_msgs is not installed."""
    return getattr(_messages(), name)


def detected_objects(message: Detection3DArray, found: Detections) -> Any:
    """The detections of a message, in its frame; `found` has their class names and headings."""
    make = _messages()
    objects = [
        _object(make, detection, str(name), spread)
        for detection, name, spread in zip(message.detections, found.names, heading_std(found), strict=True)
    ]
    return make.DetectedObjects(header=message.header, objects=objects)


def tracked_objects(message: Detection3DArray, tracks: Tracks, namespace: uuid.UUID) -> Any:
    """The tracks of a message, in its frame, with their velocities along each object's own axes.

    Args:
        message: the tracks' Detection3DArray.
        tracks: the same, in the camera's frame.
        namespace: of this run of this camera: ids begin at 1 in each.

    Raises:
        ValueError: where the camera's motion is not known: these messages cannot say that there is no velocity.
    """
    if tracks.velocities is None or tracks.velocity_covariances is None:
        raise ValueError("tracks without the camera's motion have no velocities")
    make, objects = _messages(), []
    own_axes = _axes(tracks.boxes, tracks.up)
    for n, detection in enumerate(message.detections):
        kinematics = make.TrackedObjectKinematics(pose_with_covariance=detection.results[0].pose)
        axes = own_axes[n]
        velocity, spread = axes @ tracks.velocities[n], axes @ tracks.velocity_covariances[n] @ axes.T
        linear = kinematics.twist_with_covariance.twist.linear
        linear.x, linear.y, linear.z = map(float, velocity)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = spread
        kinematics.twist_with_covariance.covariance = covariance.ravel()
        sure = tracks.heading_std[n] < _SURE_HEADING
        kinematics.orientation_availability = kinematics.AVAILABLE if sure else kinematics.SIGN_UNKNOWN
        kinematics.is_stationary = bool(np.linalg.norm(velocity) < _STATIONARY)
        made = make.TrackedObject(kinematics=kinematics, **_common(make, detection, str(tracks.names[n])))
        made.object_id.uuid = list(uuid.uuid5(namespace, str(tracks.ids[n])).bytes)
        objects.append(made)
    return make.TrackedObjects(header=message.header, objects=objects)


def _axes(boxes: np.ndarray, up: np.ndarray | None) -> np.ndarray:
    """(N, 3, 3) from the optical frame to the boxes' axes: x forward, y left, z up."""
    return box3d.axes(boxes, up)[:, [0, 2, 1]] * np.array([[1], [1], [-1]])


def _object(make: Any, detection: Any, name: str, heading_spread: float) -> Any:
    kinematics = make.DetectedObjectKinematics(
        pose_with_covariance=detection.results[0].pose, has_position_covariance=True
    )
    sure = heading_spread < _SURE_HEADING
    kinematics.orientation_availability = kinematics.AVAILABLE if sure else kinematics.SIGN_UNKNOWN
    return make.DetectedObject(kinematics=kinematics, **_common(make, detection, name))


def _common(make: Any, detection: Any, name: str) -> dict[str, Any]:
    label = make.ObjectClassification
    number = getattr(label, _LABELS.get(name.lower(), "UNKNOWN"))
    return {
        "existence_probability": float(np.clip(detection.results[0].hypothesis.score, 0, 1)),
        "classification": [label(label=number, probability=1.0)],
        "shape": make.Shape(type=make.Shape.BOUNDING_BOX, dimensions=detection.bbox.size),
    }


def _messages() -> Any:
    try:
        return importlib.import_module("autoware_perception_msgs.msg")
    except ImportError as error:
        raise ValueError(
            f"parameter autoware_objects needs autoware_perception_msgs ({error}): install "
            "ros-$ROS_DISTRO-autoware-perception-msgs, or leave it false"
        ) from error
