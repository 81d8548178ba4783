"""What a message may hold before anything is done with it: texts and lists without a bound are refused, not copied."""

from __future__ import annotations

from typing import Any

from add_ros.errors import FrameRejectedError

LONGEST_TEXT = 255  # characters of a frame_id, an encoding, a distortion model; ROS's names have no more
_MOST_COEFFICIENTS = 64  # of a lens; the longest model has 14
_SHOWN = 60


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
