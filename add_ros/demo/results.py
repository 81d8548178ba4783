"""The results of a run, read back from its two bags and paired by the images' stamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_ros.bags import messages, types
from add_ros.bags.camera_writer import CAMERA_INFO, GROUND_TRUTH, IMAGE
from add_ros.bags.reading import read
from add_ros.demo.pipeline import CAMERA, DETECTIONS, DIAGNOSTICS, INFO, MARKERS


@dataclass(frozen=True, eq=False)
class ResultFrame:
    """One published image with the node's detections, everything in the camera's own optical frame.

    stamp:      nanoseconds
    detections: None where the node published nothing for this image
    truth:      (M, 7) labelled boxes, None where the clip has no labels
    latency_ms: from the arrival of the frame's CameraInfo to that of its detections, at the recorder; None as above
    """

    stamp: int
    image: np.ndarray
    camera: Camera
    detections: Detections | None
    truth: np.ndarray | None
    latency_ms: float | None


@dataclass
class ResultRun:
    """A run without its pictures, by stamp in nanoseconds; `diagnostics` has the last value of each key."""

    answers: dict[int, Detections] = field(default_factory=dict)
    answered_at: dict[int, int] = field(default_factory=dict)
    received_at: dict[int, int] = field(default_factory=dict)
    marker_messages: int = 0
    diagnostics: dict[str, str] = field(default_factory=dict)

    def latency_ms(self, stamp: int) -> float | None:
        """See `ResultFrame`."""
        if stamp not in self.answered_at or stamp not in self.received_at:
            return None
        return (self.answered_at[stamp] - self.received_at[stamp]) / 1e6

    def latencies_ms(self) -> np.ndarray:
        """Those of all answered frames."""
        return np.array([x for stamp in self.answers if (x := self.latency_ms(stamp)) is not None])

    def found(self) -> Counter[str]:
        """How many objects of each class were detected."""
        return Counter(str(name) for answer in self.answers.values() for name in answer.names)


def read_run(result: Path) -> ResultRun:
    """The run that the recorder wrote. Raises BagError where its bag is broken."""
    run = ResultRun()
    for topic, time, message in read(result, types.typestore(), {DETECTIONS, MARKERS, INFO, DIAGNOSTICS}):
        if topic == DIAGNOSTICS:
            for status in message.status:
                run.diagnostics |= {pair.key: pair.value for pair in status.values if pair.value}
        elif topic == MARKERS:
            run.marker_messages += 1
        elif topic == INFO:
            run.received_at.setdefault(messages.stamp_of(message), time)
        else:
            stamp = messages.stamp_of(message)
            run.answers[stamp] = messages.detections_of(message)
            run.answered_at.setdefault(stamp, time)
    return run


def read_frames(bag: Path, run: ResultRun) -> Iterator[ResultFrame]:
    """The published frames in order, one at a time, each with its answer."""
    image, info, truth = (f"{CAMERA}/{name}" for name in (IMAGE, CAMERA_INFO, GROUND_TRUTH))
    pending: dict[int, dict[str, Any]] = {}
    for topic, _, message in read(bag, types.typestore(), {image, info, truth}):
        stamp = messages.stamp_of(message)
        for done in sorted(s for s in pending if s != stamp):
            yield _frame(done, pending.pop(done), run)
        pending.setdefault(stamp, {})[topic.rsplit("/", 1)[-1]] = message
    for done in sorted(pending):
        yield _frame(done, pending[done], run)


def _frame(stamp: int, parts: dict[str, Any], run: ResultRun) -> ResultFrame:
    image, info = parts[IMAGE], parts[CAMERA_INFO]
    pixels = np.asarray(image.data).reshape(image.height, image.step)[:, : 3 * image.width]
    camera = Camera(np.asarray(info.p).reshape(3, 4), image.width, image.height)
    truth = messages.boxes_of(parts[GROUND_TRUTH])[2] if GROUND_TRUTH in parts else None
    pixels = pixels.reshape(image.height, image.width, 3)
    return ResultFrame(stamp, pixels, camera, run.answers.get(stamp), truth, run.latency_ms(stamp))
