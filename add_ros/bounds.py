"""What a message may hold before anything is done with it: texts and lists without a bound are refused, not copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from add_ros.errors import FrameRejectedError

LONGEST_TEXT = 255  # characters of a frame_id, an encoding, a distortion model; ROS's names have no more
_MOST_COEFFICIENTS = 64  # of a lens; the longest model has 14
_SHOWN = 60
_FARTHEST, _UNIT = 1e8, 0.1  # metres, which hold the Earth; what a quaternion's length may differ from 1


def require_bounded(message: Any) -> None:
    """Check an Image, CompressedImage or CameraInfo. Raises FrameRejectedError.

    A header goes into every detection and marker, so that a long frame_id would fill the memory.
    """
    _require_short("frame_id", message.header.frame_id)
    for name in ("encoding", "format", "distortion_model"):
        _require_short(name, getattr(message, name, ""))
    count = len(getattr(message, "d", ()))
    if count > _MOST_COEFFICIENTS:
        raise FrameRejectedError("invalid camera_info", f"D has {count} coefficients: no lens has so many")


def impossible_transform(transform: Any) -> str | None:
    """What a geometry_msgs/TransformStamped can't be, in one sentence; None where it can."""
    shift, turn = transform.transform.translation, transform.transform.rotation
    values = np.array([shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w])
    with np.errstate(over="ignore"):
        length = np.linalg.norm(values[3:])
    if np.isfinite(values).all() and np.abs(values[:3]).max() <= _FARTHEST and abs(length - 1) <= _UNIT:
        return None
    return (
        f"translation {values[:3].tolist()}, rotation {values[3:].tolist()}; its publisher must send finite metres and "
        "a quaternion of length 1"
    )


def printable(text: str) -> str:
    """The text without what would begin another line of a log, or steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shown(text: str) -> str:
    """A text of a message as it can stand in a log: short, and in one line."""
    plain = printable(text[: _SHOWN + 1])
    return plain if len(text) <= _SHOWN else f"{plain[:_SHOWN]}... ({len(text)} characters)"


def _require_short(name: str, text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise FrameRejectedError(
            "oversized text",
            f"the {name} has {len(text)} characters, {LONGEST_TEXT} at most are taken: '{shown(text)}'",
        )
