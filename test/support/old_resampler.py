"""How images were resampled until 0.2.0, for what was recorded with it."""

from __future__ import annotations

import cv2
import numpy as np


def area_averages(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area averages along the axes that shrink, linear along those that grow."""
    shrunk = (min(width, image.shape[1]), min(height, image.shape[0]))
    if shrunk != image.shape[1::-1]:
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def use() -> None:
    """Resample so from now on, in this process."""
    from add_model import preprocessing
    from training.data import augmentation

    preprocessing.resample = augmentation.resample = area_averages
