"""KITTI raw's labels, tracklet_labels.xml: the boxes of a drive in the velodyne frame, with their tracks.

Source: the readme and run_demoTracklets.m of KITTI's raw data development kit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.kitti.calib import KittiCalib
from training.data.kitti.labels import LabelError
from training.data.sample import UNKNOWN, Objects

TRACKLETS = "tracklet_labels.xml"
_IN_IMAGE, _TRUNCATED = 0, 1  # the other states are outside of the image, behind it, and not set
_VISIBLE, _FULLY = 0, 2
_NAMES = {"Person (sitting)": "Person_sitting"}  # as label files have it
_POSE = ("tx", "ty", "tz", "rz", "occlusion", "truncation")
_LEAN = ("rx", "ry")  # which KITTI has, as 0


def read_tracklets(path: str | Path, calib: KittiCalib, camera: Camera) -> dict[int, tuple[Objects, np.ndarray]]:
    """Frame number -> (its objects, their track ids (N,)): the number of the tracklet in the file.

    Poses that the file places outside or behind the image are left out. 2D boxes are the projected 3D boxes, clipped to
    the image; truncation is the share outside. There are no DontCare regions, and what is too far away for the
    velodyne is not labelled. Raises LabelError naming file and tracklet, CalibrationError without a velodyne.
    """
    transform = calib.velodyne_transform
    rows: dict[int, list[tuple[str, int, int, np.ndarray]]] = {}
    for track, (name, sizes, first, poses) in enumerate(tracklet_items(path)):
        for offset, pose in enumerate(_poses(poses, f"{path}, tracklet {track}")):
            if pose["truncation"] in (_IN_IMAGE, _TRUNCATED):
                values = np.r_[[pose[key] for key in ("tx", "ty", "tz", "rz")], sizes]
                rows.setdefault(first + offset, []).append(
                    (_NAMES.get(name, name), track, occlusion_code(pose["occlusion"]), values)
                )
    return {frame: _objects(found, transform, camera) for frame, found in rows.items()}


def _objects(
    rows: list[tuple[str, int, int, np.ndarray]], transform: np.ndarray, camera: Camera
) -> tuple[Objects, np.ndarray]:
    names, tracks, occluded, values = map(np.array, zip(*rows, strict=True))
    heading = np.c_[np.cos(values[:, 3]), np.sin(values[:, 3]), np.zeros(len(rows))] @ transform[:, :3].T
    location = values[:, :3] @ transform[:, :3].T + transform[:, 3]
    boxes = box3d.from_kitti(location, values[:, 4:7], box3d.heading_of(heading))
    boxes2d, share = box3d.visible_part(box3d.project_boxes(boxes, camera), camera)
    seen = np.isfinite(boxes2d).all(axis=1)
    return Objects(names, boxes, boxes2d, 1 - np.nan_to_num(share, nan=1.0), occluded)[seen], tracks[seen]


def tracklet_items(path: str | Path) -> Iterator[tuple[str, np.ndarray, int, list[ElementTree.Element]]]:
    """(objectType, h w l (3,), first frame, poses) of each tracklet of a file. Raises LabelError."""
    for track, item in enumerate(_root(path).findall("item")):
        where = f"{path}, tracklet {track}"
        name = (item.findtext("objectType") or "").strip()
        if not name:
            raise LabelError(f"{where}: no objectType")
        size, poses = _numbers(item, ("h", "w", "l", "first_frame"), where), item.find("poses")
        yield name, size[:3], int(size[3]), [] if poses is None else poses.findall("item")


def occlusion_code(state: float) -> int:
    """A label file's code for the occlusion of a pose, unknown where it is not set."""
    return int(state) if _VISIBLE <= state <= _FULLY else UNKNOWN


def pose_rows(poses: list[ElementTree.Element], where: str) -> Iterator[tuple[float, ...] | None]:
    """tx, ty, tz, rx, ry, rz and the occlusion's code of each pose; None outside of the image. Raises LabelError."""
    for pose in _poses(poses, where):
        seen = pose["truncation"] in (_IN_IMAGE, _TRUNCATED)
        yield tuple(pose[key] for key in ("tx", "ty", "tz", "rx", "ry", "rz", "occlusion")) if seen else None


def _poses(poses: list[ElementTree.Element], where: str) -> Iterator[dict[str, float]]:
    for offset, pose in enumerate(poses):
        there = [name for name in _LEAN if pose.find(name) is not None]
        names = (*_POSE, *there)
        values = _numbers(pose, names, f"{where}, pose {offset}").tolist()
        yield dict.fromkeys(_LEAN, 0.0) | dict(zip(names, values, strict=True))


def _root(path: str | Path) -> ElementTree.Element:
    try:
        found = ElementTree.parse(path).getroot().find("tracklets")
    except (ElementTree.ParseError, LookupError) as error:
        raise LabelError(f"{path}: not XML: {error}") from None
    if found is None:
        raise LabelError(f"{path}: no element 'tracklets'; is this KITTI raw's {TRACKLETS}?")
    return found


def _numbers(element: ElementTree.Element, names: tuple[str, ...], where: str) -> np.ndarray:
    values = []
    for name in names:
        text = element.findtext(name)
        try:
            values.append(float(text or ""))
        except ValueError:
            raise LabelError(f"{where}: '{name}' must be a number, got {text!r}") from None
    if not np.isfinite(values).all():
        raise LabelError(f"{where}: {', '.join(names)} must be finite, got {values}")
    return np.array(values)
