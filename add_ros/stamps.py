"""Stamps of messages, as rclpy and tf2 take them."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ClockType
from rclpy.time import Time


def ros_time(stamp: Any) -> Time | None:
    """A builtin_interfaces/Time, of ROS or of a bag; None before 1970, which rclpy's Time can't be."""
    if stamp.sec < 0:
        return None
    return Time(seconds=stamp.sec, nanoseconds=stamp.nanosec, clock_type=ClockType.ROS_TIME)
