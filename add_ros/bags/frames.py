"""The frames of one camera in a bag, as the node would get them: `for frame in BagFrames("drive"): ...`

The node's own code pairs, decodes, calibrates and rectifies. The node drops images that it has no time for; here every
image that it could use is a frame.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_ros.bags import messages, types
from add_ros.bags.answers import Answers
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, readable_messages
from add_ros.bags.topics import TopicNames, Topics, find_topics
from add_ros.bounds import require_bounded
from add_ros.calibration import Calibrator
from add_ros.camera_info_sync import PATIENCE, synchronizer_of_recorded
from add_ros.errors import FrameRejectedError
from add_ros.rectified_images import HalfIsEnough, rectified_image
from training.data.sample import Objects

NO_INFO = "no camera_info"
FALLBACK, LATE = "paired with the latest camera_info", "out of order"
DARK = "16-bit image that seems to hold fewer bits"
DOUBT = "intrinsics that look wrong, so that distances may be (--trust-calibration silences this)"
TRUTH_ALONE, REPEATED = "ground truth without an image", "repeated stamp"


@dataclass(frozen=True, eq=False)
class BagFrame:
    """One image with its labels and detections in the bag, everything in the camera's own optical frame.

    stamp:      of the image, nanoseconds; frame_id: of the image
    image:      (H, W, 3) uint8 RGB, rectified as the node rectifies it; at half the camera's size where it was asked
                for so
    truth:      the labelled objects, None where the bag has no ground-truth topic. Where a label has no 2D box,
                boxes2d is NaN and truncated and occluded are -1 (see add_ros/bags/ground_truth.py)
    truth_ids:  the id (N,) of each labelled object in its message, None where truth is
    detections: the recorded detections of this stamp, best first, None where there are none; boxes2d is NaN, since
                messages don't have them
    """

    stamp: int
    frame_id: str
    image: np.ndarray
    camera: Camera
    truth: Objects | None
    detections: Detections | None
    truth_ids: np.ndarray | None = None


class BagFrames:
    """The frames of one camera of a bag, in the order of their recording; each iteration reads it again.

    Args:
        path: the bag.
        names: the topics to use (see `find_topics`).
        rectification: as the node's parameter: auto, rectified or raw.
        trust_calibration: as the node's parameter: whether `summary` says nothing about intrinsics that look wrong.

    After an iteration these attributes count what happened to the images, and `summary` has them as text:
    count:   frames that were given
    skipped: images that were not, each once, by reason; `problems` has a sentence on the first of each reason
    noted:   what is unusual about frames that were given, ground truth that belongs to no image, malformed messages
             beside the images
    damage:  what is wrong with the bag, None where nothing is. All that could be read was given nevertheless.
    calibrations: which one held for the images and why, each that there was
    notes:   what is odd about the bag as a whole, such as a metadata.yaml that its files contradict

    Raises:
        BagError: where the bag cannot be read at all, where topics are missing or ambiguous and, after an iteration,
            where there was no frame that can be used.
    """

    def __init__(
        self,
        path: str | Path,
        names: TopicNames | None = None,
        rectification: str = "auto",
        trust_calibration: bool = False,
    ) -> None:
        self.path, self._rectification, self._trusted = Path(path), rectification, trust_calibration
        self._types = types.typestore()
        with open_bag(self.path) as reader:
            try:
                self.topics: Topics = find_topics(list(reader.connections), names or TopicNames(), self._types)
            except BagError as error:
                raise BagError("; ".join([f"{self.path}: {error}", *reader.notes])) from error
            self.notes = reader.notes
            self.images = sum(c.msgcount for c in reader.connections if c.topic == self.topics.image)
        self._ahead = False  # whether the answers have been read that the next iteration begins with
        self._reset()
        self._answers = Answers(self.topics)

    def __len__(self) -> int:
        """How many images there are by the bag's index; 0 where a damaged file has none."""
        return self.images

    def truths(self) -> dict[int, Objects]:
        """The ground truth by stamp, without reading an image; malformed messages are reported by the iteration.

        The next iteration uses it instead of reading it again.
        """
        self._reset()
        self._read_answers()
        self._ahead = True
        return self._answers.truths()

    def __iter__(self) -> Iterator[BagFrame]:
        return self.frames()

    def frames(self, half_is_enough: HalfIsEnough | None = None) -> Iterator[BagFrame]:
        """An iteration with images decoded as the node has them: at half their size, where that is enough.

        Args:
            half_is_enough: the predictor's; None for all in full, as in any other iteration.
        """
        if not self._ahead:
            self._reset()
            self._read_answers()
        self._ahead = False
        calibrate = Calibrator(self._rectification, self.topics.image)
        last = None
        for image, info in self._pairs():
            stamp = messages.stamp_of(image)
            try:
                frame = self._frame(image, info, calibrate, half_is_enough)
            except FrameRejectedError as problem:
                self._count(self.skipped, problem.reason, str(problem))
                continue
            self.noted[LATE] += last is not None and stamp < last
            last = stamp
            self.count += 1
            yield frame
        self.noted[TRUTH_ALONE] = self._answers.without_image(self._stamps)
        self.noted = +self.noted
        if not self.count:
            raise BagError(f"no frame of {self.path} can be used: {'; '.join(self.summary())}")

    def again(self, stamps: Container[int]) -> Iterator[BagFrame]:
        """The frames of these stamps once more, after an iteration: no other image is decoded, and nothing counted."""
        reader = copy.copy(self)  # with counts of its own, which nobody reads
        reader._reset()
        calibrate = Calibrator(self._rectification, self.topics.image)
        for image, info in reader._pairs():
            if messages.stamp_of(image) in stamps:
                with suppress(FrameRejectedError):
                    yield reader._frame(image, info, calibrate)

    def summary(self) -> list[str]:
        """One sentence each: frames, topics with their stamps, notes, skips by reason, what is unusual, and damage."""
        topics = (self.topics.image, self.topics.camera_info, self.topics.ground_truth, self.topics.detections)
        lines = [_counted(self.count, "frame")] + [f"{topic}: {self._stamps_of(topic)}" for topic in topics if topic]
        lines += [f"calibration: {source}" for source in self.calibrations] + self.notes
        for reason, n in self.skipped.most_common():
            lines.append(f"skipped {_counted(n, 'image')}, {reason}: {self.problems[reason]}")
        for what, n in (+self.noted).most_common():
            lines.append(
                f"{_counted(n, 'time')} {what}" + (f": {self.problems[what]}" if what in self.problems else "")
            )
        return [*lines, self.damage] if self.damage else lines

    def _reset(self) -> None:
        self.count, self.damage = 0, None
        self.skipped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        self.calibrations: list[str] = []
        self._stamps: set[int] = set()  # of all images
        self._paired: set[int] = set()  # of those that were paired
        self._spans: dict[str, tuple[int, int, int]] = {}

    def _count(self, counted: Counter[str], reason: str, sentence: str | None = None) -> None:
        counted[reason] += 1
        if sentence is not None:
            self.problems.setdefault(reason, sentence)

    def _messages(self, *topics: str | None) -> Iterator[tuple[str, int, Any]]:
        """(topic, nanoseconds, message), up to where the bag breaks."""
        for connection, time, message in readable_messages(
            self.path, self._types, lambda c: c.topic in topics, self._count_malformed, self._break_off
        ):
            stamp = messages.stamp_of(message)
            first, last, count = self._spans.get(connection.topic, (stamp, stamp, 0))
            self._spans[connection.topic] = min(first, stamp), max(last, stamp), count + 1
            yield connection.topic, time, message

    def _count_malformed(self, topic: str, sentence: str) -> None:
        # Each image is skipped at most once: one without its CameraInfo or ground truth, for that reason.
        counted = self.skipped if topic == self.topics.image else self.noted
        self._count(counted, f"malformed message on {topic}", sentence)

    def _break_off(self, damage: str) -> None:
        self.damage = damage

    def _stamps_of(self, topic: str) -> str:
        if topic not in self._spans:
            return "no messages"
        first, last, count = self._spans[topic]
        return f"{_counted(count, 'message')}, stamps {messages.seconds(first)} to {messages.seconds(last)}"

    def _read_answers(self) -> None:
        t, self._answers = self.topics, Answers(self.topics)
        recorded = self._messages(t.ground_truth, t.ground_truth_2d, t.detections)
        self._answers.read(((topic, message) for topic, _, message in recorded), partial(self._count, self.noted))

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        """Images with their CameraInfo as the node pairs them, by the time of recording."""
        ready: list[tuple[Any, Any]] = []

        def fell_back(*_: Any) -> None:
            self.noted[FALLBACK] += 1

        def unpaired() -> None:
            self._count(
                self.skipped, NO_INFO, f"no message had come on {self.topics.camera_info} {PATIENCE} s after the image"
            )

        synchronizer = synchronizer_of_recorded(lambda image, info: ready.append((image, info)), fell_back, unpaired)
        for topic, time, message in self._messages(self.topics.image, self.topics.camera_info):
            synchronizer.expire(time)
            if topic == self.topics.camera_info:
                synchronizer.add_info(message)
            else:
                self._stamps.add(messages.stamp_of(message))
                synchronizer.add_image(message, time)
            yield from ready
            ready.clear()
        synchronizer.flush()
        yield from ready

    def _frame(
        self, image: Any, info: Any, calibrate: Calibrator, half_is_enough: HalfIsEnough | None = None
    ) -> BagFrame:
        stamp, frame_id = messages.stamp_of(image), image.header.frame_id
        if stamp in self._paired:
            unset = "" if stamp else ": the camera's driver did not set it, and without stamps nothing can be matched"
            raise FrameRejectedError(
                REPEATED, f"there is an earlier image of the stamp {messages.seconds(stamp)}{unset}"
            )
        self._paired.add(stamp)
        labelled = self._answers.truth_of(stamp, frame_id)
        found = self._answers.detections_of(stamp, frame_id)
        require_bounded(image)
        require_bounded(info)
        note = partial(self._count, self.noted, DARK)
        pixels, calibration = rectified_image(image, info, calibrate, note, half_is_enough)
        if calibration.source not in self.calibrations:
            self.calibrations.append(calibration.source)
        if calibration.doubt and not self._trusted:
            self._count(self.noted, DOUBT, calibration.doubt)
        truth, ids = labelled or (None, None)
        return BagFrame(stamp, frame_id, pixels, calibration.camera, truth, found, ids)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
