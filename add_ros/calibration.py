"""sensor_msgs/CameraInfo -> the camera of an image, and the undistortion that the image needs for it.

The camera is given in its own optical frame, whatever the CameraInfo's projection refers to: K with no fourth
column, so that a right stereo camera or KITTI's P2 gives the same messages as the camera alone would.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.distortion import Calibration, UnknownLensError, distorts, undistortion_maps
from add_ros.errors import FrameRejectedError

# kitti2bag and its kin take KITTI's rectified images, call them raw and give them D beside P.
_KITTI2BAG, _KITTI_RAW = re.compile(r"(^|/)kitti/camera_(color|gray|grey)_(left|right)/"), (1392, 512)
_NARROWEST, _WIDEST = 1000.0, 0.01  # focal length over image side: fields of view of 0.06 and 178.9 degrees


class Calibrator:
    """CameraInfo messages -> Calibration; everything is computed once for each CameraInfo that differs.

    Args:
        rectification: 'rectified' P holds for the images of this topic, 'raw' K with D holds, 'auto' the topic's name
            decides ('rect' or 'rectified', or 'raw', in its last part; kitti2bag's are rectified), otherwise whether D
            has values or the lens is a fisheye.
        topic: of the images.
    """

    def __init__(self, rectification: str, topic: str) -> None:
        self._rectification, self._topic = rectification, topic
        self._name = _camera_topic(topic)
        self._key: tuple[Any, ...] | None = None
        self._calibration: Calibration | None = None

    def __call__(self, info: Any, width: int, height: int) -> Calibration:
        """The calibration for one image.

        Args:
            info: its CameraInfo.
            width: pixels of the image.
            height: pixels of the image.

        Raises:
            FrameRejectedError: where the CameraInfo can't be that of the image.
        """
        k, d, p = (np.array(values, dtype=np.float64) for values in (info.k, info.d, info.p))
        window = (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height)
        size = (info.width, info.height, info.binning_x, info.binning_y, width, height)
        key = (k.tobytes(), d.tobytes(), p.tobytes(), info.distortion_model, window, size)
        if key != self._key or self._calibration is None:
            self._calibration = self._calibrate(info, k.reshape(3, 3), d, p.reshape(3, 4), width, height)
            self._key = key
        return self._calibration

    def _calibrate(
        self, info: Any, k: np.ndarray, d: np.ndarray, p: np.ndarray, width: int, height: int
    ) -> Calibration:
        if k[0, 0] == 0 and p[0, 0] == 0:
            raise FrameRejectedError(
                "uncalibrated",
                "the camera is not calibrated (K[0] and P[0] are 0): calibrate it, or set the driver's camera_info",
            )
        _check_size(info, width, height)
        distorted = distorts(info.distortion_model, d)
        how = "D has values" if d.any() else "the lens is a fisheye"
        rectified, why = self._is_rectified(distorted, how, (width, height))
        if rectified:
            if p[0, 0] != 0:
                return Calibration(_camera(p[:, :3], info, width, height, "P"), None, f"P, rectified: {why}")
            return Calibration(_camera(k, info, width, height, "K"), None, f"K (P is zero), rectified: {why}")
        if k[0, 0] == 0:
            raise FrameRejectedError(
                "uncalibrated",
                f"the images are raw ({why}), but K[0] is 0 and only P is there: where they are rectified, set the "
                "parameter rectification to rectified; else calibrate the camera",
            )
        camera = _camera(k, info, width, height, "K")
        if not distorted:
            return Calibration(camera, None, f"K, raw without distortion: {why}")
        return Calibration(camera, _undistortion(info.distortion_model, d, camera), f"K and D, raw: {why}")

    def _is_rectified(self, distorted: bool, how: str, size: tuple[int, int]) -> tuple[bool, str]:
        if self._rectification != "auto":
            return self._rectification == "rectified", "the parameter rectification says so"
        if re.search(r"(^|_)rect(ified)?(_|$)", self._name):  # not image_unrectified, image_corrected
            return True, f"the topic is named {self._name}"
        if distorted and size != _KITTI_RAW and _KITTI2BAG.search(self._topic):
            return True, f"kitti2bag writes rectified images to {self._topic}"
        if "raw" in self._name:
            return False, f"the topic is named {self._name}"
        return not distorted, how if distorted else "D is zero"


def _camera_topic(topic: str) -> str:
    parts = [part for part in topic.split("/") if part]
    return parts[-2] if len(parts) > 1 and parts[-1] == "compressed" else parts[-1]


def described_size(info: Any) -> tuple[int, int]:
    """(width, height) of the images that a CameraInfo describes."""
    full = (info.roi.width or info.width, info.roi.height or info.height)
    return full[0] // max(info.binning_x, 1), full[1] // max(info.binning_y, 1)


def _check_size(info: Any, width: int, height: int) -> None:
    expected = described_size(info)
    if expected == (width, height):
        return
    if 0 in expected:
        raise FrameRejectedError(
            "size mismatch",
            f"the image is {width}x{height} but its camera_info gives no size ({info.width}x{info.height}): the driver "
            "has no calibration, or its publisher must fill in width and height",
        )
    region = f", region of interest {info.roi.width}x{info.roi.height}" if info.roi.width or info.roi.height else ""
    binned = f", binning {info.binning_x}x{info.binning_y}" if max(info.binning_x, info.binning_y) > 1 else ""
    factors = width / expected[0], height / expected[1]
    scaled = abs(factors[0] / factors[1] - 1) < 0.02
    resized = f"; it was resized by {factors[0]:.3g}, and so must K and P be" if scaled else ""
    raise FrameRejectedError(
        "size mismatch",
        f"the image is {width}x{height} but its camera_info describes {expected[0]}x{expected[1]} "
        f"({info.width}x{info.height}{region}{binned}): they must come from the same camera and resolution{resized}",
    )


def _camera(matrix: np.ndarray, info: Any, width: int, height: int, name: str) -> Camera:
    if not np.allclose(matrix[2], (0, 0, 1), atol=1e-6):
        raise FrameRejectedError("invalid camera_info", f"the last row of {name} must be 0 0 1, got {matrix[2]}")
    roi, full = info.roi, (info.roi.width or info.width, info.roi.height or info.height)
    if roi.x_offset + full[0] > info.width or roi.y_offset + full[1] > info.height:
        raise FrameRejectedError(
            "invalid camera_info",
            f"the region of interest {full[0]}x{full[1]} at ({roi.x_offset}, {roi.y_offset}) does not lie inside the "
            f"camera_info's {info.width}x{info.height}",
        )
    focal, sides = np.array([matrix[0, 0], matrix[1, 1]]), np.array([info.width, info.height])
    centre = np.abs([matrix[0, 2], matrix[1, 2]])
    # A value that is not finite, zero or negative is named by Camera.
    if (focal > 0).all() and ((focal < _WIDEST * sides) | (np.maximum(focal, centre) > _NARROWEST * sides)).any():
        raise FrameRejectedError(
            "invalid camera_info",
            f"{name} of the camera_info has focal lengths {focal[0]:g}, {focal[1]:g} and principal point "
            f"{matrix[0, 2]:g}, {matrix[1, 2]:g}, in pixels: no lens makes a {info.width}x{info.height} image so",
        )
    try:
        camera = Camera.of_intrinsics(matrix, info.width, info.height)
        return camera.crop(roi.x_offset, roi.y_offset, *full).resize(width, height)
    except ValueError as error:
        raise FrameRejectedError("invalid camera_info", f"{name} of the camera_info is unusable: {error}") from error


def _undistortion(model: str, d: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    try:
        return undistortion_maps(model, d, camera)
    except UnknownLensError as error:
        raise FrameRejectedError(
            "unsupported distortion",
            f"{error}; where the images are rectified already, set the parameter rectification to rectified",
        ) from error
    except ValueError as error:
        raise FrameRejectedError("invalid camera_info", str(error)) from error
