"""Boxes in messages -> labelled objects in the camera's frame."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.geometry.level import LevelView
from add_ros.bags import messages
from add_ros.bags.answers import DROPPED
from add_ros.bags.ground_truth import GroundTruthError, decode, faults
from add_ros.errors import FrameRejectedError
from training.data.label_formats.cuboids import one_word
from training.data.sample import NOT_GIVEN, Objects

_CUBE, _ADD = 1, 0  # Marker's type and action

Lookup = Callable[[str], np.ndarray]  # a frame -> (4, 4), its points to the camera's frame
MatrixFrom = Callable[[str], "np.ndarray | None"]
Note = Callable[[str, str], None]  # a reason, and a sentence


def is_box(marker: Any) -> bool:
    """Whether a Marker is a cube that is shown: others are texts, arrows, or take something away."""
    return marker.type == _CUBE and marker.action == _ADD


def objects_of(
    message: Any,
    rectangles: Any | None,
    camera: Camera,
    lookup: Lookup,
    note: Note,
    view: LevelView | None = None,
) -> Objects:
    """The labelled objects of one frame.

    Args:
        message: Detection3DArray, or MarkerArray whose cubes are boxes: the class is the marker's text, else its
            namespace.
        rectangles: Detection2DArray that belongs to a Detection3DArray (see add_ros/bags/ground_truth.py), or None.
        camera: with points in its own frame; where there is a view, that one's.
        lookup: from the frame of the labels, at their stamp, to the camera's at the image's.
        note: called for each box that is left out since it is none.
        view: that the camera's image is turned to, or None.

    Returns:
        Objects in the frame of `camera`. Where no 2D box is given it is that of the projected box, and truncation the
        share of it outside the image; occlusion is -1, not given. Boxes that the image does not show are left out.

    Raises:
        FrameRejectedError: where the boxes are malformed, or in a frame that tf does not connect.
    """

    def matrix_from(frame: str) -> np.ndarray | None:
        """(4, 4) to the camera's frame, None where the boxes are in it."""
        matrix = lookup(frame)
        if view is not None:
            return view.matrix @ matrix
        return None if np.array_equal(matrix, np.eye(4)) else matrix

    try:
        if hasattr(message, "markers"):
            found = _of_markers(message, matrix_from)
        else:
            found = _of_detections(message, rectangles, matrix_from, note)
    except GroundTruthError as error:
        raise FrameRejectedError("malformed labels", str(error)) from error
    if view is not None:
        found = replace(found, boxes2d=_seen_level(found, view))
    return _in_view(found, camera)


def _seen_level(found: Objects, view: LevelView) -> np.ndarray:
    """2D boxes in the level image: those of boxes are projected anew, the others (DontCare) enclose their corners."""
    left, top, right, bottom = found.boxes2d.T
    corners = np.stack([(left, top), (right, top), (left, bottom), (right, bottom)], axis=0).transpose(2, 0, 1)
    seen = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2) @ view.homography.T
    seen = seen[..., :2] / seen[..., 2:]
    boxes2d = np.concatenate([seen.min(axis=1), seen.max(axis=1)], axis=1)
    boxes2d[np.isfinite(found.boxes).all(axis=1)] = np.nan
    return boxes2d


def _of_detections(message: Any, rectangles: Any | None, matrix_from: MatrixFrom, note: Note) -> Objects:
    matrix = matrix_from(message.header.frame_id)
    if matrix is not None:
        message = copy.deepcopy(message)  # other cameras are given it, too
        for found in message.detections:
            for pose in (found.bbox.center, *(result.pose.pose for result in found.results)):
                if any((pose.position.x, pose.position.y, pose.position.z)):  # else it is not filled in
                    _turn(pose, matrix)
    for kind, sentence in faults(message):
        note(f"{DROPPED} {kind}", sentence)
    objects = decode(message, rectangles)
    names = [_one_word(str(name), f"box {number}", "class_id") for number, name in enumerate(objects.names, 1)]
    return replace(objects, names=np.array(names, dtype=str))


def _one_word(name: str, what: str, missing: str) -> str:
    """The name of a class as label files can have it."""
    word = one_word(name)
    if not word:
        raise FrameRejectedError("malformed labels", f"{what} has no {missing} that could name its class")
    return word


def _turn(pose: Any, matrix: np.ndarray) -> None:
    """Move a pose into another frame; one without a rotation stays so."""
    p, q = pose.position, pose.orientation
    position, turn = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    if np.linalg.norm(turn) < 1e-6 or not np.isfinite(turn).all():
        return
    p.x, p.y, p.z = map(float, matrix[:3, :3] @ position + matrix[:3, 3])
    rotation = Rotation.from_matrix(matrix[:3, :3]) * Rotation.from_quat(turn)
    q.x, q.y, q.z, q.w = map(float, rotation.as_quat())


def _of_markers(message: Any, matrix_from: MatrixFrom) -> Objects:
    names, rows = [], []
    for marker in message.markers:
        if not is_box(marker):
            continue
        name = _one_word(marker.text or marker.ns, f"marker {marker.id}", "text or namespace")
        matrix, pose = matrix_from(marker.header.frame_id), marker.pose
        if matrix is not None:
            pose = copy.deepcopy(pose)
            _turn(pose, matrix)
        box, fault = messages.box_of(pose, marker.scale)
        if fault:
            raise FrameRejectedError("malformed labels", f"marker {marker.id} ({name}) {fault[1]}")
        names.append(name)
        rows.append(box)
    count = len(rows)
    boxes = np.array(rows, dtype=float).reshape(-1, 7)
    nothing = np.full(count, NOT_GIVEN)
    return Objects(np.array(names, dtype=str), boxes, np.full((count, 4), np.nan), nothing.astype(float), nothing)


def _in_view(found: Objects, camera: Camera) -> Objects:
    """With 2D boxes and truncation where there are none, without what the image does not show."""
    open_ = np.isnan(found.boxes2d).any(axis=1)
    if not open_.any():
        return found
    inside, share = box3d.visible_part(box3d.project_boxes(found.boxes, camera), camera)
    boxes2d = np.where(open_[:, None], inside, found.boxes2d)
    derived = (found.truncated == NOT_GIVEN) & ~np.isnan(share)
    truncated = np.where(derived, 1 - share, found.truncated)
    return replace(found, boxes2d=boxes2d, truncated=truncated)[~open_ | (share > 0)]
