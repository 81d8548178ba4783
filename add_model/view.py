"""What the network sees of an image: resampled to a focal length, padded or cropped to a canvas.

Scaling every camera to the same focal length in pixels makes an object of one size at one distance cover the same
number of pixels whatever the camera, so that one network serves all of them. Training and prediction both come here.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from add_model.camera import Camera

REFERENCE_FOCAL = 360.0  # pixels: half of KITTI's, so that a KITTI image is seen as about 620x188
PADDING = (124, 116, 104)  # ImageNet's mean colour, which the networks' normalisation turns into about zero


def reference_focal_scale(P: Any) -> Any:
    """Metres of depth for each metre at the reference focal length: sqrt(fu fv) / f_ref. P is (..., 3, 4)."""
    return (P[..., 0, 0] * P[..., 1, 1]) ** 0.5 / REFERENCE_FOCAL


def scaled_size(camera: Camera, focal: float, max_pixels: int | None = None) -> tuple[int, int]:
    """The (width, height) at which the camera's focal lengths become `focal` pixels.

    Where that image would have more than `max_pixels`, it is the largest size of the same shape that does not.
    """
    width, height = camera.width * focal / camera.fu, camera.height * focal / camera.fv
    if max_pixels is not None and width * height > max_pixels:
        shrink = math.sqrt(max_pixels / (width * height))
        width, height = width * shrink, height * shrink
    return max(1, round(width)), max(1, round(height))


def resample(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image (H, W, 3) at another size: area averages along the axes that shrink, linear along those that grow."""
    # One after the other: OpenCV's INTER_AREA is off by a fraction of a pixel along an axis that grows.
    shrunk = (min(width, image.shape[1]), min(height, image.shape[0]))
    if shrunk != image.shape[1::-1]:
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def pad_to_multiple(image: np.ndarray, camera: Camera, multiple: int = 32) -> tuple[np.ndarray, Camera]:
    """Image and camera, padded at the right and the bottom until both sides are multiples."""
    width, height = (math.ceil(side / multiple) * multiple for side in (camera.width, camera.height))
    return window(image, 0, 0, width, height, PADDING), camera.crop(0, 0, width, height)


def window(
    array: np.ndarray, left: int, top: int, width: int, height: int, fill: int | tuple[int, int, int]
) -> np.ndarray:
    """array[top:top + height, left:left + width], with `fill` where the window leaves the array (H, W, ...)."""
    rows, columns = array.shape[:2]
    x0, x1, y0, y1 = max(left, 0), min(left + width, columns), max(top, 0), min(top + height, rows)
    if (x0, y0, x1, y1) == (left, top, left + width, top + height):
        return np.ascontiguousarray(array[y0:y1, x0:x1])
    filled = np.empty((height, width, *array.shape[2:]), array.dtype)
    filled[:] = fill
    if x0 < x1 and y0 < y1:
        filled[y0 - top : y1 - top, x0 - left : x1 - left] = array[y0:y1, x0:x1]
    return filled
