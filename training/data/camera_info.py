"""Camera calibrations in YAML: ROS's camera_info, as camera_calibration saves it or `ros2 topic echo` prints it, and
those of OpenCV, Kalibr and EuRoC (see `training.data.camera_formats`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.distortion import Calibration, UnknownLensError, distorts, undistortion_maps
from training.data.camera_formats import DISTORTION, MATRIX, PROJECTION, first, load, model_of
from training.data.kitti.calib import CalibrationError

RECTIFICATIONS = ("auto", "rectified", "raw")  # as the node's parameter


def is_camera_info(path: str | Path) -> bool:
    """Whether a YAML file looks like a camera calibration: it has an image size and a camera matrix."""
    try:
        document = load(Path(path))
    except CalibrationError as error:
        return error.of_camera
    return any(key in document for key in ("image_width", "width")) and first(document, MATRIX) is not None


def read_camera_info(path: str | Path, rectification: str = "auto") -> Calibration:
    """Read a calibration file. The camera is of the image that the file's binning and region of interest give.

    rectification: 'rectified' where the images are so already and the projection matrix holds for them, 'raw' where the
    camera matrix and the distortion hold. 'auto' takes them as rectified where the lens does not distort.
    Raises CalibrationError naming file and key; OSError where the file cannot be opened.
    """
    path = Path(path)
    document = load(path)
    size = [document.get(f"image_{side}", document.get(side)) for side in ("width", "height")]
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise CalibrationError(f"{path}: 'image_width' and 'image_height' must be positive whole numbers, got {size}")
    K, P = _numbers(path, document, MATRIX, (9,)), _numbers(path, document, PROJECTION, (12,))
    D = _numbers(path, document, DISTORTION, None)
    if K is None and P is None:
        raise CalibrationError(f"{path}: 'camera_matrix' (9 numbers) or 'projection_matrix' (12 numbers) is needed")
    D = np.empty(0) if D is None else D
    model = model_of(path, document, len(D))
    distorted = distorts(model, D)
    rectified = not distorted if rectification == "auto" else rectification == "rectified"
    if P is not None and P[0] != 0 and (rectified or K is None or K[0] == 0):
        if not rectified:
            raise CalibrationError(f"{path}: images with distortion need 'camera_matrix' (9 numbers)")
        return Calibration(_camera(path, P.reshape(3, 4)[:, :3], document, *size), None, "rectified images, P")
    if K is None:
        raise CalibrationError(f"{path}: 'projection_matrix' is zero and there is no 'camera_matrix': calibrate it")
    camera = _camera(path, K.reshape(3, 3), document, *size)
    if rectified or not distorted:
        return Calibration(camera, None, "images without distortion, K")
    try:
        maps = undistortion_maps(model, D, camera)
    except UnknownLensError as error:
        mend = "rectify the images and give 'track' or 'bag convert' --rectification rectified"
        raise CalibrationError(f"{path}: {error}; {mend}") from None
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from None
    return Calibration(camera, maps, f"raw images, K and D ({model})")


def _numbers(
    path: Path, document: dict[str, Any], keys: tuple[str, ...], counts: tuple[int, ...] | None
) -> np.ndarray | None:
    key = first(document, keys)
    if key is None:
        return None
    values = document[key]["data"] if isinstance(document[key], dict) and "data" in document[key] else document[key]
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):
        values = values[0].split()  # an old camera_calibration left out the commas
    try:
        numbers = np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise CalibrationError(f"{path}: '{key}' must be a list of numbers, got {values!r}") from None
    if (counts and len(numbers) not in counts) or not np.isfinite(numbers).all():
        needed = f"{counts[0]} finite numbers" if counts else "finite numbers"
        raise CalibrationError(f"{path}: '{key}' needs {needed}, got {numbers.tolist()}")
    return numbers


def _camera(path: Path, matrix: np.ndarray, document: dict[str, Any], width: int, height: int) -> Camera:
    """The camera of the image that the sensor's region and binning give, where a CameraInfo message was printed."""
    roi = document.get("roi") if isinstance(document.get("roi"), dict) else {}
    left, top = (_whole(path, roi, f"{axis}_offset") for axis in ("x", "y"))
    region = _whole(path, roi, "width") or width, _whole(path, roi, "height") or height
    binning = [max(1, _whole(path, document, f"binning_{axis}")) for axis in ("x", "y")]
    if left + region[0] > width or top + region[1] > height:
        raise CalibrationError(
            f"{path}: 'roi' {region[0]}x{region[1]} at ({left}, {top}) lies outside the {width}x{height} pixels"
        )
    try:
        camera = Camera.of_intrinsics(matrix, width, height).crop(left, top, *region)
        return camera.resize(region[0] // binning[0], region[1] // binning[1])
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from None


def _whole(path: Path, values: dict[str, Any], key: str) -> int:
    value = values.get(key, 0)
    if not isinstance(value, int) or value < 0:
        raise CalibrationError(f"{path}: '{key}' must be a whole number of pixels, got {value!r}")
    return value
