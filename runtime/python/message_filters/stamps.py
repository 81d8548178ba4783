"""The time of a message."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ROSClock
from rclpy.logging import get_logger
from rclpy.time import Time


def stamp_of(msg: Any, allow_headerless: bool, logger: str) -> Time | None:
    """The stamp of a message's header; without a header the time now where that is allowed, else None and a warning."""
    stamp = getattr(getattr(msg, "header", None), "stamp", None)
    if stamp is not None:
        return stamp if hasattr(stamp, "nanoseconds") else Time.from_msg(stamp)
    if allow_headerless:
        return ROSClock().now()
    get_logger(logger).warning(
        f"dropped a {type(msg).__name__}: it has no header with a stamp (allow_headerless=True stamps it on arrival)",
        throttle_duration_sec=5.0,
    )
    return None
