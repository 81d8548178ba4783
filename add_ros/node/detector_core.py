"""What the plain node and the managed one have in common: cameras that share a model, and a worker that runs it.

The executor's thread only receives, pairs and answers; the worker owns the model, so parameters, diagnostics and Ctrl-C
stay responsive during inference, and always gets the newest frame.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.utilities import get_rmw_implementation_identifier
from std_srvs.srv import SetBool
from vision_msgs.msg import LabelInfo

from add_model.backends.select import parse_options
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_ros.messages import label_info
from add_ros.node import parameters
from add_ros.node.batching import FrameBatches
from add_ros.node.camera_frames import FRAME_PARAMETERS, CameraFrames
from add_ros.node.camera_stream import CameraStream
from add_ros.node.log_throttle import LOG_PERIOD, LogThrottle
from add_ros.node.parameter_checks import doubts
from add_ros.node.tf_transformer import TfTransformer, TfTree
from add_ros.transport import advice, config_folder

_MATCH_PERIOD, _REPORT_PERIOD = 0.2, 1.0  # seconds
_OFFER_PERIOD = 0.05  # seconds between two looks for a publisher, as long as none is found
_MATCH_TRIES = 10  # failures in a row after which the node gives up
_COMMON = Camera.pinhole(720, 720, 640, 192, 1280, 384)
_LAST_FRAME = 0.2  # seconds that the worker is given for the frame in work


def kind(error: Exception) -> str:
    """The type of an exception and where it was raised: the same however its text changes."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def describe(error: Exception) -> str:
    """One line on an exception of a callback: what, and where it was raised."""
    return f"a callback failed, and the node goes on: {kind(error)}: {' '.join(str(error).split())[:300]}"


class DetectorCore:
    """The topics, the service and the worker of a node, with the values that `parameters.declare` returned.

    `failure` says in one sentence why it can't go on, None while it can; `broken` whether that came in the midst of
    work. Raises ValueError where a parameter cannot be served.
    """

    def __init__(self, node: Node, values: Mapping[str, Any], active: bool = True) -> None:
        self._node, self._values, self._log = node, values, node.get_logger()
        self.failure: str | None = None
        self.broken = False
        self._predictor: Predictor | None = None
        self._threshold: float | None = None
        self._active, self._enabled = active, True
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._odometry: Any = None
        self._transport_advice = advice(config_folder(), os.environ, get_rmw_implementation_identifier())
        self._throttle, self._said = LogThrottle(LOG_PERIOD), set[str]()
        self._match_failures = 0  # in a row
        self._streams: list[CameraStream] = []
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        with ExitStack() as stack:  # where one of them fails, the others are taken away again
            self._create(stack)
            self._created = stack.pop_all()

    def _create(self, stack: ExitStack) -> None:
        node, values = self._node, self._values
        transformers = self._transformers(stack)
        if values["odom_topic"]:
            from add_ros.node.odometry import Odometry  # needs scipy and nav_msgs, which others do without

            self._odometry = Odometry(node, values["odom_topic"], values["transform_timeout"])
            stack.callback(self._odometry.destroy)
        for name in values["cameras"]:
            own = parameters.of_camera(values, name)
            frames = CameraFrames.of(own, transformers, self._odometry)
            stream = CameraStream(node, name, own, frames, self._wake.set, self._transport_advice)
            self._streams.append(stream)
            stack.callback(stream.destroy)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info = node.create_publisher(LabelInfo, "label_info", latched)
        stack.callback(node.destroy_publisher, self._label_info)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        stack.callback(node.destroy_publisher, self._diagnostics)
        stack.callback(node.destroy_service, node.create_service(SetBool, "~/set_enabled", self._set_enabled))
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self._match_timer = node.create_timer(_OFFER_PERIOD, self._match, clock=steady)
        report_timer = node.create_timer(_REPORT_PERIOD, self._report, clock=steady)
        for timer in (self._match_timer, report_timer):
            stack.callback(node.destroy_timer, timer)

    def _transformers(self, stack: ExitStack) -> dict[str, TfTransformer]:
        """What transforms to the frames that parameters name, by the parameter."""
        frames = {name: self._values[name] for name in FRAME_PARAMETERS if self._values[name]}
        if not frames:
            return {}
        tree = TfTree(self._node, next(iter(frames)))
        stack.callback(tree.destroy)
        return {name: TfTransformer(tree, frame, self._values["transform_timeout"]) for name, frame in frames.items()}

    def callback_failed(self, error: Exception) -> None:
        """Count an exception of a callback in the diagnostics, and log it, each kind every few seconds."""
        for stream in self._streams:
            stream.diagnostics.callback_failed()
        if self._throttle.ready(kind(error)):
            self._log.error(describe(error))

    def load(self) -> None:
        """Load the model and run it once. Raises ModelError in one sentence."""
        path = self._values["model"] or SHIPPED_MODEL
        try:
            predictor = Predictor(
                self._values["model"] or None,
                self._values["device"],
                self._values["threads"] or None,
                engine=self._values["engine"],
                engine_options=parse_options(self._values["engine_options"]),
                flip_test=self._values["flip_test"],
            )
            self._warm_up(predictor)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the model {path} can't be used: {type(error).__name__}: {error}") from error
        if not self._stopping.is_set():
            self._announce(predictor)

    def _warm_up(self, predictor: Predictor) -> None:
        """Run the model at the sizes of the cameras that are known by now, else at that of a common one."""
        warm = False
        for camera, up in filter(None, (stream.expected() for stream in self._streams)):
            with suppress(ValueError):  # then its images are rejected one by one, which is no reason to end
                predictor.warm_up(camera, up)
                warm = True
        if not warm:
            predictor.warm_up(_COMMON)

    def start(self) -> None:
        """Let the worker begin: with `load`, where that has not been called."""
        self._worker.start()

    def activate(self, active: bool) -> None:
        """Whether frames are worked on at all: what a managed node's states decide, beside `~/set_enabled`."""
        self._active = active
        self._switch()

    def stop(self) -> bool:
        """Publish no more; whether the worker has come to its end."""
        self._stopping.set()
        self._wake.set()
        for stream in self._streams:
            stream.outputs.close()
        if self._worker.ident is None:
            return True
        self._worker.join(_LAST_FRAME)
        return not self._worker.is_alive()

    def destroy(self) -> None:
        """After `stop`: take topics, service and timers away, so that another core can have their names."""
        if self._worker.ident is not None:
            self._worker.join()
        self._created.close()

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        self._switch()
        response.success, response.message = True, "enabled" if self._enabled else "disabled"
        return response

    def _switch(self) -> None:
        on = self._active and self._enabled
        for stream in self._streams:
            if on:
                stream.outputs.open()
            else:
                stream.outputs.close()
        self._match()

    def _work(self) -> None:
        try:
            if self._predictor is None:
                self.load()
            self._serve()
        except Exception as error:  # a worker that dies silently would leave a node that only seems to live
            if isinstance(error, ModelError) and self._predictor is None:
                self.failure = str(error)  # starting again would not help
                return
            self.broken = True
            self.failure = f"the node can't go on: {type(error).__name__}: {error}"

    def _serve(self) -> None:
        batches = FrameBatches(self._streams, self._wake, self._values["batch_size"], self._values["batch_wait"])
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            while not self._stopping.is_set() and batches.answer(self._predictor):
                pass

    def _announce(self, predictor: Predictor) -> None:
        for note in filter(None, (predictor.device_note, self._transport_advice)):
            self._log.warning(note)
        if self._values["class_id"] == "number":
            for stream in self._streams:
                stream.outputs.class_ids = {name: str(i) for i, name in enumerate(predictor.classes)}
        for stream in self._streams:
            if self._active and self._enabled:
                stream.outputs.open()
            stream.input.serve()
        self._predictor = predictor
        self._warn_of_doubts()
        self._publish_labels()
        self._log.info(f"ready: {'; '.join(map(str, self._streams))}; {predictor.description}")

    def _match(self) -> None:
        try:
            waiting = [stream.match(self._active and self._enabled) for stream in self._streams]
            self._match_failures = 0
            self._match_timer.timer_period_ns = round(1e9 * (_OFFER_PERIOD if any(waiting) else _MATCH_PERIOD))
        except RuntimeError as error:  # the graph or the middleware, which may recover
            self._match_failures += 1
            self._match_timer.timer_period_ns = round(1e9 * _MATCH_PERIOD)
            self.callback_failed(error)
            if self._match_failures >= _MATCH_TRIES:
                self.broken = True
                self.failure = f"the node can't subscribe: {error}"

    def _report(self) -> None:
        if self._predictor is not None:
            for stream in self._streams:
                stream.input.watch()
            self._warn_of_doubts()
        self._publish_labels()
        running = {"device": "", "engine": "", "precision": "", "model": "loading"}
        if (predictor := self._predictor) is not None:
            running = {
                "device": predictor.device,
                "engine": predictor.engine,
                "precision": predictor.precision,
                "model": str(predictor.model_path),
            }
        name = self._node.get_fully_qualified_name()
        budget = self._node.get_parameter("latency_budget_ms").value
        statuses = [
            stream.diagnostics.status(f"{name}: {stream.name}" if stream.name else name, running, budget)
            for stream in self._streams
        ]
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _warn_of_doubts(self) -> None:
        """Of values that leave nothing to publish, and of a namesake, whenever there is a new one."""
        live = {stream.name: parameters.live(self._node, stream.name) for stream in self._streams}
        found = doubts(live, self._predictor.classes)
        own = self._node.get_name(), self._node.get_namespace()
        if (count := self._node.get_node_names_and_namespaces().count(own)) > 1:
            found.append(
                f"{count} nodes are named {self._node.get_fully_qualified_name()}: parameters and services reach any "
                "of them; give one another name (-r __node:=NAME) or namespace (-r __ns:=/NAME). One that was killed "
                "still counts for about 20 s"
            )
        for sentence in found:
            if sentence not in self._said:
                self._log.warning(sentence)
        self._said = set(found)

    def _publish_labels(self) -> None:
        """One message for all cameras: its threshold is the lowest of theirs."""
        threshold = min(parameters.live(self._node, name)["score_threshold"] for name in self._values["cameras"])
        if self._predictor is not None and threshold != self._threshold:
            self._threshold = threshold
            self._label_info.publish(label_info(self._predictor.class_spec, threshold))
