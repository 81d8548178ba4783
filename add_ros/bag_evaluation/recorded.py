"""Detections that a node published, read from a bag of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from add_model.detection import Detections
from add_ros.bags import messages, types
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, read


def read_detections(path: Path, topic: str | None = None) -> dict[int, Detections]:
    """Stamp in nanoseconds -> detections, best first; boxes2d is NaN, messages do not carry it.

    topic: the Detection3DArray to read, None for the only one that is no ground truth. Raises BagError where there is
    none or several, or where the bag is broken. Of several messages with one stamp the first counts.
    """
    with open_bag(path) as reader:
        there = sorted({c.topic for c in reader.connections if c.msgtype == types.DETECTIONS})
    chosen = [t for t in there if "truth" not in t.rsplit("/", 1)[-1]] if topic is None else [topic]
    if len(chosen) != 1 or chosen[0] not in there:
        listed = ", ".join(there) or "none"
        raise BagError(
            f"{path}: one topic of {types.DETECTIONS} is needed for the detections, it has {listed}"
            f"{'; choose with --detections-topic' if len(chosen) > 1 else ''}"
        )
    found: dict[int, Detections] = {}
    for _, _, message in read(path, types.typestore(), set(chosen)):
        names, scores, boxes = messages.boxes_of(message)
        unknown = np.full(len(names), np.nan)
        detections = Detections(names, scores, boxes, np.full((len(names), 4), np.nan), unknown)
        found.setdefault(messages.stamp_of(message), detections[np.argsort(-scores, kind="stable")])
    return found
