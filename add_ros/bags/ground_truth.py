"""Labelled objects to messages in bags, and back: `encode` and `decode` are inverse, pure functions.

Two topics of the same stamp have what KITTI's benchmark needs. Detection3DArray has the objects that have a 3D box, in
the camera's own optical frame. Detection2DArray has every label in the order of the label file, DontCare regions too;
the 3D box of an object has the same id. Each 2D entry carries two more hypotheses, of score 0 since they are no
classes, with their value in the class_id: 'truncated=0.25' and 'occluded=1'. KITTI's alpha is not stored: it follows
from the 3D box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from add_model.classes import DONT_CARE
from add_ros.bags import messages
from training.data.sample import NOT_GIVEN, Objects

_TRUNCATED, _OCCLUDED = "truncated=", "occluded="
_DECIMALS = 9  # of pixels


class GroundTruthError(ValueError):
    """Ground-truth messages that are inconsistent; the error says how."""


def encode(types: Typestore, objects: Objects, ids: list[str], stamp: int, frame_id: str) -> tuple[Any, Any]:
    """Objects -> (Detection3DArray, Detection2DArray) of one stamp.

    Args:
        types: has the message classes.
        objects: in the camera's own frame.
        ids: one for each object, unique in the frame; the same id in other frames is the same object.
        stamp: nanoseconds.
        frame_id: of the camera.
    """
    solid = np.isfinite(objects.boxes).all(axis=1)
    marked = [identity for identity, has_box in zip(ids, solid, strict=True) if has_box]
    ones = np.ones(len(objects))
    truth = messages.detections(
        types, objects.names[solid], ones[solid], objects.boxes[solid], stamp, frame_id, ids=marked
    )
    return truth, _rectangles(types, objects, ids, stamp, frame_id)


def decode(truth: Any, rectangles: Any | None = None) -> Objects:
    """Messages, of a bag or of rclpy, -> Objects in the frame of the 3D boxes.

    Args:
        truth: Detection3DArray.
        rectangles: Detection2DArray of the same stamp.

    Returns:
        Objects as `decode_with_ids` gives them.

    Raises:
        GroundTruthError: as it does.
    """
    return decode_with_ids(truth, rectangles)[0]


def decode_with_ids(truth: Any, rectangles: Any | None = None) -> tuple[Objects, np.ndarray]:
    """Messages, of a bag or of rclpy, -> Objects in the frame of the 3D boxes, and the id (N,) of each.

    Args:
        truth: Detection3DArray.
        rectangles: Detection2DArray of the same stamp.

    Returns:
        Objects in the order of the 2D entries, then those that have a 3D box only. What the messages don't give is NaN
        in boxes and boxes2d, and -1 in truncated and occluded. A 3D box that has no size, no orientation, or leans (see
        `faults`) is left out: NaN where the object has a 2D entry, else the object is.

    Raises:
        GroundTruthError: where an id is not unique among the 2D entries or among the 3D ones, where none of the 3D
            boxes can be used, and where none of the 2D entries, but for DontCare, belongs to one of them.
    """
    names, _, boxes = messages.boxes_of(truth)
    usable = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    if len(boxes) and not len(usable):
        raise GroundTruthError(faults(truth)[0][1])
    entries = [] if rectangles is None else rectangles.detections
    row_of = _rows([detection.id for detection in truth.detections], "ground-truth boxes")
    _rows([entry.id for entry in entries if entry.id in row_of], "2D ground-truth boxes")
    common = [row_of[entry.id] for entry in entries if entry.id in row_of]
    if len(usable) and not common and any(_flat(entry)[0] != DONT_CARE for entry in entries):
        raise GroundTruthError(
            "none of the 2D ground-truth boxes has the id of a 3D one: an object has the same id in both messages"
        )
    alone = np.setdiff1d(usable, common)
    order = [row_of.get(entry.id) for entry in entries] + alone.tolist()
    flat = [_flat(entry) for entry in entries]
    ids = [entry.id for entry in entries] + [truth.detections[row].id for row in alone]
    objects = Objects(
        names=np.array([flat[i][0] if i < len(flat) else names[row] for i, row in enumerate(order)], dtype=str),
        boxes=np.array([np.full(7, np.nan) if row is None else boxes[row] for row in order]).reshape(-1, 7),
        boxes2d=np.array([values[1] for values in flat] + [np.full(4, np.nan)] * len(alone)).reshape(-1, 4),
        truncated=np.array([values[2] for values in flat] + [NOT_GIVEN] * len(alone), dtype=float),
        occluded=np.array([values[3] for values in flat] + [NOT_GIVEN] * len(alone), dtype=int),
    )
    return objects, np.array(ids, dtype=str)


def faults(truth: Any) -> list[tuple[str, str]]:
    """The 3D boxes of a Detection3DArray that are none: the kind of each fault, and a sentence on it."""
    marked = enumerate(map(messages.box_fault, truth.detections), 1)
    return [
        (fault[0], f"ground-truth box {number} of {len(truth.detections)} {fault[1]}")
        for number, fault in marked
        if fault
    ]


def _rectangles(types: Typestore, objects: Objects, ids: list[str], stamp: int, frame_id: str) -> Any:
    make = types.types
    head, nowhere = messages.header(types, stamp, frame_id), messages.empty_pose(types)

    def hypothesis(class_id: str, score: float) -> Any:
        return make["vision_msgs/msg/ObjectHypothesisWithPose"](
            make["vision_msgs/msg/ObjectHypothesis"](class_id, score), nowhere
        )

    entries = []
    rows = zip(objects.names, objects.boxes2d, objects.truncated, objects.occluded, ids, strict=True)
    for name, (left, top, right, bottom), truncated, occluded, identity in rows:
        middle = make["vision_msgs/msg/Point2D"](float(left + right) / 2, float(top + bottom) / 2)
        extent = make["vision_msgs/msg/BoundingBox2D"](
            make["vision_msgs/msg/Pose2D"](middle, 0.0), float(right - left), float(bottom - top)
        )
        results = [
            hypothesis(str(name), 1.0),
            hypothesis(f"{_TRUNCATED}{float(truncated)!r}", 0.0),
            hypothesis(f"{_OCCLUDED}{int(occluded)}", 0.0),
        ]
        entries.append(make["vision_msgs/msg/Detection2D"](head, results, extent, identity))
    return make["vision_msgs/msg/Detection2DArray"](head, entries)


def _flat(entry: Any) -> tuple[str, np.ndarray, float, int]:
    """(name, left top right bottom, truncated, occluded) of a Detection2D."""
    texts = [result.hypothesis.class_id for result in entry.results]
    classes = [result.hypothesis for result in entry.results if not _is_note(result.hypothesis.class_id)]
    best = max(classes, key=lambda hypothesis: hypothesis.score, default=None)
    middle = np.array([entry.bbox.center.position.x, entry.bbox.center.position.y])
    half = np.array([entry.bbox.size_x, entry.bbox.size_y]) / 2
    # Labels are decimal numbers. Rounding restores them exactly, so that the benchmark ignores an object of exactly 25
    # pixels as it does in the label file.
    rectangle = np.round(np.concatenate([middle - half, middle + half]), _DECIMALS)
    truncated, occluded = _note(texts, _TRUNCATED, entry.id), _note(texts, _OCCLUDED, entry.id)
    return best.class_id if best else "", rectangle, truncated, int(occluded)


def _is_note(class_id: str) -> bool:
    return class_id.startswith((_TRUNCATED, _OCCLUDED))


def _note(texts: list[str], key: str, identity: str) -> float:
    text = next((text.removeprefix(key) for text in texts if text.startswith(key)), None)
    if text is None:
        return NOT_GIVEN
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise GroundTruthError(f"2D ground-truth box '{identity}': '{key}{text}' does not end in a number")
    return value


def _rows(ids: list[str], what: str) -> dict[str, int]:
    """Id -> row; objects without an id can't be looked up, and are left out."""
    row_of: dict[str, int] = {}
    for row, identity in enumerate(ids):
        if identity in row_of:
            raise GroundTruthError(f"two {what} of one frame have the id '{identity}'")
        if identity:
            row_of[identity] = row
    return row_of
