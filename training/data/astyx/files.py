"""Astyx HiRes2019's JSON: the calibration of the front camera and the labelled boxes of a frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from add_model.classes import DONT_CARE
from add_model.geometry.boxes import rotation_matrix
from training.data.json_rows import numbers
from training.data.posed_objects import PosedBoxes
from training.data.text_files import read_text
from training.errors import DataSetError

CAMERA = "camera_front"
_CODES = (0, 1, 2)  # of occlusion, which are KITTI's, and of label_certainty
_UNSURE = 2  # the label_certainty of 896 of 3159 labels, 44 m away in the median; some are in plain view
# KITTI's names where they mean the same. Its cars are lower than this: what is higher it calls a van, Astyx a car.
_NAMES = {"Person": "Pedestrian"}
_VAN_HEIGHT = 1.9  # metres
_ROUNDING = 1e-3


def read_camera(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The camera's intrinsics (3, 3) and the transform (4, 4) from the radar's frame, that of labels, to the camera's.

    Raises DataSetError where the file is missing or its numbers are those of no camera.
    """
    with _named(path):
        sensors = {row["sensor_uid"]: row["calib_data"] for row in _content(path, "sensors")}
        K, to_radar = numbers(sensors[CAMERA], "K", (3, 3)), numbers(sensors[CAMERA], "T_to_ref_COS", (4, 4))
        if not (K[0, 0] > 0 and K[1, 1] > 0 and np.array_equal(K[2], [0, 0, 1])):
            raise ValueError("K of camera_front is that of no camera")
        turn = to_radar[:3, :3]
        rigid = np.allclose(turn @ turn.T, np.eye(3), atol=_ROUNDING) and np.linalg.det(turn) > 0
        if not (rigid and np.array_equal(to_radar[3], [0, 0, 0, 1])):
            raise ValueError("T_to_ref_COS of camera_front is no rotation and translation")
        return K, np.linalg.inv(to_radar)


def read_boxes(path: Path) -> tuple[PosedBoxes, np.ndarray]:
    """The boxes in the radar's frame, and KITTI's codes of occlusion (N,).

    What annotators were not sure of is DontCare. Raises DataSetError where the file is missing or a label cannot be.
    """
    with _named(path):
        rows = _content(path, "objects")
        sizes = [numbers(row, "dimension3d", (3,)) for row in rows]
        if any((size <= 0).any() for size in sizes):
            raise ValueError("dimension3d must be above 0")
        names = [_name(row, size[2]) for row, size in zip(rows, sizes, strict=True)]
        boxes = PosedBoxes(
            np.array(names, dtype=str),
            np.array([numbers(row, "center3d", (3,)) for row in rows]).reshape(-1, 3),
            np.array([_rotation(row) for row in rows]).reshape(-1, 3, 3),
            np.array(sizes).reshape(-1, 3),
        )
        return boxes, np.array([_code(row, "occlusion") for row in rows], int)


def _name(row: dict[str, Any], height: float) -> str:
    name = row["classname"]
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"classname {str(name)[:60]!r} is no name")
    if _code(row, "label_certainty") == _UNSURE:
        return DONT_CARE
    return "Van" if name == "Car" and height > _VAN_HEIGHT else _NAMES.get(name, name)


def _rotation(row: dict[str, Any]) -> np.ndarray:
    w, x, y, z = quaternion = numbers(row, "orientation_quat", (4,))
    if abs(np.abs(quaternion).max() - 0.75) > 0.3:  # of a unit quaternion it is 0.5 to 1
        raise ValueError(f"orientation_quat {row['orientation_quat']} is none")
    return rotation_matrix(np.array([x, y, z, w]))


def _code(row: dict[str, Any], key: str) -> int:
    if row[key] not in _CODES:
        raise ValueError(f"{key} is one of {', '.join(map(str, _CODES))}, not {str(row[key])[:60]!r}")
    return int(row[key])


def _content(path: Path, key: str) -> list[dict[str, Any]]:
    rows = json.loads(read_text(path))[key]
    if not isinstance(rows, list):
        raise ValueError(f"{key} is no list")
    return rows


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what is missing or malformed in a file into a DataSetError that names it."""
    try:
        yield
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror}; unpack the data set there") from None
    except KeyError as error:
        raise DataSetError(f"{path}: {str(error)[:100]} is missing; unpack the data set again") from None
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataSetError(f"{path}: not Astyx's JSON ({said}); unpack the data set again") from None
