"""The detector as a process of its own, and a camera that feeds it over DDS: what the node's tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.parameter import get_parameter_value
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from add_model.predictor import SHIPPED_MODEL
from add_ros.node import parameters
from add_ros.node.detector_core import DetectorCore
from training.data.world import World

MODEL = Path(os.environ.get("DETECTOR_TEST_MODEL", SHIPPED_MODEL))
WIDTH, HEIGHT = 640, 192
P = np.array([[360.0, 0, 320, 0], [0, 360, 96, 0], [0, 0, 1, 0]])
PATIENCE = 30.0  # seconds, for slow machines; nothing here takes that long


class DetectorProcess:
    """`python -m add_ros.node.detector_node` with parameters, remappings and what else ROS takes; collects its log."""

    START = ("-m", "add_ros.node.detector_node")

    def __init__(self, *arguments: str, **parameters: Any) -> None:
        given = [text for name, value in parameters.items() for text in ("-p", f"{name}:={value}")]
        command = [sys.executable, *self.START, "--ros-args", *given, *arguments]
        self.lines: list[str] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=lambda: self.lines.extend(iter(self._process.stdout.readline, "")))
        self._reader.start()

    def __enter__(self) -> DetectorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """End it as a user would.

        Of one that is killed Fast DDS renews the shared memory a second later, in all processes that knew it, and
        those that close their participant at that moment crash (seen in 3.2.3: SharedMemChannelResource::release).
        """
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for_log(self, text: str) -> None:
        end = time.monotonic() + PATIENCE
        while text not in self.log:
            assert self.alive and time.monotonic() < end, f"no '{text}' in:\n{self.log}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code, negative where a signal ended it."""
        if self.alive:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self._process.wait(PATIENCE)
        self._reader.join()
        return code


class Bench:
    """A camera beside the detector, and a listener to all it says."""

    def __init__(self, reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE, prefix: str = "") -> None:
        if not rclpy.ok():
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("_".join(["bench", *prefix.strip("/").split("/")]).rstrip("_"))
        self.prefix = prefix
        self.stamp = 1000
        self.received: dict[int, Detection3DArray] = {}
        self.markers: list[MarkerArray] = []
        self.labels: list[LabelInfo] = []
        self.diagnostics: list[DiagnosticArray] = []
        subscribe = self.node.create_subscription
        subscribe(Detection3DArray, f"{prefix}detections", lambda m: self.received.update({m.header.stamp.sec: m}), 50)
        subscribe(MarkerArray, f"{prefix}markers", self.markers.append, 50)
        subscribe(DiagnosticArray, "/diagnostics", self.diagnostics.append, 50)
        self.listen_to_labels()
        self.images = self.infos = None
        self.offer(reliability)

    def listen_to_labels(self) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(LabelInfo, "label_info", self.labels.append, latched)

    def offer(self, reliability: ReliabilityPolicy, kind: Any = Image, topic: str = "image") -> None:
        """Publish with this reliability from now on."""
        for publisher in filter(None, (self.images, self.infos)):
            self.node.destroy_publisher(publisher)
        profile = QoSProfile(depth=10, reliability=reliability)
        quiet = PublisherEventCallbacks(use_default_callbacks=False)  # the detector changes over in front of us
        create = self.node.create_publisher
        self.images = create(kind, f"{self.prefix}{topic}", profile, event_callbacks=quiet)
        self.infos = create(CameraInfo, f"{self.prefix}camera_info", profile, event_callbacks=quiet)

    def wait_for_subscriber(self) -> None:
        self.spin_until(lambda: self.images.get_subscription_count() and self.infos.get_subscription_count())

    def spin_until(self, done: Callable[[], Any], what: str = "") -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"waited in vain {what}"
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def send(self, image: Any, info: CameraInfo | None, info_stamp: int | None = None) -> int:
        """Publish a pair with a stamp of its own, and return that."""
        self.stamp += 1
        image.header.stamp.sec, image.header.stamp.nanosec, image.header.frame_id = self.stamp, 7, "lens"
        if info is not None:
            info.header.stamp.sec = self.stamp if info_stamp is None else info_stamp
            info.header.stamp.nanosec, info.header.frame_id = 7, "lens"
            self.infos.publish(info)
        self.images.publish(image)
        return self.stamp

    def detect(self, image: Any, info: CameraInfo | None, **options: Any) -> Detection3DArray:
        """Publish a pair and return what the detector publishes for it."""
        stamp = self.send(image, info, **options)
        self.spin_until(lambda: stamp in self.received, f"for the detections of {stamp}")
        return self.received[stamp]

    def set_parameter(self, name: str, value: float | str | bool | list[float] | list[str]) -> Any:
        """The detector's answer: SetParametersResult."""
        client = self.node.create_client(SetParameters, "detector/set_parameters")
        self.spin_until(client.service_is_ready, "for the parameter service")
        given = get_parameter_value(yaml.safe_dump(value)) if isinstance(value, list | bool) else _scalar(value)
        future = client.call_async(SetParameters.Request(parameters=[Parameter(name=name, value=given)]))
        self.spin_until(future.done, "for the answer to set_parameters")
        self.node.destroy_client(client)
        return future.result().results[0]

    def status(self) -> dict[str, str]:
        """The values of the next diagnostics, with its level and message."""
        self.spin_for(0.1)  # what has come in meanwhile is old
        self.diagnostics.clear()
        self.spin_until(lambda: self.diagnostics, "for diagnostics")
        return _values(self.diagnostics[-1])

    def status_after_work(self) -> dict[str, str]:
        """The same of the first diagnostics, since these were last cleared, whose second saw a frame."""
        worked: list[dict[str, str]] = []

        def found() -> bool:
            worked[:] = [values for values in map(_values, self.diagnostics) if values["processing_time_ms"]]
            return bool(worked)

        self.spin_until(found, "for diagnostics with times")
        return worked[0]

    def close(self) -> None:
        self.node.destroy_node()


def _scalar(value: float | str) -> ParameterValue:
    if isinstance(value, str):
        return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


def _values(diagnostics: DiagnosticArray) -> dict[str, str]:
    status = diagnostics.status[0]
    return {value.key: value.value for value in status.values} | {"level": status.level, "message": status.message}


@contextmanager
def core_in_this_process(given: Mapping[str, Any]) -> Iterator[DetectorCore]:
    """The node's core with these parameters, not started: for what can be asked of it without a process."""
    if not rclpy.ok():
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    overrides = [rclpy.Parameter(name, value=value) for name, value in given.items()]
    node = rclpy.create_node("in_this_process", parameter_overrides=overrides)
    core = DetectorCore(node, parameters.declare(node))
    try:
        yield core
    finally:
        core.stop()
        core.destroy()
        node.destroy_node()


def picture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """An RGB image of coloured rectangles."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 120, np.uint8)
    for _ in range(40):
        u, v = rng.integers(0, width), rng.integers(0, height)
        pixels[v : v + rng.integers(10, 60), u : u + rng.integers(10, 90)] = rng.integers(0, 255, 3)
    return pixels


@cache
def street() -> np.ndarray:
    """An RGB image of the synthetic world in which detectors find all classes."""
    image = World(width=WIDTH, height=HEIGHT, focal=float(P[0, 0]), seed=1).sample(1).image
    image.setflags(write=False)
    return image


def image_message(pixels: np.ndarray, encoding: str = "rgb8") -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels[0].nbytes)
    message.data = pixels.tobytes()
    return message


def camera_info(projection: np.ndarray = P, width: int = WIDTH, height: int = HEIGHT) -> CameraInfo:
    k = projection[:, :3].ravel()
    return CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5, k=k, p=projection.ravel())
