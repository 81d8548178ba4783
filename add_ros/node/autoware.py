"""Detections as Autoware's perception takes them: autoware_perception_msgs/DetectedObjects, where that is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from vision_msgs.msg import Detection3DArray

from add_model.detections import Detections
from add_model.pose_covariance import heading_std

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


def message_type() -> Any:
    """DetectedObjects. Raises ValueError where autoware_perception_msgs is not installed."""
    return _messages().DetectedObjects


def detected_objects(message: Detection3DArray, found: Detections) -> Any:
    """The detections of a message, in its frame; `found` has their class names and headings."""
    make = _messages()
    objects = [
        _object(make, detection, str(name), spread)
        for detection, name, spread in zip(message.detections, found.names, heading_std(found), strict=True)
    ]
    return make.DetectedObjects(header=message.header, objects=objects)


def _object(make: Any, detection: Any, name: str, heading_spread: float) -> Any:
    result, label = detection.results[0], make.ObjectClassification
    number = getattr(label, _LABELS.get(name.lower(), "UNKNOWN"))
    kinematics = make.DetectedObjectKinematics(pose_with_covariance=result.pose, has_position_covariance=True)
    sure = heading_spread < _SURE_HEADING
    kinematics.orientation_availability = kinematics.AVAILABLE if sure else kinematics.SIGN_UNKNOWN
    return make.DetectedObject(
        existence_probability=float(np.clip(result.hypothesis.score, 0, 1)),
        classification=[label(label=number, probability=1.0)],
        kinematics=kinematics,
        shape=make.Shape(type=make.Shape.BOUNDING_BOX, dimensions=detection.bbox.size),
    )


def _messages() -> Any:
    try:
        return importlib.import_module("autoware_perception_msgs.msg")
    except ImportError as error:
        raise ValueError(
            f"parameter autoware_objects needs autoware_perception_msgs ({error}): install "
            "ros-$ROS_DISTRO-autoware-perception-msgs, or leave it false"
        ) from error
