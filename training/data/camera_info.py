"""ROS `camera_info` YAML files, as camera_calibration saves them or `ros2 topic echo` prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from add_model.geometry.camera import Camera
from add_model.geometry.distortion import Calibration, UnknownLensError, distorts, undistortion_maps
from training.data.kitti.calib import CalibrationError


def is_camera_info(path: str | Path) -> bool:
    """Whether a YAML file looks like a camera calibration: it has an image size and a camera matrix."""
    try:
        document = _document(Path(path))
    except CalibrationError:
        return False
    return any(key in document for key in ("image_width", "width")) and _first(document, _K) is not None


def read_camera_info(path: str | Path, rectified: bool | None = None) -> Calibration:
    """Read a camera_info YAML file.

    rectified: whether the images are rectified already, so that the projection matrix holds for them; otherwise the
    camera matrix and the distortion hold. None takes them as rectified where the lens does not distort.
    Raises CalibrationError naming file and key; OSError where the file cannot be opened.
    """
    path = Path(path)
    document = _document(path)
    size = [document.get(f"image_{side}", document.get(side)) for side in ("width", "height")]
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise CalibrationError(f"{path}: 'image_width' and 'image_height' must be positive whole numbers, got {size}")
    K, P = _numbers(path, document, _K, (9,)), _numbers(path, document, _P, (12,))
    D = _numbers(path, document, _D, None)
    if K is None and P is None:
        raise CalibrationError(f"{path}: 'camera_matrix' (9 numbers) or 'projection_matrix' (12 numbers) is needed")
    D = np.empty(0) if D is None else D
    model = str(document.get("distortion_model", "plumb_bob"))
    distorted = distorts(model, D)
    rectified = not distorted if rectified is None else rectified
    if P is not None and P[0] != 0 and (rectified or K is None):
        if not rectified:
            raise CalibrationError(f"{path}: images with distortion need 'camera_matrix' (9 numbers)")
        return Calibration(_camera(path, P.reshape(3, 4)[:, :3], *size), None, "rectified images, P")
    if K is None:
        raise CalibrationError(f"{path}: 'projection_matrix' is zero and there is no 'camera_matrix': calibrate it")
    camera = _camera(path, K.reshape(3, 3), *size)
    if rectified or not distorted:
        return Calibration(camera, None, "images without distortion, K")
    try:
        maps = undistortion_maps(model, D, camera)
    except UnknownLensError as error:
        raise CalibrationError(f"{path}: {error}; rectify the images and say that they are") from None
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from None
    return Calibration(camera, maps, f"raw images, K and D ({model})")


_K = ("camera_matrix", "k", "K")
_D = ("distortion_coefficients", "d", "D")
_P = ("projection_matrix", "p", "P")


def _document(path: Path) -> dict[str, Any]:
    try:
        document = next(yaml.safe_load_all(path.read_text(encoding="utf-8", errors="replace")), None)
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise CalibrationError(f"{path}: not a camera_info file: keys such as image_width, camera_matrix are needed")
    return document


def _first(document: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if document.get(key) is not None), None)


def _numbers(
    path: Path, document: dict[str, Any], keys: tuple[str, ...], counts: tuple[int, ...] | None
) -> np.ndarray | None:
    key = _first(document, keys)
    if key is None:
        return None
    values = document[key]["data"] if isinstance(document[key], dict) and "data" in document[key] else document[key]
    try:
        numbers = np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise CalibrationError(f"{path}: '{key}' must be a list of numbers, got {values!r}") from None
    if (counts and len(numbers) not in counts) or not np.isfinite(numbers).all():
        needed = f"{counts[0]} finite numbers" if counts else "finite numbers"
        raise CalibrationError(f"{path}: '{key}' needs {needed}, got {numbers.tolist()}")
    return numbers


def _camera(path: Path, matrix: np.ndarray, width: int, height: int) -> Camera:
    try:
        return Camera(np.hstack([matrix, np.zeros((3, 1))]), width, height)
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from None
