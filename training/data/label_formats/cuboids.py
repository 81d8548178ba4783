"""Boxes as labelling tools have them: in a frame whose z axis points up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from add_model.classes import DONT_CARE
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.sample import NOT_GIVEN, Objects

_SAME = 1.0  # metres between the centres of an object before and after it is corrected


class LabelFormatError(ValueError):
    """A label file of a tool that cannot be used; the message names file and object."""


@dataclass(frozen=True, eq=False)
class Cuboids:
    """N labelled boxes of one frame.

    names:    (N,) classes
    boxes:    (N, 7) x, y, z of the centre, length, width, height in metres, yaw in radians: x is forward at yaw 0, and
              yaw turns counter-clockwise seen from above
    occluded: (N,) KITTI's codes, -1 not given
    scores:   (N,) of pre-labels, NaN for labels
    """

    names: np.ndarray
    boxes: np.ndarray
    occluded: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, rows: list[tuple[str, list[float]]], occluded: list[int] | None = None, scores=None) -> Cuboids:
        """Cuboids of (name, box) rows; occlusion and scores default to not given."""
        count = len(rows)
        return cls(
            np.array([name for name, _ in rows], dtype=str),
            np.array([box for _, box in rows], dtype=float).reshape(-1, 7),
            np.full(count, NOT_GIVEN) if occluded is None else np.array(occluded, dtype=int),
            np.full(count, np.nan) if scores is None else np.array(scores, dtype=float),
        )


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame as a labelling tool gets it.

    cuboids: in the tool's frame
    camera:  of the image, with points in its own frame
    image:   the image's file, relative to the data set's folder
    objects: the same boxes in the camera's own frame, for formats of cameras
    """

    cuboids: Cuboids
    camera: Camera
    image: str
    objects: Objects


Frames = Mapping[str, LabelledFrame]


@dataclass
class ReadLabels:
    """What a tool's files hold by frame: `cuboids`, or `objects` in a camera's frame, with scores if there are any."""

    cuboids: dict[str, Cuboids] = field(default_factory=dict)
    objects: dict[str, Objects] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)


def one_word(name: str) -> str:
    """A class name as label files have it, where spaces end a field."""
    return "_".join(name.split())


def require_new(name: str, source: str, taken: dict[str, str], where: str) -> None:
    """Note that a frame's labels come from a source. Raises LabelFormatError where another one has given them."""
    if name in taken:
        raise LabelFormatError(
            f"{where}: {taken[name]} and {source} both have labels of a frame {name}: export one drive at a time"
        )
    taken[name] = source


def upright(where: str, rotation: tuple[float, float, float]) -> float:
    """The yaw of rotations about x, y and z, radians. Raises LabelFormatError where the box does not stand upright."""
    about_x, about_y, yaw = rotation
    lean = np.degrees(max(abs(box3d.wrap(about_x)), abs(box3d.wrap(about_y))))
    if not np.isfinite(rotation).all() or lean > box3d.MOST_LEAN:
        raise LabelFormatError(
            f"{where}: the box is tilted by {lean:.0f} degrees: only upright ones can be learnt. Does it "
            "lie on its side, or are the axes those of another frame?"
        )
    return float(yaw)


def to_cuboids(objects: Objects, to_camera: np.ndarray, scores: np.ndarray | None = None) -> Cuboids:
    """Objects in a camera's frame -> cuboids. Those without a 3D box (DontCare) are left out.

    Args:
        objects: in the frame that `to_camera` leads to.
        to_camera: (3, 4) metres, points of the tool's frame to the camera's.
        scores: (N,) of the objects, None for labels.
    """
    solid = np.isfinite(objects.boxes).all(axis=1)
    boxes = objects.boxes[solid]
    turn, shift = to_camera[:, :3], to_camera[:, 3]
    cuboids = np.empty_like(boxes)
    cuboids[:, :3] = (boxes[:, :3] - shift) @ np.linalg.inv(turn).T
    cuboids[:, 3:6] = boxes[:, 3:6]
    # The exact inverse of what `to_objects` does, where the two frames are not level with each other, too.
    heading = np.linalg.inv(turn[[0, 2]][:, :2]) @ np.array([np.cos(boxes[:, 6]), -np.sin(boxes[:, 6])])
    cuboids[:, 6] = np.arctan2(heading[1], heading[0])
    known = np.full(len(objects), np.nan) if scores is None else scores
    return Cuboids(objects.names[solid], cuboids, objects.occluded[solid], known[solid])


def to_objects(cuboids: Cuboids, to_camera: np.ndarray, camera: Camera) -> Objects:
    """Cuboids -> objects that the image shows: 2D boxes are those of the projected boxes, clipped to the image.

    Args:
        cuboids: in the tool's frame.
        to_camera: (3, 4) metres, points of the tool's frame to the frame of the camera's P.
        camera: that of the image.
    """
    turn, shift = to_camera[:, :3], to_camera[:, 3]
    boxes = np.empty_like(cuboids.boxes)
    boxes[:, :3] = cuboids.boxes[:, :3] @ turn.T + shift
    boxes[:, 3:6] = cuboids.boxes[:, 3:6]
    yaw = cuboids.boxes[:, 6]
    boxes[:, 6] = box3d.heading_of(np.c_[np.cos(yaw), np.sin(yaw)] @ turn[:, :2].T)
    return in_image(cuboids.names, boxes, cuboids.occluded, camera)[0]


def in_image(names: np.ndarray, boxes: np.ndarray, occluded: np.ndarray, camera: Camera) -> tuple[Objects, np.ndarray]:
    """Objects of boxes (N, 7) in the frame of the camera's P that the image shows, and which (N,) bool these are."""
    inside, share = box3d.visible_part(box3d.project_boxes(boxes, camera), camera)
    shown = share > 0
    return Objects(names, boxes, inside, 1 - share, occluded)[shown], shown


def with_dont_care(objects: Objects, others: Objects) -> Objects:
    """The objects, and the DontCare regions of others behind them."""
    regions = others[np.char.lower(others.names) == DONT_CARE.lower()] if len(others) else others
    fields = ("names", "boxes", "boxes2d", "truncated", "occluded")
    return Objects(*(np.concatenate([getattr(objects, name), getattr(regions, name)]) for name in fields))


def with_codes(objects: Objects, others: Objects) -> Objects:
    """The objects; those without an occlusion code have that of the nearest other of their class within a metre."""
    codes = objects.occluded.copy()
    lower = np.char.lower(others.names) if len(others) else others.names
    for index in np.flatnonzero(codes == NOT_GIVEN):
        gaps = np.linalg.norm(others.boxes[:, :3] - objects.boxes[index, :3], axis=1)
        gaps[(lower != str(objects.names[index]).lower()) | ~(gaps <= _SAME)] = np.inf
        if np.isfinite(gaps).any():
            codes[index] = others.occluded[gaps.argmin()]
    return replace(objects, occluded=codes)
