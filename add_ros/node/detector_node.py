"""The node: camera images in, 3D detections out. `ros2 run add_ros detector` or `python -m add_ros.node.detector_node`.

The executor's thread only receives, pairs and answers; a worker owns the model, so parameters, diagnostics and
Ctrl-C stay responsive during inference, and always gets the newest frame.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from vision_msgs.msg import LabelInfo

from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_ros.messages import label_info
from add_ros.node import parameters
from add_ros.node.camera_stream import CameraStream, StreamSettings
from add_ros.node.tf_transformer import TfTransformer

_MATCH_PERIOD, _REPORT_PERIOD = 0.2, 1.0  # seconds
_LAST_FRAME = 0.2  # seconds that a stopping node gives the frame in work


class DetectorNode(Node):
    """Node `detector`; topics and parameters are in docs/user/node.md.

    `failure` is one sentence on why the node can't go on, None while it can.

    Raises:
        ValueError: where a parameter is refused.
    """

    def __init__(self) -> None:
        super().__init__("detector")
        values = parameters.declare(self)
        for name in parameters.unknown(getattr(self, "_parameter_overrides", {})):
            self.get_logger().warning(f"parameter {name} is given, but this node has no such parameter")
        self.failure: str | None = None
        self._predictor: Predictor | None = None
        self._threshold: float | None = None
        self._wake, self._stopping = threading.Event(), threading.Event()
        settings = StreamSettings(
            values["image_transport"], values["reliability"], values["rectification"], values["trust_calibration"]
        )
        to_target = None
        if values["target_frame"]:
            to_target = TfTransformer(self, values["target_frame"], values["transform_timeout"])
        self._streams = [CameraStream(self, name, settings, to_target, self._wake.set) for name in values["cameras"]]
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info = self.create_publisher(LabelInfo, "label_info", latched)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self.create_timer(_MATCH_PERIOD, self._match, clock=steady)
        self.create_timer(_REPORT_PERIOD, self._report, clock=steady)
        self._worker = threading.Thread(target=self._work, args=(values,), name="inference", daemon=True)
        self._worker.start()

    def stop(self) -> bool:
        """Stop publishing; returns whether the worker has ended."""
        self._stopping.set()
        self._wake.set()
        for stream in self._streams:
            stream.stop()
        self._worker.join(_LAST_FRAME)
        return not self._worker.is_alive()

    def _work(self, values: dict[str, Any]) -> None:
        try:
            predictor = Predictor(values["model"] or None, values["device"], values["threads"] or None)
            predictor.predict(np.zeros((384, 1280, 3), np.uint8), Camera.pinhole(720, 720, 640, 192, 1280, 384))
        except ModelError as error:
            self.failure = str(error)
            return
        except Exception as error:
            path = values["model"] or SHIPPED_MODEL
            self.failure = f"the model {path} can't be used: {type(error).__name__}: {error}"
            return
        try:
            self._serve(predictor)
        except Exception as error:  # a worker that ends silently would leave a node that does nothing
            self.failure = f"the node can't go on: {type(error).__name__}: {error}"

    def _serve(self, predictor: Predictor) -> None:
        if self._stopping.is_set():
            return
        self._announce(predictor)
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            while not self._stopping.is_set() and self._serve_each(predictor):
                pass

    def _serve_each(self, predictor: Predictor) -> bool:
        # One frame of each camera in turn, so that no camera blocks another.
        options = self._parameter("score_threshold"), self._parameter("marker_lifetime")
        return sum(stream.process(predictor, *options) for stream in self._streams) > 0

    def _announce(self, predictor: Predictor) -> None:
        if predictor.device_note:
            self.get_logger().warning(predictor.device_note)
        self._predictor = predictor
        self._publish_labels()
        self.get_logger().info(
            f"ready: {'; '.join(map(str, self._streams))}; model {predictor.model_path} on {predictor.device}"
        )

    def _match(self) -> None:
        if self._predictor is None:
            return  # by the time the model is loaded, publishers that are there have been discovered
        try:
            for stream in self._streams:
                stream.match()
        except RuntimeError as error:  # two remappings of different types to one name
            self.failure = f"the node can't subscribe: {error}"

    def _report(self) -> None:
        if self._predictor is not None:
            for stream in self._streams:
                stream.watch()
        self._publish_labels()
        device, model = "", "loading"
        if self._predictor is not None:
            device, model = self._predictor.device, str(self._predictor.model_path)
        name, budget = self.get_fully_qualified_name(), self._parameter("latency_budget_ms")
        statuses = [
            stream.diagnostics.status(f"{name}: {stream.name}" if stream.name else name, device, model, budget)
            for stream in self._streams
        ]
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _publish_labels(self) -> None:
        threshold = self._parameter("score_threshold")
        if self._predictor is not None and threshold != self._threshold:
            self._threshold = threshold
            self._label_info.publish(label_info(self._predictor.class_spec, threshold))

    def _parameter(self, name: str) -> float:
        return self.get_parameter(name).value


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM.

    Arguments that ROS would silently ignore end with usage and exit code 2.

    Returns:
        The exit code: 0, or 1 after one line on why the node can't run.
    """
    stop = threading.Event()
    try:
        _refuse_plain_arguments(args)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        # Own signal handlers, since rclpy's would shut the context down before the markers are cleared.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        return _fail(f"what follows --ros-args can't be used: {error}")
    try:
        node = DetectorNode()
    except (ValueError, RuntimeError, ParameterException) as error:
        return _fail(str(error))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.is_set() and node.failure is None:
            executor.spin_once(timeout_sec=0.1)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    ended = node.stop() if rclpy.ok() else False
    code = _fail(node.failure) if node.failure else 0
    try:
        # Otherwise other processes would take the node for a running one, and its shared memory would stay.
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    finally:
        if not ended:
            # The network still runs in native code, where a thread can't be stopped; it must not outlive Python.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def _refuse_plain_arguments(args: list[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="detector",
        usage="%(prog)s --ros-args [-r image:=TOPIC] [-r camera_info:=TOPIC] [-p NAME:=VALUE] [--params-file FILE]",
        description="Camera images in, 3D detections out. docs/user/node.md has the topics and parameters.",
        epilog=f"parameters: {', '.join(parameter.name for parameter in parameters.PARAMETERS)}",
    )
    given = sys.argv if args is None else args
    parser.parse_args(remove_ros_args(given)[1:])


def _fail(message: str) -> int:
    rclpy.logging.get_logger("detector").fatal(" ".join(message.split()))
    return 1


if __name__ == "__main__":
    sys.exit(main())
