"""KITTI-360's calibration and poses: text files of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.posed_objects import matrix
from training.data.text_files import read_text
from training.errors import DataSetError

CAMERAS = ("image_00", "image_01")  # the perspective ones; 02 and 03 are fisheyes


@dataclass(frozen=True, eq=False)
class Rig:
    """One perspective camera on the vehicle, rectified.

    K:              (3, 3) pixels
    size:           width and height in pixels
    camera_to_pose: (4, 4) from its rectified optical frame to the vehicle's, whose poses are given
    scan_to_camera: (4, 4) from the velodyne's frame to the rectified optical one
    """

    K: np.ndarray
    size: tuple[int, int]
    camera_to_pose: np.ndarray
    scan_to_camera: np.ndarray


def read_rig(folder: Path, camera: str) -> Rig:
    """Read the calibration of a camera from the files of the folder calibration/.

    Args:
        folder: holds perspective.txt, calib_cam_to_pose.txt and calib_cam_to_velo.txt.
        camera: one of `CAMERAS`.

    Raises:
        DataSetError: Where a file is missing or lacks a line, or there is no such camera.
    """
    if camera not in CAMERAS:
        raise DataSetError(f"camera {camera!r}: the perspective ones of KITTI-360 are {' and '.join(CAMERAS)}")
    number = camera[-2:]
    perspective = _lines(folder / "perspective.txt")
    P = _numbers(folder / "perspective.txt", perspective, f"P_rect_{number}", (3, 4))
    R = matrix(_numbers(folder / "perspective.txt", perspective, f"R_rect_{number}", (3, 3)), np.zeros(3))
    size = _numbers(folder / "perspective.txt", perspective, f"S_rect_{number}", (2,))
    path = folder / "calib_cam_to_pose.txt"
    given = _lines(path)
    raw_to_pose, first_to_pose = (_rigid(path, given, name) for name in (camera, CAMERAS[0]))
    path = folder / "calib_cam_to_velo.txt"
    first_to_scan = _rigid(path, {"": " ".join(_text(path).split())}, "")
    raw_to_scan = first_to_scan @ np.linalg.inv(first_to_pose) @ raw_to_pose
    return Rig(P[:, :3], (int(size[0]), int(size[1])), raw_to_pose @ np.linalg.inv(R), R @ np.linalg.inv(raw_to_scan))


def read_poses(path: Path) -> dict[int, np.ndarray]:
    """Frame -> (4, 4) from the vehicle's frame to the world, of the frames in which it moved; from poses.txt.

    Raises DataSetError where the file is missing or has other lines.
    """
    poses = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            values = np.array(words, float)
            if not np.isfinite(values).all():
                raise ValueError
            poses[int(values[0])] = np.vstack([values[1:].reshape(3, 4), [0, 0, 0, 1]])
        except (ValueError, OverflowError):
            raise DataSetError(
                f"{path}, line {number}: a frame and 12 numbers are needed, found {line[:60]!r}"
            ) from None
    return poses


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror}; download KITTI-360's archive that holds it") from None


def _lines(path: Path) -> dict[str, str]:
    """Key -> what follows its colon."""
    pairs = (line.partition(":") for line in _text(path).splitlines() if ":" in line)
    return {key.strip(): value for key, _, value in pairs}


def _numbers(path: Path, lines: dict[str, str], key: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.array(lines[key].split(), float).reshape(shape)
    except (KeyError, ValueError):
        values = np.array(np.nan)
    if not np.isfinite(values).all():
        what = f"line '{key}: '" if key else "text"
        raise DataSetError(f"{path}: a {what} with {np.prod(shape)} numbers is needed; download the file again")
    return values


def _rigid(path: Path, lines: dict[str, str], key: str) -> np.ndarray:
    return np.vstack([_numbers(path, lines, key, (3, 4)), [0, 0, 0, 1]])
