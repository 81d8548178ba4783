"""What the network sees of an image: resampled to a focal length, padded or cropped to a canvas.

Scaling every camera to the same focal length in pixels makes an object of one size at one distance cover the same
number of pixels whatever the camera, so that one network serves all of them. Training and prediction both come here.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from add_model.camera import Camera

PADDING = (124, 116, 104)  # ImageNet's mean colour, which the networks' normalisation turns into about zero


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
    return window(image, camera, 0, 0, width, height)


def window(
    image: np.ndarray, camera: Camera, left: int, top: int, width: int, height: int
) -> tuple[np.ndarray, Camera]:
    """Image and camera of image[top:top + height, left:left + width], padded where the window leaves the image."""
    right, bottom = left + width, top + height
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    before_y, before_x = min(max(-top, 0), height), min(max(-left, 0), width)
    after_y, after_x = height - before_y - inside.shape[0], width - before_x - inside.shape[1]
    if before_y or before_x or after_y or after_x:
        inside = cv2.copyMakeBorder(inside, before_y, after_y, before_x, after_x, cv2.BORDER_CONSTANT, value=PADDING)
    return np.ascontiguousarray(inside), camera.crop(left, top, width, height)
