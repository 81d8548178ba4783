"""Detections that a node published, read from a bag of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from add_model.detections import Detections
from add_ros.bags import messages, types
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, read
from add_ros.bags.topics import TopicNames, find_detections


@dataclass(frozen=True, eq=False)
class Recorded:
    """Recorded detections.

    of:    stamp in nanoseconds -> (frame that the boxes are in, detections, best first; boxes2d is NaN)
    notes: what is odd or wrong about their bag; all that could be read is there nevertheless
    """

    of: dict[int, tuple[str, Detections]]
    notes: list[str] = field(default_factory=list)


def read_detections(path: Path, names: TopicNames | None = None) -> Recorded:
    """The detections of a bag. Of several messages with one stamp the first counts.

    Args:
        path: the bag.
        names: of which that of the detections counts; None takes the only one that is no ground truth.

    Raises:
        BagError: where there is no such topic or several, or where nothing can be read.
    """
    store = types.typestore()
    with open_bag(path) as reader:
        try:
            chosen = find_detections(list(reader.connections), names or TopicNames(), store)
        except BagError as error:
            raise BagError("; ".join([f"{path}: {error}", *reader.notes])) from error
    found: dict[int, tuple[str, Detections]] = {}
    notes, repeated = [], 0
    try:
        for _, _, message in read(path, store, {chosen}):
            stamp = messages.stamp_of(message)
            repeated += stamp in found
            found.setdefault(stamp, (message.header.frame_id, messages.detections_of(message)))
    except BagError as error:
        if not found:
            raise
        notes.append(f"detections are known up to a break only: {error}")
    if repeated:
        notes.append(f"{path}: {repeated} messages of detections repeat a stamp; of each stamp the first counts")
    return Recorded(found, notes)
