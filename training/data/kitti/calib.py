"""KITTI calibration files: object, tracking, odometry (`P2: 12 numbers`) and raw (`P_rect_02`) styles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from add_model.atomic_io import write_atomically
from add_model.geometry.camera import Camera
from training.data.text_files import read_text

_P2 = ("P2", "P_rect_02")
_R0_RECT = ("R0_rect", "R_rect", "R_rect_00")
_TR_VELO_TO_CAM = ("Tr_velo_to_cam", "Tr_velo_cam", "Tr")
_TR_IMU_TO_VELO = ("Tr_imu_to_velo", "Tr_imu_velo")


class CalibrationError(ValueError):
    """A calibration file that cannot be used; the message names file, line and key and how to mend it.

    of_camera: whether it is the calibration of a camera nevertheless, of a kind that is not understood here
    """

    def __init__(self, message: str, of_camera: bool = False) -> None:
        super().__init__(message)
        self.of_camera = of_camera


@dataclass(frozen=True, eq=False)
class KittiCalib:
    """The calibration of one KITTI frame.

    P2:             (3, 4) projection of the left colour camera from the rectified camera frame, pixels
    R0_rect:        (3, 3) rotation from camera 0's frame to the rectified frame; identity where the file has none
    Tr_velo_to_cam: (3, 4) velodyne frame to camera 0's frame, metres; None where the file has none
    Tr_imu_to_velo: (3, 4) frame of the GPS/IMU to the velodyne's, metres; None likewise
    """

    P2: np.ndarray
    R0_rect: np.ndarray
    Tr_velo_to_cam: np.ndarray | None = None
    Tr_imu_to_velo: np.ndarray | None = None

    @property
    def velodyne_transform(self) -> np.ndarray:
        """(3, 4) metres: the velodyne frame to the rectified camera frame that P2 projects from.

        Raises CalibrationError where the calibration has no velodyne.
        """
        if self.Tr_velo_to_cam is None:
            raise CalibrationError("the calibration has no 'Tr_velo_to_cam' (12 numbers): velodyne cannot be projected")
        return self.R0_rect @ self.Tr_velo_to_cam

    def velodyne_to_camera(self, points: np.ndarray) -> np.ndarray:
        """Velodyne points (N, 3 or more) -> (N, 3) in the rectified camera frame that P2 projects from, metres.

        Raises CalibrationError where the calibration has no velodyne.
        """
        transform = self.velodyne_transform
        return points[:, :3].astype(np.float64) @ transform[:, :3].T + transform[:, 3]


def read_calib(path: str | Path) -> KittiCalib:
    """Read a calibration file of KITTI's object, tracking, odometry or raw layout.

    A raw `calib_cam_to_cam.txt` is joined by `calib_velo_to_cam.txt` and `calib_imu_to_velo.txt` beside it, where they
    are there.
    Raises CalibrationError; OSError where the file cannot be opened.
    """
    path = Path(path)
    lines = _keyed_lines(path)
    P2 = _matrix(path, lines, _P2, (3, 4))
    if P2 is None:
        found = ", ".join(list(lines)[:12]) or "nothing"
        raise CalibrationError(
            f"{path}: no projection of camera 2: a line 'P2: ' with 12 numbers "
            f"(raw recordings: 'P_rect_02: ') is needed, found {found}"
        )
    try:
        Camera(P2, 1, 1)
    except ValueError as error:
        raise CalibrationError(f"{path}: 'P2': {error}") from None
    R0_rect = _matrix(path, lines, _R0_RECT, (3, 3))
    Tr_velo_to_cam = _transform(path, lines, _TR_VELO_TO_CAM, "calib_velo_to_cam.txt")
    Tr_imu_to_velo = _transform(path, lines, _TR_IMU_TO_VELO, "calib_imu_to_velo.txt")
    return KittiCalib(P2, np.eye(3) if R0_rect is None else R0_rect, Tr_velo_to_cam, Tr_imu_to_velo)


def write_calib(path: str | Path, P2: np.ndarray, Tr_velo_to_cam: np.ndarray | None = None) -> None:
    """Write a calibration file of `calib_text`."""
    write_atomically(Path(path), calib_text(P2, Tr_velo_to_cam))


def calib_text(P2: np.ndarray, Tr_velo_to_cam: np.ndarray | None = None) -> str:
    """P2 (3, 4) and, where there is one, the velodyne's transform (3, 4), object-style and exact in float64.

    P0, P1 and P3 are given P2's values, R0_rect the identity, so that every KITTI reader accepts the file.
    """
    lines = [f"P{i}: {_row(P2)}" for i in range(4)] + ["R0_rect: 1 0 0 0 1 0 0 0 1"]
    if Tr_velo_to_cam is not None:
        lines.append(f"Tr_velo_to_cam: {_row(Tr_velo_to_cam)}")
    return "\n".join(lines) + "\n"


def _row(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in np.asarray(matrix, float).ravel())


def _keyed_lines(path: Path) -> dict[str, tuple[int, list[str]]]:
    """Key -> (line number, values); keys with or without a colon, as the tracking set has both."""
    lines: dict[str, tuple[int, list[str]]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        key, *values = line.replace(":", ": ", 1).split() or [""]
        key = key.rstrip(":")
        read = (*_P2, *_R0_RECT, *_TR_VELO_TO_CAM, *_TR_IMU_TO_VELO)
        if key in lines and key in read and lines[key][1] != values:
            raise CalibrationError(f"{path}, line {number}: '{key}' stands twice with different values; keep one")
        if key:
            lines.setdefault(key, (number, values))
    return lines


def _transform(
    path: Path, lines: dict[str, tuple[int, list[str]]], keys: tuple[str, ...], raw: str
) -> np.ndarray | None:
    found, beside = _matrix(path, lines, keys, (3, 4)), path.with_name(raw)
    if found is None and "P_rect_02" in lines and beside.is_file():
        return _read_raw_transform(beside)
    return found


def _matrix(
    path: Path, lines: dict[str, tuple[int, list[str]]], keys: tuple[str, ...], shape: tuple[int, ...]
) -> np.ndarray | None:
    key = next((key for key in keys if key in lines), None)
    if key is None:
        return None
    number, texts = lines[key]
    needed = int(np.prod(shape))
    if len(texts) != needed:
        raise CalibrationError(f"{path}, line {number}: '{key}' needs {needed} numbers, it has {len(texts)}")
    try:
        values = np.array([float(text) for text in texts])
    except ValueError as error:
        raise CalibrationError(f"{path}, line {number}: '{key}' needs {needed} numbers: {error}") from None
    if not np.isfinite(values).all():
        raise CalibrationError(f"{path}, line {number}: '{key}' has values that are not finite")
    return values.reshape(shape)


def _read_raw_transform(path: Path) -> np.ndarray:
    lines = _keyed_lines(path)
    rotation, translation = _matrix(path, lines, ("R",), (3, 3)), _matrix(path, lines, ("T",), (3, 1))
    if rotation is None or translation is None:
        raise CalibrationError(f"{path}: lines 'R: ' with 9 numbers and 'T: ' with 3 numbers are needed")
    return np.hstack([rotation, translation])


def raw_image_sizes(path: str | Path) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(width, height) of camera 2's images before and after rectification, where a raw calibration gives them."""
    path = Path(path)
    lines = _keyed_lines(path)
    before, after = (_matrix(path, lines, (key,), (2,)) for key in ("S_02", "S_rect_02"))
    return tuple(None if size is None else (int(size[0]), int(size[1])) for size in (before, after))
