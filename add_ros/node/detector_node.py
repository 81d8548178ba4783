"""The node: camera images in, 3D detections out.

`ros2 run add_ros detector` or `python -m add_ros.node.detector_node`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from add_ros.errors import refused_at_start
from add_ros.node import parameters
from add_ros.node.detector_core import DetectorCore, describe
from add_ros.node.parameter_service import CheckedParameterService

REFUSED, BROKEN = 1, 3  # exit codes: it can't be started so, and starting it again may help
_AFTER_ERROR = 0.01  # seconds: an executor that fails each time must not take a whole core


class DetectorNode(Node):
    """Node `detector`; topics and parameters are in docs/user/node.md.

    Raises:
        ValueError: where a parameter is refused.
    """

    def __init__(self) -> None:
        super().__init__("detector", start_parameter_services=False)
        self._checked_parameters = CheckedParameterService(self)
        self.core = DetectorCore(self, parameters.declare(self))
        self.core.start()


def main(args: list[str] | None = None) -> int:
    """`run` with the plain node."""
    return run(DetectorNode, args)


def run(make: Callable[[], Any], args: list[str] | None = None) -> int:
    """Make a node and run it until SIGINT or SIGTERM, then 0. Its `core` is None while it is not configured.

    What keeps it from running is one line and `REFUSED`, what ends it later one line and `BROKEN`. Arguments that ROS
    would silently leave out end with usage and exit code 2. An exception in a callback ends nothing: the node logs and
    counts it.
    """
    stop = threading.Event()
    try:
        _refuse_plain_arguments(args)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        # Own signal handlers, since rclpy's would take the context away before the markers are cleared.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        return _fail(refused_at_start(error))
    try:
        node = make()
    except (ValueError, RuntimeError, ParameterException) as error:
        return _fail(str(error))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.is_set() and not (node.core and node.core.failure):
            _spin_once(executor, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    core = node.core
    ended = rclpy.ok() and (core is None or core.stop())
    code = _fail(core.failure, BROKEN if core.broken else REFUSED) if core and core.failure else 0
    try:
        # Others would take a node that does not sign off for a living one, and its shared memory would stay.
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    finally:
        if not ended:
            # The network is still at work in native code, where a thread can't be stopped and must not see the end.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def _spin_once(executor: SingleThreadedExecutor, node: Any) -> None:
    try:
        executor.spin_once(timeout_sec=0.1)
    except ExternalShutdownException:
        raise
    except Exception as error:  # whatever a message or request holds, the next one is served
        if node.core:
            node.core.callback_failed(error)
        else:
            node.get_logger().error(describe(error))
        time.sleep(_AFTER_ERROR)


def parser(prog: str = "detector") -> argparse.ArgumentParser:
    """The parser of what is not for ROS: there is nothing but --help."""
    return argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s --ros-args [-r image:=TOPIC] [-r camera_info:=TOPIC] [-p NAME:=VALUE] [--params-file FILE]",
        description="Camera images in, 3D detections out. docs/user/node.md has the topics and parameters.",
        epilog="example: %(prog)s --ros-args -r image:=/camera/image_raw -r camera_info:=/camera/camera_info. "
        f"Parameters: {', '.join(parameter.name for parameter in parameters.PARAMETERS)}",
    )


def _refuse_plain_arguments(args: list[str] | None) -> None:
    given = sys.argv if args is None else args
    (parser(args[0]) if args else parser()).parse_args(remove_ros_args(given)[1:])


def _fail(message: str, code: int = REFUSED) -> int:
    rclpy.logging.get_logger("detector").fatal(" ".join(message.split()))
    return code


if __name__ == "__main__":
    sys.exit(main())
