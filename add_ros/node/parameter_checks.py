"""What is wrong, or looks wrong, with values of parameters: pure functions, each gives sentences."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from add_model.backends.select import DEVICES, is_device, parse_options
from add_model.errors import ModelError
from add_model.ground import DEFAULT_SLOPE_STD
from add_ros.topic_names import RULE, is_relative_name


def type_problem(name: str, kind: str, example: Any) -> str:
    """That a value is of another type than its parameter, which has one like this."""
    return f"parameter {name} must be of type {kind}, for example {example!r}"


def unknown_problem(name: str) -> str:
    """That a value is for no parameter."""
    return f"parameter {name} is given, but this node has no such parameter"


def cameras_problem(names: Any) -> str | None:
    """What is wrong with the list of cameras, None where it is fine."""
    if not names or len(set(names)) != len(names):
        return f"cameras must be a list of different names, got {list(names or [])}"
    for name in names:
        if name and not is_relative_name(name):
            return f"cameras: '{name}' is no valid ROS name ({RULE})"
    return None


def device_problem(name: Any) -> str | None:
    """What is wrong with a device, None where it is fine."""
    return None if is_device(str(name)) else f"device must be one of {', '.join(DEVICES)}, got '{name}'"


def options_problem(options: Any) -> str | None:
    """What is wrong with an engine's options, None where each is KEY=VALUE."""
    try:
        parse_options(options or ())
    except ModelError as error:
        return str(error)
    return None


def region_problem(region: Any) -> str | None:
    """What is wrong with a region, None where it is fine."""
    if len(region or ()) == 4:
        left, top, right, bottom = region
        if 0 <= left < right <= 1 and 0 <= top < bottom <= 1:
            return None
    return f"region must be left, top, right, bottom as shares of the image, 0 to 1, got {list(region or [])}"


def mounting_problem(mounting: Any) -> str | None:
    """What is wrong with a camera's mounting, None where it is fine."""
    if len(mounting or ()) == 6 and all(map(math.isfinite, mounting)):
        return None
    return f"camera_mounting must be x, y, z in metres and roll, pitch, yaw in degrees, got {list(mounting or [])}"


def range_problem(values: Mapping[str, Any]) -> str | None:
    """What is wrong with min_range and max_range of one camera, None where a detection can lie between them."""
    low, high = values["min_range"], values["max_range"]
    if low <= high:
        return None
    return f"min_range {low:g} is above max_range {high:g}: no detection can be published"


def tracking_problem(values: Mapping[str, Any]) -> str | None:
    """What is wrong with tracking for one camera, None where it is fine."""
    if values["tracking_frame"] and values["odom_topic"]:
        return (
            f"odom_topic '{values['odom_topic']}' can't be used with tracking_frame '{values['tracking_frame']}': both "
            "say how the camera moves; leave one of them out"
        )
    if any(values["camera_mounting"]) and not values["odom_topic"]:
        return "camera_mounting does nothing without odom_topic: name that too, or leave it out"
    return None


def ground_problem(cameras: Mapping[str, Mapping[str, Any]], own: Collection[str]) -> str | None:
    """What is wrong with the ground under the cameras, None where it is fine.

    Args:
        cameras: name of a camera -> the values that hold for it.
        own: the cameras that have a ground_slope_std of their own; that of all may be for some of them.
    """
    known = {name for name, values in cameras.items() if values["camera_height"] or values["ground_frame"]}
    for name, values in cameras.items():
        if values["ground_slope_std"] != DEFAULT_SLOPE_STD and name not in known and (name in own or not known):
            where = f"{name}." if name in own else ""
            return f"{where}ground_slope_std does nothing without camera_height or ground_frame: give one of them too"
    return None


def doubts(cameras: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> list[str]:
    """Sentences on values that are accepted, since parameters are set one by one, and that leave nothing to publish.

    Args:
        cameras: name of a camera -> its values now.
        classes: those of the model.
    """
    found = []
    for camera, values in cameras.items():
        where = f"{camera}." if camera else ""
        if strange := sorted(set(values["classes"]) - {"", *classes}):
            found.append(f"parameter {where}classes: the model has no {', '.join(strange)}, but {', '.join(classes)}")
        if problem := range_problem(values):
            found.append(f"parameter {where}{problem}")
    return found
