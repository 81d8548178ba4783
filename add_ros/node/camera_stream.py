"""One camera of the node: take the newest frame, and publish the detections in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.geometry.distortion import Calibration
from add_model.ground import Ground
from add_ros.calibration import Calibrator, described_size
from add_ros.errors import FrameRejectedError
from add_ros.message_times import nanoseconds
from add_ros.node import parameters
from add_ros.node.camera_frames import CameraFrames
from add_ros.node.camera_input import CameraInput
from add_ros.node.detection_filter import DetectionFilter
from add_ros.node.log_throttle import LOG_PERIOD, LogThrottle
from add_ros.node.outputs import StreamOutputs
from add_ros.node.stream_diagnostics import StreamDiagnostics
from add_ros.node.stream_tracking import StreamTracking
from add_ros.node.taken_frame import TakenFrame
from add_ros.rectified_images import HalfIsEnough, rectified_image


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
        self.name, self._node, self._frames = name, node, frames
        self.diagnostics = StreamDiagnostics()
        self._log, self._throttle = node.get_logger(), LogThrottle(LOG_PERIOD)
        self._live = partial(parameters.live, node, name)
        self._source, self._noted, self._doubted = "", False, ""
        self._trusted = settings["trust_calibration"]
        prefix = f"{name}/" if name else ""
        over_ground = frames.to_ground is not None
        follow = settings["tracking"] or over_ground
        self._tracking = StreamTracking(frames.to_ground) if follow else None
        self.outputs = StreamOutputs(node, prefix, settings["autoware_objects"], follow, over_ground, frames.to_target)
        self.input = CameraInput(
            node, prefix, settings, self.diagnostics, lambda: self._live()["max_rate"], wake, transport_advice
        )
        self._image_topic = self.input.image.topic
        try:
            self._refuse_shared_names()
        except ValueError:
            self.destroy()
            raise
        self._calibrator = Calibrator(settings["rectification"], self._image_topic)

    def __str__(self) -> str:
        return f"{self.input} -> {self.outputs.topic_name}"

    def _refuse_shared_names(self) -> None:
        """ROS says nothing of two types under one name before both are there, and this subscribes late."""
        image, info = self.input.image, self.input.info
        kinds = {**self.outputs.types(), info.topic: info.type_name}
        for name, kind in ((image.topic, image.type_name), (info.topic, info.type_name)):
            if kinds.setdefault(name, kind) != kind or name in self.outputs.types():
                raise ValueError(f"{name} is remapped to two topics, of type {kinds[name]} and of type {kind}")

    def match(self, enabled: bool) -> bool:
        """Subscribe, and follow the publishers' quality of service; where nobody wants what is found, do neither.

        That begins while the model is loaded: it is warmed up at the size of the first CameraInfo, and no time is lost
        to discovery then. Returns whether it waits for a publisher's offer, and so should be called again soon.
        """
        why = "" if enabled else "disabled"
        if enabled and self._live()["lazy"] and not self.outputs.wanted():
            why = "nobody subscribes to what is published"
        self.diagnostics.idle(why)
        if not why:
            return self.input.match()
        self.input.rest()
        return False

    def expected(self) -> tuple[Camera, np.ndarray | None] | None:
        """The camera of the images to come and where up is in its frame, by the CameraInfo that has come, None where
        none has, or it can't be used.
        """
        if (info := self.input.latest_info) is None:
            return None
        try:
            camera = self._calibrator(info, *described_size(info)).camera
            return camera, self._frames.attitude.up(info.header)
        except FrameRejectedError:
            return None  # the images are rejected, and say why

    def take(self, half_is_enough: HalfIsEnough) -> TakenFrame | None:
        """The newest frame, ready for the network of which `half_is_enough` is; None where there is none or it can't
        be used.
        """
        frame = self.input.pop()
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
        self.input.reject("internal error", f"the frame failed: {type(error).__name__}: {error}")

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Whatever happens with one frame, the next one is worked on."""
        try:
            yield
        except FrameRejectedError as problem:
            self.input.reject(problem.reason, str(problem))
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
                self._log.error(f"{self._image_topic}: no tracks for an image: {problem}")

    def destroy(self) -> None:
        """Take all topics of this camera away."""
        self.input.destroy()
        self.outputs.destroy()

    def _latency_ms(self, stamp: Any) -> float | None:
        # rclpy's Time refuses the negative stamps that a message can hold.
        stamped = nanoseconds(stamp)
        return (self._node.get_clock().now().nanoseconds - stamped) / 1e6 if stamped else None

    def _decode(self, image: Any, info: Any, half_is_enough: HalfIsEnough | None) -> tuple[np.ndarray, Calibration]:
        pixels, calibration = rectified_image(image, info, self._calibrator, self._note_once, half_is_enough)
        if calibration.source != self._source:
            self._source = calibration.source
            self._log.info(
                f"{self._image_topic}: using {calibration.source} "
                "(the parameter rectification: rectified or raw overrides this)"
            )
        self._doubt("" if self._trusted else calibration.doubt or "")
        return pixels, calibration

    def _doubt(self, sentence: str) -> None:
        """Show what makes this image's camera unlikely, empty for nothing, and warn where it is another doubt."""
        self.diagnostics.calibration_doubt(sentence)
        judgement = sentence.partition(": ")[2]  # the numbers before it may change with each image, as of a zoom lens
        if judgement == self._doubted:
            return
        self._doubted = judgement
        if judgement and self._throttle.ready(f"calibration: {judgement}"):
            self._log.warning(
                f"{self._image_topic}: distances may be wrong: {sentence} (said again where it changes; the parameter "
                "trust_calibration: true silences this)"
            )

    def _note_once(self, said: str) -> None:
        if not self._noted:
            self._noted = True
            self._log.warning(f"{self._image_topic}: {said} (said once)")
