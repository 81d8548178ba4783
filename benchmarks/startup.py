"""From a start to the first detection, over DDS, many times: python benchmarks/startup.py [--starts 20]

Camera, node and listener are processes of their own, as on a robot; each start is in a ROS domain of its own.

    camera first   it sends when the node starts: from the node's start to its line `ready`, from there to the first
                   detections, and how old the image was that they answer
    node first     the node is ready when the camera starts: from the camera's first image to the first detections, and
                   how many images went unanswered before

The camera sends images and CameraInfo of a synthetic street, best effort or reliable.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from add_ros.demo.processes import isolate
from add_ros.messages import image_message
from add_ros.transport import config_folder
from training.data.world import World

ORDERS = ("camera first", "node first")
_PATIENCE = 60.0  # seconds
_FRAME = "camera"


def camera(width: int, height: int, focal: float, hertz: float, reliability: str) -> None:
    """A camera's driver: says on its standard output when its first image goes out."""
    sample = World(width=width, height=height, focal=focal, seed=91).sample(3)
    rclpy.init()
    node = rclpy.create_node("camera")
    profile = QoSProfile(depth=5, reliability=getattr(ReliabilityPolicy, reliability.upper()))
    image = image_message(sample.image, Header(frame_id=_FRAME))
    P = np.ascontiguousarray(sample.camera.P)
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k, info.p, info.header.frame_id = P[:, :3].ravel(), P.ravel(), _FRAME
    print("set up", flush=True)
    sys.stdin.readline()
    images, infos = (
        node.create_publisher(Image, "image", profile),
        node.create_publisher(CameraInfo, "camera_info", profile),
    )
    start, turn = time.monotonic(), 0
    while True:
        stamp = node.get_clock().now().to_msg()
        image.header.stamp = info.header.stamp = stamp
        if turn == 0:
            print(stamp.sec + 1e-9 * stamp.nanosec, flush=True)
        infos.publish(info)
        images.publish(image)
        turn += 1
        time.sleep(max(0.0, start + turn / hertz - time.monotonic()))


class Listener:
    """The first detections: when they came, and of which image."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.first: tuple[float, float] | None = None
        self.node.create_subscription(Detection3DArray, "detections", self._on_message, 10)

    def _on_message(self, message: Detection3DArray) -> None:
        stamp = message.header.stamp
        self.first = self.first or (time.time(), stamp.sec + 1e-9 * stamp.nanosec)

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Serve messages until it is done."""
        end = time.monotonic() + _PATIENCE
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"no {what} in {_PATIENCE:.0f} s")
            self.executor.spin_once(timeout_sec=0.002)

    def close(self) -> None:
        """Leave the graph."""
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


class Process:
    """A process whose lines are kept with the time at which they came."""

    def __init__(self, command: list[str], domain: int) -> None:
        self.started = time.time()
        self.lines: list[tuple[float, str]] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"ROS_DOMAIN_ID": str(domain)},
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append((time.time(), line.rstrip()))

    def said(self, text: str = "") -> tuple[float, str] | None:
        """The first line with this text, and when it came."""
        return next(((when, line) for when, line in self.lines if text in line), None)

    def go(self) -> None:
        """Answer what it waits for."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


def start(order: str, domain: int, options: argparse.Namespace) -> dict[str, float]:
    """One start: seconds of each part."""
    driver = [sys.executable, __file__, "--camera", "--size", *map(str, options.size), "--focal", str(options.focal)]
    driver += ["--hertz", str(options.hertz), "--reliability", options.reliability]
    detector = [sys.executable, "-m", "add_ros.detector", "--ros-args", "-p", "device:=cpu"]
    detector += [word for given in options.param for word in ("-p", given)]
    listener, running = Listener(domain), []
    try:
        running.append(eye := Process(driver, domain))
        listener.wait(lambda: eye.said("set up"), "camera")
        if order == "camera first":
            eye.go()
            listener.wait(lambda: len(eye.lines) > 1, "first image")
            time.sleep(0.5)
        running.append(node := Process(detector, domain))
        listener.wait(lambda: node.said("ready: "), "line `ready`")
        ready = node.said("ready: ")[0]
        if order == "node first":
            time.sleep(options.pause)
            eye.go()
        listener.wait(lambda: listener.first, "detections")
        came, stamp = listener.first
        sent = float(eye.lines[1][1])
        if options.verbose:
            print(*(f"{when - node.started:7.3f} {line}" for when, line in node.lines), sep="\n")
        if order == "camera first":
            return {"start to ready": ready - node.started, "ready to detections": came - ready, "age": came - stamp}
        return {
            "image to detections": came - sent,
            "images unanswered": round((stamp - sent) * options.hertz),
        }
    finally:
        for process in running:
            process.end()
        listener.close()


def parser() -> argparse.ArgumentParser:
    """The options, with what a start takes of them."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--starts", type=int, default=20, help="of each order; default: %(default)s")
    made.add_argument("--orders", nargs="+", choices=ORDERS, default=ORDERS)
    made.add_argument("--size", type=int, nargs=2, default=(1242, 375), metavar=("WIDTH", "HEIGHT"))
    made.add_argument("--focal", type=float, default=721.5)
    made.add_argument("--hertz", type=float, default=10.0)
    made.add_argument("--pause", type=float, default=3.0, help="seconds that a ready node waits; default: %(default)s")
    made.add_argument("--reliability", choices=("best_effort", "reliable"), default="best_effort")
    made.add_argument("--param", nargs="*", default=[], metavar="NAME:=VALUE", help="of the node")
    made.add_argument("--verbose", action="store_true", help="with the node's log")
    made.add_argument("--camera", action="store_true", help=argparse.SUPPRESS)
    return made


def main() -> None:
    """Print medians and the worst of each order."""
    options = parser().parse_args()
    if options.camera:
        camera(*options.size, options.focal, options.hertz, options.reliability)
    isolate(config_folder())
    for order in options.orders:
        found = []
        for turn in range(options.starts):
            found.append(start(order, 1 + (os.getpid() + turn) % 100, options))
            figures = ", ".join(f"{name} {value:.2f}" for name, value in found[-1].items())
            print(f"{order} {turn}: {figures}, load {os.getloadavg()[0]:.1f}", flush=True)
        for name in found[0]:
            values = np.array([each[name] for each in found])
            print(f"{order}, {name}: median {np.median(values):.2f}, most {values.max():.2f}")


if __name__ == "__main__":
    main()
