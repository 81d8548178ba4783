"""The topics that one camera of the node listens to: subscribe, pair, and keep the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from add_ros.bounds import printable, require_bounded
from add_ros.camera_info_sync import LONG_PATIENCE, PATIENCE, CameraInfoSynchronizer, same_size
from add_ros.errors import FrameRejectedError
from add_ros.message_times import seconds_text
from add_ros.node.detection_filter import RateLimit
from add_ros.node.log_throttle import LOG_PERIOD, LogThrottle
from add_ros.node.matched_subscription import MatchedSubscription
from add_ros.node.stream_diagnostics import MISSED, NEWER_FRAME, OVER_MAX_RATE, StreamDiagnostics

IMAGE_DEPTH = 1  # the newest wins
INFO_DEPTH = 10  # small, and the pair of an image that is still on its way must not be pushed out
PATIENCE_TICKS = 4  # PATIENCE is counted in ticks: after a stall, messages that came meanwhile are read before it ends
LONG_PATIENCE_TICKS = round(LONG_PATIENCE / PATIENCE * PATIENCE_TICKS)
SILENCE = 3.0  # seconds after which a topic without any message is reported
REMINDER = 15.0  # seconds until it is reported again


class CameraInput:
    """The image topic of one camera and its CameraInfo.

    Args:
        node: has the subscriptions.
        prefix: of the topics.
        settings: parameters of this camera at start.
        diagnostics: of this camera; counts what is received and dropped.
        max_rate: returns how many frames a second are wanted now, 0 for all.
        wake: called when a frame is ready for `pop`.
        transport_advice: logged when images are missed, once; None for none.

    Attributes:
        latest_info: the CameraInfo that came last, None before the first.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        settings: Mapping[str, Any],
        diagnostics: StreamDiagnostics,
        max_rate: Callable[[], float],
        wake: Callable[[], None],
        transport_advice: str | None,
    ) -> None:
        self._node, self._diagnostics, self._max_rate, self._wake = node, diagnostics, max_rate, wake
        self._log, self._throttle, self._reminder = node.get_logger(), LogThrottle(LOG_PERIOD), LogThrottle(REMINDER)
        self._rate, self._transport_advice = RateLimit(), transport_advice
        self._newest: tuple[Any, Any] | None = None
        self._newest_lock = threading.Lock()
        self.latest_info: CameraInfo | None = None
        self._serving, self._fell_back_once, self._advised = False, False, False
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

    def __str__(self) -> str:
        return f"{self.image.topic} ({self.image.type_name}) and {self.info.topic}"

    def match(self) -> bool:
        """Subscribe, and follow the publishers' quality of service.

        Returns whether it waits for a publisher's offer, and so should be called again soon.
        """
        self._started = self._started or time.monotonic()
        self.info.match()
        self.image.match()
        return not (self.info.active and self.image.active)

    def rest(self) -> None:
        """Receive nothing, until `match`."""
        if self.image.active:
            self._started = None
            self.info.release()
            self.image.release()
            self._synchronizer.forget()
            self._patience.cancel()
            with self._newest_lock:
                self._newest = None

    def serve(self) -> None:
        """The model is loaded: from now on images count, the one that waits too."""
        with self._newest_lock:
            self._serving, waiting = True, self._newest is not None
        if waiting:
            self._diagnostics.received()

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
        """Whether a frame waits for `pop`."""
        return self._newest is not None

    def pop(self) -> tuple[Any, Any] | None:
        """The newest image and its CameraInfo; None where there is none."""
        with self._newest_lock:
            frame, self._newest = self._newest, None
        return frame

    def reject(self, reason: str, message: str) -> None:
        """Count and log an image that can't be used."""
        count = self._drop(reason)
        if count and self._throttle.ready(reason):
            line = f"{self.image.topic}: {message} ({reason}: {count} frame(s) dropped so far)"
            self._log.error(printable(line))

    def destroy(self) -> None:
        """Take the subscriptions away."""
        self.info.release()
        self.image.release()
        self._node.destroy_timer(self._patience)

    def _on_image(self, message: Any) -> None:
        if self._serving:
            self._diagnostics.received()
        try:
            require_bounded(message)  # a message that waits for its pair would keep its memory
        except FrameRejectedError as problem:
            self.reject(problem.reason, str(problem))
            return
        self._synchronizer.add_image(message, self._ticks)
        self._tick_while_waiting()

    def _on_info(self, message: Any) -> None:
        try:
            require_bounded(message)
        except FrameRejectedError as problem:  # logged alone: its image is a frame, and is counted
            if self._serving and self._throttle.ready(f"camera_info: {problem.reason}"):
                self._log.error(printable(f"{self.info.topic}: {problem} ({problem.reason})"))
            return
        self.latest_info = message
        self._synchronizer.add_info(message)
        self._tick_while_waiting()

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
        return self._diagnostics.dropped(reason, count) if self._serving else 0

    def _on_missed(self, count: int) -> None:
        missed = self._drop(MISSED, count)
        if missed and self._transport_advice and not self._advised:
            self._advised = True
            self._log.warning(f"{self.image.topic}: {missed} image(s) did not get here. {self._transport_advice}")

    def _ready(self, image: Any, info: Any) -> None:
        if not self._rate.ready(time.monotonic(), self._max_rate()):
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
            wanted, latest = (seconds_text(m.header.stamp) for m in (image, info))
            self._log.warning(
                f"no message on {self.info.topic} has come in time with the image's stamp {wanted}: "
                f"using the latest one, of {latest} (logged once)"
            )

    def _unpaired(self) -> None:
        self._drop("no camera_info")  # `watch` reports it where it lasts
