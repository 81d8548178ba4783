"""What the encodings of sensor_msgs/Image mean."""

from __future__ import annotations

import re

import numpy as np
from rosbags.image.image import ENCODINGMAP, Format, ImageFormatError, to_cvtype

DEPTHS = {
    name: np.dtype(kind)
    for name, kind in {
        "8U": "uint8",
        "8S": "int8",
        "16U": "uint16",
        "16S": "int16",
        "32S": "int32",
        "32F": "float32",
        "64F": "float64",
    }.items()
}
# Two planes of different sizes in one buffer: not an array of pixels.
PLANAR = ("nv12", "nv21", "nv24")


class CvBridgeError(TypeError):
    """An image that cannot be converted; the message says why."""


def layout(encoding: str) -> tuple[np.dtype, int]:
    """The numpy type and the number of channels of an encoding. Raises CvBridgeError for an unknown one."""
    _, _, kind, channels = _describe(encoding)
    return np.dtype(kind), channels


def color_format(encoding: str) -> Format:
    """The order of the colours of an encoding; Format.GENERIC where it says none. Raises CvBridgeError likewise."""
    return _describe(encoding)[1]


def _describe(encoding: str) -> tuple[int, Format, str, int]:
    if encoding in PLANAR or re.fullmatch(r"\w+C0", encoding):
        raise CvBridgeError(f"image encoding '{encoding}' is not supported")
    try:
        return to_cvtype(encoding)
    except ImageFormatError as error:
        known = ", ".join(sorted(name for name in ENCODINGMAP if name not in PLANAR))
        raise CvBridgeError(
            f"unknown image encoding '{encoding}'; known are {known}, and generic ones like 8UC3 and 32FC1"
        ) from error
