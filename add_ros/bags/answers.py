"""What a bag says of its images: ground truth and detections, by the stamp of their image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from add_model.detections import Detections
from add_ros.bags import ground_truth, messages
from add_ros.bags.topics import Topics
from add_ros.errors import FrameRejectedError
from training.data.sample import Objects

NO_TRUTH = "no ground truth of this stamp"
DROPPED = "a ground-truth box was dropped,"
ANSWERED = "detections of a stamp that had some before, of which the first count"

Truth = tuple[Objects, np.ndarray]  # with the ids (N,) in the message


class Answers:
    """All ground truth and detections of a bag: they may be recorded long after their image.

    Args:
        topics: those of the bag.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._truths: dict[int, tuple[str, Truth] | FrameRejectedError] = {}
        self._found: dict[int, tuple[str, Detections]] = {}

    def read(self, recorded: Iterable[tuple[str, Any]], note: Callable[..., None]) -> None:
        """Take all that was recorded.

        Args:
            recorded: (topic, message), of the topics that answer alone.
            note: called with what is unusual and, where there is one, a sentence on it.
        """
        halves: dict[int, dict[str, Any]] = {}
        for topic, message in recorded:
            stamp = messages.stamp_of(message)
            if topic == self._topics.detections:
                if stamp in self._found:
                    note(ANSWERED)
                else:
                    self._found[stamp] = message.header.frame_id, messages.detections_of(message)
                continue
            halves.setdefault(stamp, {})[topic] = message
            if self._topics.ground_truth_2d is None or len(halves[stamp]) == 2:
                self._add_truth(stamp, halves.pop(stamp), note)
        for stamp, half in halves.items():
            self._add_truth(stamp, half, note)

    def truths(self) -> dict[int, Objects]:
        """The ground truth that can be used, by stamp."""
        answers = self._truths.items()
        return {stamp: answer[1][0] for stamp, answer in answers if not isinstance(answer, FrameRejectedError)}

    def without_image(self, stamps: set[int]) -> int:
        """How many stamps that have ground truth are not among these."""
        return len(self._truths.keys() - stamps)

    def truth_of(self, stamp: int, frame_id: str) -> Truth | None:
        """The labels of an image; None where the bag has no topic of them. Raises FrameRejectedError."""
        topic = self._topics.ground_truth
        labelled = self._answer(self._truths, stamp, frame_id, topic)
        if labelled is None and topic:
            raise FrameRejectedError(NO_TRUTH, f"{topic} has no message of the stamp {messages.seconds(stamp)}")
        return labelled

    def detections_of(self, stamp: int, frame_id: str) -> Detections | None:
        """The recorded detections of an image; None where there are none. Raises FrameRejectedError."""
        return self._answer(self._found, stamp, frame_id, self._topics.detections)

    def _add_truth(self, stamp: int, half: dict[str, Any], note: Callable[..., None]) -> None:
        solid, flat = half.get(self._topics.ground_truth), half.get(self._topics.ground_truth_2d)
        if solid is None:
            return  # only a 2D message: the frame has no ground truth of this stamp
        if stamp in self._truths:
            return
        try:
            self._truths[stamp] = solid.header.frame_id, ground_truth.decode_with_ids(solid, flat)
        except ground_truth.GroundTruthError as error:
            self._truths[stamp] = FrameRejectedError("malformed ground truth", str(error))
            return
        for kind, sentence in ground_truth.faults(solid):
            note(f"{DROPPED} {kind}", sentence)

    def _answer(self, answers: dict[int, Any], stamp: int, frame_id: str, topic: str | None) -> Any:
        answer = answers.get(stamp)
        if isinstance(answer, FrameRejectedError):
            raise answer
        if answer is None:
            return None
        if not messages.same_frame(answer[0], frame_id):
            raise FrameRejectedError(
                "boxes in another frame",
                f"{topic} is in the frame '{answer[0]}', its image in '{frame_id}': boxes in the image's own optical "
                "frame are needed",
            )
        return answer[1]
