"""A frame that cannot be used, and what ROS refuses."""

from __future__ import annotations

import re


class FrameRejectedError(Exception):
    """One frame cannot be used; the next may be fine.

    reason: a fixed phrase by which such frames are counted, such as 'uncalibrated'
    str():  one sentence for the log: what is wrong, where, and what to do
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def refused_at_start(error: Exception) -> str:
    """One sentence on what rclpy.init has raised: where logs go is refused there too, not only arguments."""
    said = str(error)
    if "SECURITY" in said:
        return f"ROS's security (ROS_SECURITY_ENABLE) can't be had: {' '.join(said.split())}"
    if "logging" not in said:
        return f"what follows --ros-args can't be used: {said}"
    folder = re.search(r"'([^']+)'", said)
    return (
        f"ROS can't write its log to {folder[1] if folder else 'its folder'}: set ROS_LOG_DIR to a folder that can be "
        "written (by default it is .ros/log in HOME)"
    )
