"""A node of its own over DDS: malformed messages and requests, and images at three times its rate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import rclpy
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection3DArray

_WIDTH, _HEIGHT = 640, 192
_PATIENCE, _ALLOWED = 180.0, 80.0  # seconds, and milliseconds of the slowest answer in a hundred under overload

BenchT = TypeVar("BenchT", bound="Bench")


class Bench:
    """A camera, and who hears the detections."""

    def __init__(self, node: Node, pid: int) -> None:
        self.node, self.process = node, psutil.Process(pid)
        self.heard: dict[int, float] = {}
        self.sent = 0
        node.create_subscription(Detection3DArray, "detections", self._hear, 100)
        self.images, self.infos = (
            node.create_publisher(Image, "image", 10),
            node.create_publisher(CameraInfo, "camera_info", 10),
        )
        self.client = node.create_client(SetParameters, "detector/set_parameters")

    def _hear(self, message: Detection3DArray) -> None:
        self.heard[message.header.stamp.sec] = time.monotonic()

    def good(self) -> tuple[Image, CameraInfo]:
        self.sent += 1
        image = Image(height=_HEIGHT, width=_WIDTH, encoding="rgb8", step=3 * _WIDTH)
        image.data = bytes(3 * _WIDTH * _HEIGHT)
        k = [360.0, 0.0, 320.0, 0.0, 360.0, 96.0, 0.0, 0.0, 1.0]
        info = CameraInfo(width=_WIDTH, height=_HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=k)
        image.header.stamp.sec = info.header.stamp.sec = self.sent
        return image, info

    def send(self, image: Image, info: CameraInfo) -> None:
        self.infos.publish(info)
        self.images.publish(image)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.005)

    def starts(self) -> bool:
        """Whether the node comes to answer its first frame."""
        return self.answers()

    def answers(self) -> bool:
        """Whether a good frame is answered."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self.process.is_running():
            image, info = self.good()
            self.send(image, info)
            self.spin(0.5)
            if self.sent in self.heard:
                return True
        return False


@contextmanager
def detector(*parameters: str, bench: type[BenchT] = Bench) -> Iterator[BenchT]:
    """A node with these parameters, and a bench beside it. It has to answer at first, and to end with 0."""
    given = [text for parameter in ("device:=cpu", *parameters) for text in ("-p", parameter)]
    command = [sys.executable, "-m", "add_ros.node.detector_node", "--ros-args", *given]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("soak")
    try:
        found = bench(node, process.pid)
        if not found.starts():
            raise RuntimeError("the node does not start")
        yield found
        process.send_signal(signal.SIGINT)
        if process.wait(_PATIENCE) != 0:
            raise RuntimeError(f"the node ended with {process.returncode}")
    finally:
        process.kill()
        node.destroy_node()
        rclpy.shutdown()


def messages(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): the node has to answer a good frame after each hundred hostile ones, and to end in order."""
    rng = np.random.default_rng(seed)
    hostile = requests = failures = 0
    with detector() as bench:
        before, end = bench.process.memory_info().rss, time.monotonic() + seconds
        while time.monotonic() < end and not failures:
            for _ in range(100):
                image, info = bench.good()
                _spoil(image, info, rng)
                bench.send(image, info)
                hostile += 1
                bench.spin(0.002)
            value = ParameterValue(
                type=int(rng.integers(256)), double_value=float(rng.choice([np.nan, np.inf, -1, 0.5]))
            )
            names = ["score_threshold", "max_range", "classes", "region", "nothing", "\x00", "x" * 1000]
            bench.client.call_async(
                SetParameters.Request(parameters=[Parameter(name=str(rng.choice(names)), value=value)])
            )
            requests += 1
            bench.spin(0.1)
            failures += not bench.answers()
        grown = (bench.process.memory_info().rss - before) / before
    return f"{hostile} malformed pairs, {requests} requests, 0 crashes, memory {grown:+.1%}", failures


def _spoil(image: Image, info: CameraInfo, rng: np.random.Generator) -> None:
    kind = rng.integers(9)
    if kind == 0:
        image.width = int(rng.choice([0, 1, 7, 2**31]))
    elif kind == 1:
        image.step = int(rng.choice([0, 1, 1919, 2**31]))
    elif kind == 2:
        image.encoding = str(rng.choice(["", "rgb16", "nv12", "bayer_rggb8", "32FC1", "\x1b[2J", "x" * 5000]))
    elif kind == 3:
        image.data = bytes(int(rng.integers(0, 2000)))
    elif kind == 4:
        info.k[int(rng.integers(9))] = float(rng.choice([np.nan, np.inf, 0, -360, 1e300]))
    elif kind == 5:
        info.width, info.height = (int(side) for side in rng.choice([0, 1, 640, 2**31], 2))
    elif kind == 6:
        info.d = [float(v) for v in rng.choice([np.nan, 1e9, 0.0], int(rng.choice([1, 5, 8, 90])))]
    elif kind == 7:
        image.header.frame_id = "f" * int(rng.choice([300, 100_000]))
    else:
        image.header.stamp.sec, info.header.stamp.nanosec = -5, 2_000_000_000


def overload(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): latency of what is answered while three times as many images come as can be served."""
    with detector() as bench:
        alone: list[float] = []
        while len(alone) < 10:
            image, info = bench.good()
            sent = time.monotonic()
            bench.send(image, info)
            while bench.sent not in bench.heard and time.monotonic() - sent < 10:
                rclpy.spin_once(bench.node, timeout_sec=0.005)
            alone.append(time.monotonic() - sent)
        period = float(np.median(alone)) / 3
        before, sent_at, began = bench.process.memory_info().rss, {}, time.monotonic()
        while time.monotonic() - began < seconds:
            image, info = bench.good()
            sent_at[bench.sent] = time.monotonic()
            bench.send(image, info)
            bench.spin(period)
        bench.spin(1.0)
        grown = (bench.process.memory_info().rss - before) / before
        late = [1e3 * (bench.heard[n] - at) for n, at in sent_at.items() if n in bench.heard]
    p50, p99 = np.percentile(late, (50, 99)) if late else (np.nan, np.nan)
    load = os.getloadavg()[0]
    answered = f"{len(sent_at)} images, {len(late)} answered"
    figures = f"{answered}, latency p50 {p50:.0f} ms, p99 {p99:.0f} of {_ALLOWED:.0f} ms (alone {3e3 * period:.0f} ms)"
    return f"{figures}, memory {grown:+.1%}, load average {load:.1f}", int(not late or p99 > _ALLOWED or grown > 0.1)
