"""Stamps of messages as numbers and text, without ROS."""

from __future__ import annotations

from typing import Any


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time, of ROS or of a bag."""
    return stamp.sec * 10**9 + stamp.nanosec


def seconds_text(stamp: Any) -> str:
    """A builtin_interfaces/Time as seconds with all nine digits behind the point."""
    return f"{stamp.sec}.{stamp.nanosec:09d}"
