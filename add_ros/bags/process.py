"""What the player and the recorder share as processes: stopping, and the Python classes of message types."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from add_ros.bags.errors import BagError
from add_ros.errors import refused_at_start


def start_rclpy(arguments: list[str], on_stop: Callable[[], None]) -> None:
    """rclpy.init without rclpy's handlers of SIGINT and SIGTERM.

    SIGINT is handled in any case, since background jobs of a shell are started with it ignored.

    Args:
        arguments: for ROS.
        on_stop: called in the main thread for either signal.

    Raises:
        BagError: where ROS refuses its arguments.
    """
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise BagError(refused_at_start(error)) from error
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: on_stop())


def resolve(node: Node, topic: str) -> str:
    """The topic's full name, remapped. Raises BagError where ROS refuses the name."""
    try:
        return node.resolve_topic_name(topic)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0].split(", at ")[0]
        raise BagError(f"{topic!r} can't be a topic: {reason}") from error


def split_arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those from --ros-args on."""
    own = next((i for i, argument in enumerate(argv) if argument == "--ros-args"), len(argv))
    return argv[:own], argv[own:]


def message_class(msgtype: str) -> Any | None:
    """The Python class of a type such as 'sensor_msgs/msg/Image', None where its package is not installed."""
    try:
        package, folder, name = msgtype.split("/")
        return getattr(importlib.import_module(f"{package}.{folder}"), name)
    except (ValueError, ImportError, AttributeError):
        return None
