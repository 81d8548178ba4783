"""Change the encoding of an array of pixels: first its colours, then its depth."""

from __future__ import annotations

import cv2
import numpy as np
from rosbags.image.image import CONVERSIONS, Format

from cv_bridge.encodings import CvBridgeError, color_format, layout


def convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """The image in another encoding. 8 and 16 bits are scaled to each other, other depths are rounded and clipped.

    Raises CvBridgeError where the conversion does not exist, as from 8UC3, which says no order of colours, to rgb8.
    """
    if source == target:
        return image
    source_color, target_color = color_format(source), color_format(target)
    (_, channels), (dtype, target_channels) = layout(source), layout(target)
    if Format.GENERIC in (source_color, target_color):
        if source_color == Format.GENERIC != target_color:
            raise CvBridgeError(f"cannot convert {source} to {target}: {source} does not say which colours it holds")
        if channels != target_channels:
            raise CvBridgeError(f"cannot convert {source} to {target}: {channels} channels are not {target_channels}")
    elif source_color != target_color:
        if (source_color, target_color) not in CONVERSIONS:
            raise CvBridgeError(f"there is no conversion from {source} to {target}")
        try:
            image = cv2.cvtColor(image, CONVERSIONS[source_color, target_color])
        except cv2.error as error:
            raise CvBridgeError(f"cannot convert {source} {image.shape} to {target}: {error}") from error
    return change_depth(image, dtype)


def change_depth(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The image as another numpy type, scaled by 257 between 8 and 16 bits as in OpenCV's and upstream's convertTo."""
    if image.dtype == dtype:
        return image
    bits, target_bits = 8 * image.dtype.itemsize, 8 * dtype.itemsize
    scale = {(8, 16): 257.0, (16, 8): 1 / 257.0}.get((bits, target_bits), 1.0)
    if image.dtype == np.uint16 and dtype == np.uint8:
        return cv2.convertScaleAbs(image, alpha=scale)
    scaled = image.astype(np.float64) * scale
    if np.issubdtype(dtype, np.floating):
        return scaled.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(np.nan_to_num(scaled)), limits.min, limits.max).astype(dtype)
