"""Counters of one camera's stream, and their diagnostic_msgs/DiagnosticStatus."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

NEWER_FRAME = "newer frame"  # normal under load: the newest frame wins
OVER_MAX_RATE = "over max_rate"  # as asked for
_NORMAL = (NEWER_FRAME, OVER_MAX_RATE)
MISSED = "missed"  # replaced by a newer one before it was read, or lost on the way
STALLED = 2.0  # seconds without an image, or without an answer to one, after which a running stream is reported
_REPLAY = 60e3  # milliseconds: no pipeline is that late, the clocks differ
_AHEAD = 100.0  # milliseconds: a simulated clock that ticks ten times per second is behind by less


class _CountsByReason:
    """How often the detections of an image went out without something, by reason: in all, and in this window."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.window: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        self.total[reason] += 1
        self.window[reason] += 1

    def values(self, name: str) -> dict[str, int]:
        """The totals as diagnostics."""
        return {f"{name} ({reason})": count for reason, count in sorted(self.total.items())}


class StreamDiagnostics:
    """Counters of one camera. Called from any thread; `clock` gives seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock, self._clock = threading.Lock(), clock
        self._received = self._published = self._objects = 0
        self._callback_errors = self._impossible = 0
        self._dropped: Counter[str] = Counter()
        self._tracks, self._ground = _CountsByReason(), _CountsByReason()
        self._last_received: float | None = None
        self._last_published: float | None = None
        self._idle = self._calibration_doubt = ""
        self._unanswered: float | None = None  # since when images come in and no detections go out
        # Processing and latency of the last detections, for windows without any; none before the first.
        self._last_times: tuple[list[float], list[float]] = ([], [])
        self._start_window()

    def _start_window(self) -> None:
        self._window_start = self._clock()
        self._processing: list[float] = []
        self._together: list[float] = []
        self._latency: list[float] = []
        self._problems: Counter[str] = Counter()
        self._tracks.window.clear()
        self._ground.window.clear()
        self._window_received = self._window_missed = self._unstamped = 0
        self._window_callback_errors = self._window_impossible = 0

    def idle(self, why: str) -> None:
        """Nothing is received, by intent; empty when it is again."""
        with self._lock:
            if why != self._idle:
                self._idle, self._last_received, self._unanswered = why, None, None

    def received(self) -> None:
        """An image came in."""
        with self._lock:
            self._received += 1
            self._window_received += 1
            self._last_received = self._clock()
            if self._unanswered is None:
                self._unanswered = self._last_received

    def published(self, processing_ms: float, latency_ms: float | None, objects: int, together: int = 1) -> None:
        """An image's detections went out; its latency is not known where it has no stamp."""
        with self._lock:
            self._published += 1
            self._objects = objects
            self._processing.append(processing_ms)
            self._together.append(together)
            self._unstamped += latency_ms is None
            self._latency += [] if latency_ms is None else [latency_ms]
            self._last_published, self._unanswered = self._clock(), None
            self._last_times = [processing_ms], self._latency[-1:]

    def dropped(self, reason: str, count: int = 1) -> int:
        """Images were dropped; returns how many for this reason so far."""
        with self._lock:
            self._dropped[reason] += count
            if reason == MISSED:
                self._window_missed += count
            elif reason not in _NORMAL:
                self._problems[reason] += count
                self._unanswered = None
            elif reason == OVER_MAX_RATE and self._unanswered == self._last_received:
                self._unanswered = None  # this frame was to have no answer
            return self._dropped[reason]

    def dropped_tracks(self, reason: str) -> None:
        """An image whose detections went out got no tracks."""
        with self._lock:
            self._tracks.add(reason)

    def without_ground(self, reason: str) -> None:
        """An image's detections went out without regard to the ground, which was not known."""
        with self._lock:
            self._ground.add(reason)

    def calibration_doubt(self, sentence: str) -> None:
        """Why the camera of the last image is unlikely; empty where it is not, or is trusted."""
        with self._lock:
            self._calibration_doubt = sentence

    def callback_failed(self) -> None:
        """A callback of the node raised an exception: of a message, a request or a timer."""
        with self._lock:
            self._callback_errors += 1
            self._window_callback_errors += 1

    def impossible(self, count: int) -> None:
        """The network gave so many detections with values that cannot be, which are not published."""
        with self._lock:
            self._impossible += count
            self._window_impossible += count

    def status(self, name: str, detector: Mapping[str, str], budget_ms: float) -> DiagnosticStatus:
        """The state now; means and maxima are those since the last call.

        Args:
            name: of the status.
            detector: what runs, by key: 'device', 'model' and more.
            budget_ms: processing time and latency above it are a warning.
        """
        with self._lock:
            level, message = self._summary(budget_ms)
            elapsed = max(self._clock() - self._window_start, 1e-6)
            values = {
                **detector,
                "frames_in": self._received,
                "frames_out": self._published,
                "frames_dropped": self._dropped.total(),
                **{f"frames_dropped ({reason})": count for reason, count in sorted(self._dropped.items())},
                "tracks_dropped": self._tracks.total.total(),
                **self._tracks.values("tracks_dropped"),
                **self._ground.values("frames_without_ground"),
                "calibration_doubt": self._calibration_doubt,
                "output_rate_hz": f"{len(self._processing) / elapsed:.1f}",
                "processing_time_ms": _mean(self._processing),
                "processing_time_max_ms": _max(self._processing),
                "batch_size": _mean(self._together),
                "pipeline_latency_ms": _mean(self._latency),
                "pipeline_latency_max_ms": _max(self._latency),
                "detections_last_frame": self._objects,
                "detections_impossible": self._impossible,
                "callback_errors": self._callback_errors,
            }
            self._start_window()
        return DiagnosticStatus(
            level=level,
            name=name,
            message=message,
            hardware_id=detector["device"],
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _summary(self, budget_ms: float) -> tuple[bytes, str]:
        if self._idle:
            return DiagnosticStatus.OK, f"idle: {self._idle}"
        if self._last_received is None:
            return DiagnosticStatus.WARN, "waiting for images"
        now = self._clock()
        silence = now - self._last_received
        problems = _counts(self._problems)
        # A slow network may take longer for one image than the period of these reports.
        patience = max(STALLED, budget_ms / 1e3, *(2e-3 * time for time in self._last_times[0]))
        if problems and (self._last_published is None or now - self._last_published > patience):
            return DiagnosticStatus.ERROR, f"no image was usable: {problems}"
        if silence > STALLED:
            return DiagnosticStatus.WARN, f"no image for {silence:.0f} s"
        if self._unanswered is not None and now - self._unanswered > patience:
            return DiagnosticStatus.WARN, f"images come in, but no answer for {now - self._unanswered:.0f} s"
        warnings = [f"dropped {problems}"] if problems else []
        if self._calibration_doubt:
            warnings.append(f"distances may be wrong: {self._calibration_doubt}")
        for what, missing in (("tracks", self._tracks), ("known ground", self._ground)):
            if missing.window:
                warnings.append(f"images without {what}: {_counts(missing.window)}")
        if self._window_impossible:
            warnings.append(f"{self._window_impossible} detections had impossible values: the model is broken")
        if self._window_callback_errors:
            warnings.append(f"{self._window_callback_errors} callback(s) failed, see the log")
        missed, sent = self._window_missed, self._window_missed + self._window_received
        if missed > self._window_received:
            warnings.append(
                f"{missed} of {sent} images did not get here: the transport loses them (Fast DDS needs a profile, see "
                "docs/user/node.md) or the machine is overloaded"
            )
        if self._unstamped:
            warnings.append(
                "images have the stamp 0, so that their latency is not known and nothing can be matched to them: the "
                "camera's driver must set header.stamp"
            )
        processing, latency = (self._processing, self._latency) if self._processing else self._last_times
        for what, times in (("processing", processing), ("pipeline latency", latency)):
            mean = np.mean(times) if times else 0.0
            if abs(mean) > _REPLAY:
                warnings.append(
                    "image stamps and this node's clock differ: replaying a bag needs use_sim_time and /clock"
                )
            elif mean < -_AHEAD:
                warnings.append(
                    f"image stamps are {-mean:.0f} ms ahead of this node's clock: synchronise the camera's "
                    "with it (NTP, PTP)"
                )
            elif mean > budget_ms:
                warnings.append(f"{what} {mean:.0f} ms is over the budget of {budget_ms:.0f} ms")
        return (DiagnosticStatus.WARN, "; ".join(warnings)) if warnings else (DiagnosticStatus.OK, "detecting")


def _counts(problems: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in problems.most_common())


def _mean(times: list[float]) -> str:
    return f"{np.mean(times):.1f}" if times else ""


def _max(times: list[float]) -> str:
    return f"{np.max(times):.1f}" if times else ""
