"""One camera of the node: subscribe, pair, keep the newest frame, and publish the detections in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.geometry.distortion import Calibration
from add_model.ground import Ground
from add_ros.bounds import printable, require_bounded
from add_ros.calibration import Calibrator
from add_ros.camera_info_sync import PATIENCE, CameraInfoSynchronizer, image_size, same_size
from add_ros.errors import FrameRejectedError
from add_ros.node import parameters
from add_ros.node.camera_frames import CameraFrames
from add_ros.node.detection_filter import DetectionFilter, RateLimit
from add_ros.node.matched_subscription import MatchedSubscription
from add_ros.node.outputs import StreamOutputs
from add_ros.node.stream_diagnostics import MISSED, NEWER_FRAME, OVER_MAX_RATE, LogThrottle, StreamDiagnostics
from add_ros.node.stream_tracking import StreamTracking
from add_ros.node.taken_frame import TakenFrame
from add_ros.rectified_images import HalfIsEnough, rectified_image

IMAGE_DEPTH = 1  # the newest wins
INFO_DEPTH = 10  # small, and the pair of an image that is still on its way must not be pushed out
PATIENCE_TICKS = 4  # PATIENCE is counted in ticks: after a stall, messages that came meanwhile are read before it ends
LONG_PATIENCE_TICKS = 50  # one second, where the latest CameraInfo is of another size
SILENCE = 3.0  # seconds after which a topic without any message is reported
REMINDER = 15.0  # seconds until it is reported again
LOG_PERIOD = 5.0  # seconds between two lines about the same kind of problem


class CameraStream:
    """The topics of one camera.

    Args:
        node: has the subscriptions and publishers.
        name: namespace of the topics, empty for none.
        settings: parameters of this camera at start.
        frames: what knows where the camera is.
        wake: called when a frame is ready for `take`.
        transport_advice: logged when images are missed, once; None for none.

    Raises:
        ValueError: where a parameter or a remapping cannot be used.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        settings: Mapping[str, Any],
        frames: CameraFrames,
        wake: Callable[[], None],
        transport_advice: str | None,
    ) -> None:
        self.name, self._node, self._frames, self._wake = name, node, frames, wake
        self.diagnostics = StreamDiagnostics()
        self._log, self._throttle, self._reminder = node.get_logger(), LogThrottle(LOG_PERIOD), LogThrottle(REMINDER)
        self._live = partial(parameters.live, node, name)
        self._rate, self._transport_advice = RateLimit(), transport_advice
        self._newest: tuple[Any, Any] | None = None
        self._latest_info: CameraInfo | None = None
        self._serving = False
        self._newest_lock = threading.Lock()
        self._source, self._fell_back_once, self._advised = "", False, False
        self._noted, self._doubted = False, settings["trust_calibration"]
        prefix = f"{name}/" if name else ""
        over_ground = frames.to_ground is not None
        follow = settings["tracking"] or over_ground
        self._tracking = StreamTracking(frames.to_ground) if follow else None
        self.outputs = StreamOutputs(node, prefix, settings["autoware_objects"], follow, over_ground, frames.to_target)
        self._synchronizer = CameraInfoSynchronizer(
            self._ready, self._fell_back, self._unpaired, PATIENCE_TICKS, LONG_PATIENCE_TICKS, same_size
        )
        self._started: float | None = None
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._ticks = 0
        self._patience = node.create_timer(PATIENCE / PATIENCE_TICKS, self._tick, clock=steady)
        self._patience.cancel()
        kind, topic = Image, f"{prefix}image"
        if settings["image_transport"] == "compressed":
            kind = CompressedImage
            topic = node.resolve_topic_name(topic)  # what `image` is remapped to has the transport below it
            topic = topic if topic.endswith("/compressed") else f"{topic}/compressed"
        # The executor serves subscriptions in this order: the CameraInfo before its image.
        self.info = MatchedSubscription(
            node, CameraInfo, f"{prefix}camera_info", INFO_DEPTH, settings["reliability"], self._on_info, lambda _: None
        )
        self.image = MatchedSubscription(
            node, kind, topic, IMAGE_DEPTH, settings["reliability"], self._on_image, self._on_missed
        )
        try:
            self._refuse_shared_names()
        except ValueError:
            self.destroy()
            raise
        self._calibrator = Calibrator(settings["rectification"], self.image.topic)

    def __str__(self) -> str:
        return f"{self.image.topic} ({self.image.type_name}) and {self.info.topic} -> {self.outputs.topic_name}"

    def _refuse_shared_names(self) -> None:
        """ROS says nothing of two types under one name before both are there, and this subscribes late."""
        kinds = {**self.outputs.types(), self.info.topic: self.info.type_name}
        for name, kind in ((self.image.topic, self.image.type_name), (self.info.topic, self.info.type_name)):
            if kinds.setdefault(name, kind) != kind or name in self.outputs.types():
                raise ValueError(f"{name} is remapped to two topics, of type {kinds[name]} and of type {kind}")

    def match(self, enabled: bool) -> bool:
        """Subscribe, and follow the publishers' quality of service; where nobody wants what is found, do neither.

        That begins while the model is loaded: it is warmed up at the size of the first CameraInfo, and no time is lost
        to discovery then. Returns whether it waits for a publisher's offer, and so should be called again soon.
        """
        if not enabled:
            self._rest("disabled")
        elif self._live()["lazy"] and not self.outputs.wanted():
            self._rest("nobody subscribes to what is published")
        else:
            self.diagnostics.idle("")
            self._started = self._started or time.monotonic()
            self.info.match()
            self.image.match()
            return not (self.info.active and self.image.active)
        return False

    def _rest(self, why: str) -> None:
        self.diagnostics.idle(why)
        if self.image.active:
            self._started = None
            self.info.release()
            self.image.release()
            self._synchronizer.forget()
            self._patience.cancel()
            with self._newest_lock:
                self._newest = None

    def expected(self) -> tuple[Camera, np.ndarray | None] | None:
        """The camera of the images to come and where up is in its frame, by the CameraInfo that has come, None where
        none has, or it can't be used.
        """
        if (info := self._latest_info) is None:
            return None
        try:
            camera = self._calibrator(info, *image_size(info)).camera
            return camera, self._frames.attitude.up(info.header)
        except FrameRejectedError:
            return None  # the images are rejected, and say why

    def serve(self) -> None:
        """The model is loaded: from now on images count, the one that waits too."""
        with self._newest_lock:
            self._serving, waiting = True, self._newest is not None
        if waiting:
            self.diagnostics.received()

    def watch(self) -> None:
        """Report topics on which nothing has come since they were subscribed to."""
        waited = 0.0 if self._started is None else time.monotonic() - self._started
        for topic in (self.image, self.info):
            if topic.active and topic.received == 0 and waited > SILENCE and self._reminder.ready(topic.topic):
                self._log.warning(
                    f"nothing has arrived on {topic.topic} ({topic.type_name}) for {waited:.0f} s: {topic.silence()}"
                )

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits for `take`."""
        return self._newest is not None

    def take(self, half_is_enough: HalfIsEnough) -> TakenFrame | None:
        """The newest frame, ready for the network of which `half_is_enough` is; None where there is none or it can't
        be used.
        """
        with self._newest_lock:
            frame, self._newest = self._newest, None
        if frame is None:
            return None
        started = time.perf_counter()
        with self._surviving():
            header = frame[0].header
            if self._frames.to_target is not None:
                self._frames.to_target.require(header.frame_id)  # before the network runs, for which other cameras wait
            up = self._frames.attitude.up(header)
            in_full = up is not None or self.outputs.image_wanted
            image, calibration = self._decode(*frame, None if in_full else half_is_enough)
            live = self._live()
            wanted = DetectionFilter(*(live[field.name] for field in fields(DetectionFilter)))
            least = wanted.score_threshold
            least = least if self._tracking is None else self._tracking.least_score(least)
            ground = self._known_ground(header, up, live["covariance_scale"])
            return TakenFrame(image, calibration.camera, header, live, wanted, least, started, up, ground)
        return None

    def answer(self, frame: TakenFrame, found: Detections, classes: ClassSpec, together: int) -> None:
        """Publish what was found in a frame, in which the network saw so many images together."""
        with self._surviving():
            every = replace(frame.wanted, score_threshold=frame.least_score)(found, frame.camera)
            found = every[every.scores >= frame.wanted.score_threshold]
            self.outputs.publish(frame, found, classes)
            self.diagnostics.impossible(found.impossible)
            processing_ms = 1e3 * (time.perf_counter() - frame.started)
            self.diagnostics.published(processing_ms, self._latency_ms(frame.header.stamp), len(found), together)
            if self._tracking is not None:
                self._track(self._tracking, frame, every)

    def _known_ground(self, header: Any, up: np.ndarray | None, covariance_scale: float) -> Ground | None:
        """The ground where it is known: without it detections are worse, and still there."""
        try:
            return self._frames.ground.at(header, up, covariance_scale)
        except FrameRejectedError as problem:
            self.diagnostics.without_ground(problem.reason)
            if self._throttle.ready(f"ground: {problem.reason}"):
                self._log.warning(f"detections are published without regard to the ground: {problem}")
            return None

    def failed(self, error: Exception) -> None:
        """The network could not take a frame."""
        self._reject("internal error", f"the frame failed: {type(error).__name__}: {error}")

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Whatever happens with one frame, the next one is worked on."""
        try:
            yield
        except FrameRejectedError as problem:
            self._reject(problem.reason, str(problem))
        except Exception as error:
            self.failed(error)

    def _track(self, tracking: StreamTracking, frame: TakenFrame, found: Detections) -> None:
        """Publish tracks, after the detections: these never wait for the camera's pose."""
        try:
            tracks, pose = tracking.update(found, frame.camera, frame.header, frame.wanted.score_threshold)
            self.outputs.publish_tracks(frame, tracks, pose)
        except FrameRejectedError as problem:
            self.diagnostics.dropped_tracks(problem.reason)
            if self._throttle.ready(f"tracks: {problem.reason}"):
                self._log.error(f"{self.image.topic}: no tracks for an image: {problem}")

    def destroy(self) -> None:
        """Take all topics of this camera away."""
        self.info.release()
        self.image.release()
        self._node.destroy_timer(self._patience)
        self.outputs.destroy()

    def _latency_ms(self, stamp: Any) -> float | None:
        # rclpy's Time refuses the negative stamps that a message can hold.
        stamped = stamp.sec * 10**9 + stamp.nanosec
        return (self._node.get_clock().now().nanoseconds - stamped) / 1e6 if stamped else None

    def _decode(self, image: Any, info: Any, half_is_enough: HalfIsEnough | None) -> tuple[np.ndarray, Calibration]:
        pixels, calibration = rectified_image(image, info, self._calibrator, self._note_once, half_is_enough)
        if calibration.source != self._source:
            self._source = calibration.source
            self._log.info(
                f"{self.image.topic}: using {calibration.source} "
                "(the parameter rectification: rectified or raw overrides this)"
            )
        if calibration.doubt and not self._doubted:
            self._doubted = True
            self._log.warning(
                f"{self.image.topic}: distances may be wrong: {calibration.doubt} (said once; the parameter "
                "trust_calibration: true silences this)"
            )
        return pixels, calibration

    def _note_once(self, said: str) -> None:
        if not self._noted:
            self._noted = True
            self._log.warning(f"{self.image.topic}: {said} (said once)")

    def _on_image(self, message: Any) -> None:
        if self._serving:
            self.diagnostics.received()
        if self._is_bounded(message):
            self._synchronizer.add_image(message, self._ticks)
            self._tick_while_waiting()

    def _on_info(self, message: Any) -> None:
        if self._is_bounded(message):
            self._latest_info = message
            self._synchronizer.add_info(message)
            self._tick_while_waiting()

    def _is_bounded(self, message: Any) -> bool:
        try:
            require_bounded(message)
        except FrameRejectedError as problem:  # a message that waits for its pair would keep its memory
            self._reject(problem.reason, str(problem))
            return False
        return True

    def _tick(self) -> None:
        self._ticks += 1
        self._synchronizer.expire(self._ticks)
        self._tick_while_waiting()

    def _tick_while_waiting(self) -> None:
        if not self._synchronizer.waiting:
            self._patience.cancel()
        elif self._patience.is_canceled():
            self._patience.reset()

    def _drop(self, reason: str, count: int = 1) -> int:
        """Count dropped images; returns how many for this reason so far, 0 while the model is loading."""
        return self.diagnostics.dropped(reason, count) if self._serving else 0

    def _on_missed(self, count: int) -> None:
        missed = self._drop(MISSED, count)
        if missed and self._transport_advice and not self._advised:
            self._advised = True
            self._log.warning(f"{self.image.topic}: {missed} image(s) did not get here. {self._transport_advice}")

    def _ready(self, image: Any, info: Any) -> None:
        if not self._rate.ready(time.monotonic(), self._live()["max_rate"]):
            self._drop(OVER_MAX_RATE)
            return
        with self._newest_lock:
            replaced, self._newest = self._newest is not None, (image, info)
        if replaced:
            self._drop(NEWER_FRAME)
        self._wake()

    def _fell_back(self, image: Any, info: Any) -> None:
        if not self._fell_back_once:
            self._fell_back_once = True
            wanted, latest = (f"{m.header.stamp.sec}.{m.header.stamp.nanosec:09d}" for m in (image, info))
            self._log.warning(
                f"no message on {self.info.topic} has come in time with the image's stamp {wanted}: "
                f"using the latest one, of {latest} (logged once)"
            )

    def _unpaired(self) -> None:
        self._drop("no camera_info")  # `watch` reports it where it lasts

    def _reject(self, reason: str, message: str) -> None:
        count = self._drop(reason)
        if count and self._throttle.ready(reason):
            line = f"{self.image.topic}: {message} ({reason}: {count} frame(s) dropped so far)"
            self._log.error(printable(line))
