"""Detector, recorder and player as three processes that communicate over DDS."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Detection3DArray, LabelInfo

from add_model.signals import defer_signals
from add_ros.bags.camera_writer import CAMERA_INFO, IMAGE
from add_ros.demo.processes import Child, ProcessError, wait_until

CAMERA = "/camera"
DETECTIONS, MARKERS = f"{CAMERA}/detections", f"{CAMERA}/markers"
INFO, DIAGNOSTICS = f"{CAMERA}/{CAMERA_INFO}", "/diagnostics"

_START = 120.0  # seconds for a node to load its model
_MATCH = 30.0  # seconds for processes to find each other
_QUIET = 3.0  # seconds after the last image in which its detections are still awaited
_REPORT = 1.2  # seconds between two diagnostics, and a little


def run(bag: Path, result: Path, logs: Path, frames: int, seconds: float, rate: float, node: list[str]) -> None:
    """Play a bag through a detector and record what it publishes.

    Args:
        bag: what to play.
        result: the bag to record.
        logs: folder for the processes' output.
        frames: how many frames the bag has.
        seconds: how long it lasts at its own pace.
        rate: times this pace.
        node: more ROS arguments for the detector.

    Raises:
        ProcessError: where a process fails or does not become ready.
    """
    shutil.rmtree(result, ignore_errors=True)
    logs.mkdir(parents=True, exist_ok=True)
    children: list[Child] = []

    def start(module: str, arguments: list[str]) -> Child:
        with defer_signals():
            children.append(Child(module, arguments, logs / f"{module.rsplit('.', 1)[-1]}.log"))
        return children[-1]

    with _Watcher() as watcher:
        try:
            ros = ["-r", f"__ns:={CAMERA}", "-r", f"image:={IMAGE}", "-p", "use_sim_time:=true"]
            detector = start("add_ros.node.detector_node", ["--ros-args", *ros, *node])
            recorder = start("add_ros.bags.record", [str(result), DETECTIONS, MARKERS, INFO, DIAGNOSTICS])
            if not wait_until(watcher.ready.is_set, _START, children):
                raise detector.failure(f"was not ready after {_START:.0f} s")
            if not wait_until(watcher.recorded, _MATCH, children):
                raise recorder.failure(f"did not subscribe to {DETECTIONS}")
            topics = ["--topics", f"{CAMERA}/{IMAGE}", INFO]
            wait = ["--wait-for-subscribers", str(_MATCH), "--wait-for-nodes", "detector", "bag_recorder"]
            play = [str(bag), *topics, "--clock", "100", "--rate", str(rate), *wait]
            player = start("add_ros.bags.play", play)
            wait_until(lambda: not player.running, _MATCH + seconds / rate + 30, [detector, recorder])
            player.wait(1.0)
            wait_until(lambda: watcher.count >= frames, _QUIET, [detector, recorder])
            wait_until(lambda: False, _REPORT, [detector, recorder])
            recorder.stop()
            detector.stop()
        finally:
            for child in children:
                child.end()
    if not (result / "metadata.yaml").is_file():
        raise ProcessError(f"the recorder left no bag at {result}; see {logs}")


class _Watcher:
    """Finds out from the topics when the node is ready, and counts its answers."""

    def __init__(self) -> None:
        self.ready, self.count = threading.Event(), 0

    def recorded(self) -> bool:
        """Whether the recorder has subscribed too."""
        return self._node.count_subscribers(DETECTIONS) >= 2 and self._node.count_subscribers(MARKERS) >= 1

    def _answered(self, _: bytes) -> None:
        self.count += 1

    def __enter__(self) -> _Watcher:
        # A context of its own: the process that runs the demo may have one.
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("demo_watcher", context=self._context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(LabelInfo, f"{CAMERA}/label_info", lambda _: self.ready.set(), latched)
        self._node.create_subscription(Detection3DArray, DETECTIONS, self._answered, 50, raw=True)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
