"""Labels in a wrong frame, unit or order of sizes, told by the points of the scans."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from training.data.label_formats.cuboids import Cuboids

_LEAST = 5  # boxes with points that a judgement needs
_MORE = 1.15  # times as many points in a box make it fit better
_VOTES = 4  # boxes that fit better by another reading, for each that fits worse
_GROUND = 0.15  # metres above the lowest point of a square metre: what is below may be ground
_EMPTY = 0.5  # share of boxes without points that is no accident
_REACH = 40.0  # metres: what is further away may have no points
_FAR, _LARGE = 1000.0, 60.0  # metres, of positions and sides: nothing is beyond
_TOP = 0.3, 0.7  # of the height, by which points stand above boxes whose z is that of the bottom


def _sizes(*order: int):
    return lambda b: np.c_[b[:, :3], b[:, 3:6][:, list(order)], b[:, 6]]


# What may have been meant instead, in words, as a function of the boxes (N, 7).
_READINGS = {
    "headings in degrees": lambda b: np.c_[b[:, :6], np.radians(b[:, 6])],
    "headings that turn clockwise": lambda b: np.c_[b[:, :6], -b[:, 6]],
    "length and width swapped (headings a quarter turn off)": _sizes(1, 0, 2),
    "boxes on their side: sizes in the order length, height, width": _sizes(0, 2, 1),
    "boxes on their side: sizes in the order height, width, length": _sizes(2, 1, 0),
    "boxes on their side: sizes in the order height, length, width": _sizes(1, 2, 0),
    "boxes on their side: sizes in the order width, height, length": _sizes(2, 0, 1),
    "the frame of the camera (x right, y down, z ahead)": lambda b: np.c_[
        b[:, 2], -b[:, 0], -b[:, 1], b[:, 3:6], -b[:, 6] - np.pi / 2
    ],
    "y to the right": lambda b: np.c_[b[:, 0], -b[:, 1], b[:, 2:6], -b[:, 6]],
    "x to the right and y ahead": lambda b: np.c_[b[:, 1], -b[:, 0], b[:, 2:6], b[:, 6] - np.pi / 2],
    "millimetres": lambda b: np.c_[b[:, :6] / 1000, b[:, 6]],
    "centimetres": lambda b: np.c_[b[:, :6] / 100, b[:, 6]],
}


def faults(frames: Iterable[tuple[Cuboids, np.ndarray]]) -> list[str]:
    """What is wrong with labels as a whole, a sentence each.

    Args:
        frames: cuboids with the points (M, 3) of their scan in the same frame; no points where there is no scan.
    """
    found: list[str] = []
    better, worse = dict.fromkeys(_READINGS, 0), dict.fromkeys(_READINGS, 0)
    empty, near = 0, 0
    rises: list[float] = []
    boxes = []
    for cuboids, points in frames:
        boxes.append(cuboids.boxes)
        if not len(cuboids) or not len(points):
            continue
        points = _above_ground(points)
        counts = _counts(cuboids.boxes, points)
        close = np.linalg.norm(cuboids.boxes[:, :2], axis=1) < _REACH
        near, empty = near + int(close.sum()), empty + int((counts[close] == 0).sum())
        for name, reading in _READINGS.items():
            others = _counts(reading(cuboids.boxes), points)
            better[name] += int((others > _MORE * counts).sum())
            worse[name] += int((counts > _MORE * others).sum())
        rises += _rises(cuboids.boxes, points)
    every = np.concatenate(boxes) if boxes else np.empty((0, 7))
    if len(every) and np.abs(every[:, 6]).max() > 2 * np.pi + 0.1:
        found.append(f"headings up to {np.abs(every[:, 6]).max():.0f}: degrees, where radians are needed?")
    if len(every) and (np.abs(every[:, :3]).max() > _FAR or every[:, 3:6].max() > _LARGE):
        found.append(
            f"positions up to {np.abs(every[:, :3]).max():.0f} m and sides up to {every[:, 3:6].max():.0f} m: "
            "millimetres or centimetres, where metres are needed?"
        )
    best = max(_READINGS, key=lambda name: better[name] - worse[name])
    if better[best] >= max(_LEAST, _VOTES * worse[best]):
        found.append(
            f"{better[best]} boxes fit the scans better (and {worse[best]} worse) if the labels are read with {best}"
        )
    elif near >= _LEAST and empty > _EMPTY * near:
        found.append(
            f"{empty} of {near} boxes within {_REACH:g} m have no points: labels of another frame, of other scans, or "
            "a wrong calibration of the scanner"
        )
    if not found and len(rises) >= _LEAST and _TOP[0] < np.median(rises) < _TOP[1]:
        found.append(
            f"things stand {np.median(rises):.0%} of their height above their boxes (median): is z that of the bottom?"
        )
    return found


def _above_ground(points: np.ndarray) -> np.ndarray:
    """The points (M, 3) that stand above the lowest one of their square metre."""
    _, cell = np.unique(np.floor(points[:, :2]).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    lowest = np.full(cell.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, cell, points[:, 2])
    return points[points[:, 2] > lowest[cell] + _GROUND]


def _local(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    x, y, z = (points - box[:3]).T
    return np.stack([cosine * x + sine * y, cosine * y - sine * x, z], axis=1)


def _counts(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.array([np.count_nonzero((np.abs(_local(b, points)) <= b[3:6] / 2).all(axis=1)) for b in boxes], dtype=int)


def _rises(boxes: np.ndarray, points: np.ndarray) -> list[float]:
    """How far the points above each box's footprint stand above its top, as shares of its height."""
    rises = []
    for box in boxes:
        local = _local(box, points)
        above = (np.abs(local[:, :2]) <= box[3:5] / 2).all(axis=1) & (np.abs(local[:, 2]) <= 1.5 * box[5])
        if np.count_nonzero(above) >= 20:
            rises.append(float(np.percentile(local[above, 2], 98) / box[5] - 0.5))
    return rises
