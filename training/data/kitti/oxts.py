"""Where KITTI's vehicle was: GPS/IMU records (OXTS) of tracking sequences and raw drives, as poses of the camera.

Source: dataformat.txt and convertOxtsToPose.m of KITTI's raw data development kit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from training.data.kitti.calib import KittiCalib
from training.data.text_files import read_text

_EARTH = 6378137.0  # metres, radius
_FIELDS = 6  # latitude, longitude (degrees), altitude (metres), roll, pitch, yaw (radians); more follow


class OxtsError(ValueError):
    """Records that cannot be read; the message names file and line."""


def camera_poses(calib: KittiCalib, folder: Path, images: list[Path]) -> np.ndarray | None:
    """(N, 4, 4) metres: at each image, from the frame of P2 to one that is fixed to the ground, z up.

    Args:
        calib: of the drive.
        folder: oxts, with data/FRAME.txt for each frame (raw) or SEQUENCE.txt (tracking), as `read_oxts` takes them.
        images: named by frame number; the folder they are in names the tracking sequence.

    Returns:
        The poses, or None where there are no records of all images, or no calibration from GPS/IMU to camera.

    Raises:
        OxtsError: where a record is broken.
    """
    if calib.Tr_imu_to_velo is None or calib.Tr_velo_to_cam is None:
        return None
    whole = folder / f"{images[0].parent.name}.txt"
    if whole.is_file():
        records = _records(whole)
        numbers = [int(image.stem) for image in images]
        if max(numbers) >= len(records):
            return None
        records = records[numbers]
    else:
        files = [folder / "data" / f"{image.stem}.txt" for image in images]
        if not all(file.is_file() for file in files):
            return None
        records = np.concatenate([_records(file)[:1] for file in files])
    to_camera = calib.velodyne_transform @ _square(calib.Tr_imu_to_velo)
    return vehicle_poses(records) @ np.linalg.inv(_square(to_camera))


def vehicle_poses(records: np.ndarray) -> np.ndarray:
    """(N, 4, 4) metres from the vehicle's frame (x forward, y left, z up) to east, north and up of its first place.

    Args:
        records: (N, 6) latitude, longitude, altitude, roll, pitch, yaw; yaw 0 is east.

    Returns:
        The poses.
    """
    latitude, longitude = np.radians(records[:, 0]), np.radians(records[:, 1])
    scale = np.cos(latitude[:1]) * _EARTH  # Mercator's, at the first record
    east, north = scale * longitude, scale * np.log(np.tan(np.pi / 4 + latitude / 2))
    poses = np.tile(np.eye(4), (len(records), 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("ZYX", records[:, [5, 4, 3]]).as_matrix()
    place = np.stack([east, north, records[:, 2]], axis=1)
    poses[:, :3, 3] = place - place[:1]
    return poses


def _records(path: Path) -> np.ndarray:
    rows = []
    for number, line in enumerate(_lines(path), 1):
        try:
            row = [float(text) for text in line.split()[:_FIELDS]]
        except ValueError:
            row = []
        if len(row) < _FIELDS or not np.isfinite(row).all() or abs(row[0]) >= 90:
            raise OxtsError(
                f"{path}, line {number}: a record starts with latitude, longitude, altitude, roll, pitch and yaw, "
                f"got {line[:60]!r}"
            )
        rows.append(row)
    if not rows:
        raise OxtsError(f"{path}: no record in it")
    return np.array(rows)


def _lines(path: Path) -> Iterable[str]:
    return read_text(path).rstrip().splitlines()


def _square(transform: np.ndarray) -> np.ndarray:
    return np.vstack([transform, [0, 0, 0, 1]])
