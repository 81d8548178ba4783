"""An image and its CameraInfo -> the rectified picture and its camera: the same for the node and all bag tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.distortion import Calibration
from add_ros.calibration import Calibrator
from add_ros.images import can_be_halved, encoded_size, rgb_from_compressed, rgb_from_image

HalfIsEnough = Callable[[Camera], bool]


def rectified_image(
    message: Any,
    info: Any,
    calibrate: Calibrator,
    note: Callable[[str], None] | None = None,
    half_is_enough: HalfIsEnough | None = None,
) -> tuple[np.ndarray, Calibration]:
    """The picture that a network is shown, and its calibration.

    Args:
        message: Image or CompressedImage.
        info: its CameraInfo.
        calibrate: that of the topic.
        note: is given a sentence on pixels that look too dark.
        half_is_enough: whether an image of this camera may be decoded at half its size, which a JPEG without distortion
            is then; None for never.

    Returns:
        (H, W, 3) uint8 RGB without distortion, of the camera's size or half of it, rounded up; and the calibration, of
        the full size.

    Raises:
        FrameRejectedError: where the image can't be decoded or the CameraInfo can't be its own.
    """
    if size := encoded_size(message):
        calibration = calibrate(info, *size)  # what does not fit its CameraInfo is not decoded
        plain = calibration.maps is None and half_is_enough is not None and can_be_halved(message)
        if plain and half_is_enough(calibration.camera):
            return rgb_from_compressed(message, note, by_half=True), calibration
    pixels = rgb_from_image(message, note) if hasattr(message, "width") else rgb_from_compressed(message, note)
    calibration = calibrate(info, pixels.shape[1], pixels.shape[0])
    return calibration.rectify(pixels), calibration
