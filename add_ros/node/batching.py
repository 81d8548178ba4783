"""The newest frames of several cameras through one network: in turn, or as one batch where that is faster."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from add_model.predictor import Predictor
from add_ros.node.camera_stream import CameraStream
from add_ros.node.taken_frame import TakenFrame


class FrameBatches:
    """Answers the cameras' newest frames.

    Args:
        streams: the cameras, in the order in which they are served.
        wake: set whenever a camera has a new frame.
        size: frames that go through the network at once; 0 for one on a CPU, where a batch saves little and each
            answer would wait for all, and all cameras elsewhere.
        patience: seconds that a frame waits for those of the other cameras, so that cameras which are triggered
            together are answered together.
    """

    def __init__(self, streams: Sequence[CameraStream], wake: threading.Event, size: int, patience: float) -> None:
        self._streams, self._wake, self._size, self._patience = streams, wake, size, patience

    def answer(self, predictor: Predictor) -> bool:
        """One frame of every camera that has one, so that none starves another; returns whether there was any."""
        size = self._size or (1 if predictor.device == "cpu" else len(self._streams))
        if size > 1:
            self._gather()
        taken = False
        for start in range(0, len(self._streams), size):
            group = self._streams[start : start + size]
            takes = ((stream, stream.take(predictor.half_is_enough)) for stream in group)
            frames = [(stream, frame) for stream, frame in takes if frame is not None]
            if frames:
                taken = True
                _answer(predictor, frames)
        return taken

    def _gather(self) -> None:
        """Wait until each camera that is received has a frame, but not for long after the first."""
        end = time.monotonic() + self._patience
        while any(stream.input.has_frame for stream in self._streams):
            left = end - time.monotonic()
            if left <= 0 or all(stream.input.has_frame for stream in self._streams if stream.input.image.active):
                return
            self._wake.wait(left)
            self._wake.clear()


def _answer(predictor: Predictor, frames: list[tuple[CameraStream, TakenFrame]]) -> None:
    try:
        found = predictor.predict_batch(
            [frame.image for _, frame in frames],
            [frame.camera for _, frame in frames],
            min(frame.least_score for _, frame in frames),
            [frame.up for _, frame in frames],
            [frame.ground for _, frame in frames],
        )
    except Exception as error:  # whatever happens with one frame, others are answered
        if len(frames) == 1:
            frames[0][0].failed(error)
        else:
            for one in frames:
                _answer(predictor, [one])
        return
    for (stream, frame), detections in zip(frames, found, strict=True):
        stream.answer(frame, detections, predictor.class_spec, len(frames))
