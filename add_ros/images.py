"""sensor_msgs images -> RGB arrays (H, W, 3) uint8."""

from __future__ import annotations

import copy
import sys
from array import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from cv_bridge import CvBridge, CvBridgeError

from add_model.image_decoding import ImageDataError, dark_range, decode
from add_model.image_headers import JPEG, image_format, image_size
from add_ros.bounds import shown
from add_ros.errors import FrameRejectedError

# Bytes per pixel; nv12 and nv21 carry half a row more of chroma for each row.
_PIXEL_BYTES = {
    **dict.fromkeys(["mono8", "8UC1", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8", "nv12", "nv21"], 1),
    **dict.fromkeys(["mono16", "bayer_rggb16", "bayer_bggr16", "bayer_gbrg16", "bayer_grbg16"], 2),
    **dict.fromkeys(["uyvy", "yuv422", "yuyv", "yuv422_yuy2"], 2),
    **dict.fromkeys(["rgb8", "bgr8", "8UC3"], 3),
    **dict.fromkeys(["rgba8", "bgra8", "8UC4"], 4),
    **dict.fromkeys(["rgb16", "bgr16"], 6),
    **dict.fromkeys(["rgba16", "bgra16"], 8),
}
_KNOWN_AS = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}  # OpenCV's channel order
_KNOWN_AS |= {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}  # the older names, which are all that ROS's cv_bridge knows
_DEPTH = ("16UC1", "32FC1")  # by REP 118
_BIG_ENDIAN = sys.byteorder == "big"
ENCODINGS = tuple(_PIXEL_BYTES)
_PATTERNS = {  # OpenCV names a pattern by its second row, ROS by its first
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_BAYER = {f"bayer_{pattern}{bits}": code for pattern, code in _PATTERNS.items() for bits in (8, 16)}


def encoded_size(message: Any) -> tuple[int, int] | None:
    """(width, height) in the header of a CompressedImage; None where it does not say, and for an Image."""
    return None if hasattr(message, "width") else image_size(bytes(message.data))


def rgb_from_image(message: Any, note: Callable[[str], None] | None = None) -> np.ndarray:
    """sensor_msgs/Image -> RGB (H, W, 3) uint8; 16-bit values are scaled by 255/65535. Raises FrameRejectedError.

    note: is given a sentence where the 16 bits seem to hold fewer.
    """
    encoding, width, height, step = message.encoding, message.width, message.height, message.step
    if encoding not in _PIXEL_BYTES:
        depth = " (it is a depth image's)" if encoding in _DEPTH else ""
        raise FrameRejectedError(
            "unsupported encoding",
            f"image encoding '{shown(encoding)}'{depth} is not one of: {', '.join(sorted(ENCODINGS))}",
        )
    if width < 1 or height < 1:
        raise FrameRejectedError("malformed image", f"the image is empty: {width}x{height}")
    if "yuv422" in _KNOWN_AS.get(encoding, encoding) and width % 2:
        raise FrameRejectedError(
            "malformed image", f"the width of a {encoding} (YUV 4:2:2) image must be even, got {width}x{height}"
        )
    row = width * _PIXEL_BYTES[encoding]
    if step < row:
        raise FrameRejectedError(
            "malformed image", f"image step {step} is shorter than a row: {width} {encoding} pixels = {row}"
        )
    rows = height * 3 // 2 if encoding in ("nv12", "nv21") else height
    if len(message.data) < rows * step:
        raise FrameRejectedError(
            "truncated image",
            f"image data has {len(message.data)} bytes, {rows} rows of step {step} need {rows * step}",
        )
    if encoding in ("nv12", "nv21"):
        return _semi_planar(message, rows)
    if note and encoding.endswith("16"):
        values = np.frombuffer(message.data, ">u2" if message.is_bigendian else "<u2", rows * step // 2)
        # Padding has no meaning.
        values = values.reshape(rows, step // 2)[:, : row // 2] if step % 2 == 0 else values
        if said := dark_range(values, f"the 16-bit image ({encoding}) has"):
            note(said)
    if encoding in _KNOWN_AS or step != row or bool(message.is_bigendian) != _BIG_ENDIAN:
        message = _plain(message, row, _KNOWN_AS.get(encoding, encoding))
    try:
        image = CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except (CvBridgeError, cv2.error, TypeError, ValueError) as error:
        raise FrameRejectedError(
            "malformed image", f"the {width}x{height} {encoding} image does not convert: {error}"
        ) from error
    return np.ascontiguousarray(image)


def _plain(message: Any, row: int, encoding: str) -> Any:
    """The same image without padding and in this machine's byte order, with an encoding that each cv_bridge knows.

    Some distributions' cv_bridge shears rows that are padded by parts of a pixel. With NumPy 2 none of them can swap
    bytes, which they try for 8-bit images of the other byte order, too.
    """
    plain = copy.copy(message)
    plain.encoding, plain.step, plain.is_bigendian = encoding, row, int(_BIG_ENDIAN)
    swapped = encoding.endswith("16") and bool(message.is_bigendian) != _BIG_ENDIAN
    if message.step != row or swapped:
        rows = np.frombuffer(message.data, np.uint8, message.height * message.step)
        rows = np.ascontiguousarray(rows.reshape(message.height, message.step)[:, :row])
        rows = rows.view(np.uint16).byteswap() if swapped else rows
        plain.data = array("B", rows.tobytes())  # of bytes, rclpy would check each
    return plain


def can_be_halved(message: Any) -> bool:
    """Whether a message is a JPEG that may be decoded at half its size: not of a mosaic, whose colours that mixes."""
    if hasattr(message, "width"):
        return False
    return image_format(bytes(message.data[:4])) == JPEG and not message.format.startswith("bayer")


def rgb_from_compressed(message: Any, note: Callable[[str], None] | None = None, by_half: bool = False) -> np.ndarray:
    """sensor_msgs/CompressedImage (JPEG, PNG, TIFF) -> RGB (H, W, 3) uint8; 16-bit values are scaled by 255/65535.

    Pixels are read as compressed_image_transport writes them. Raises FrameRejectedError.

    Args:
        message: the image.
        note: as `rgb_from_image` has it.
        by_half: decode at half the size, rounded up, where `can_be_halved`: each pixel is two by two, in less time.
    """
    kind, named = message.format, shown(message.format)
    source = kind.partition(";")[0].strip()
    if "compressedDepth" in kind or source in _DEPTH:
        raise FrameRejectedError("unsupported encoding", f"compressed image format '{named}' is a depth image")
    # The calibration is for the pixels as they are stored: an EXIF orientation must not turn them.
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    flags |= cv2.IMREAD_REDUCED_GRAYSCALE_2 if by_half else 0  # the bit that halves; colours stay
    try:
        image = decode(bytes(message.data), flags)
    except ImageDataError as error:
        raise FrameRejectedError(
            error.reason, f"the compressed image of format '{named}' can't be used: {error}"
        ) from error
    if image.dtype not in (np.uint8, np.uint16):
        raise FrameRejectedError(
            "unsupported encoding", f"compressed image format '{named}' has pixels of {image.dtype}"
        )
    if image.dtype == np.uint16 and image.ndim == 2 and source not in _PIXEL_BYTES:
        raise FrameRejectedError(
            "unsupported encoding",
            f"the compressed image of format '{named}' has one channel of 16 bits, as depth images have; where it is a "
            "picture, its publisher must say so in the format: 'mono16; png compressed '",
        )
    if note and image.dtype == np.uint16 and (said := dark_range(image, f"the 16-bit image ({named.strip()}) has")):
        note(said)
    conversion = _conversion(kind, grey=image.ndim == 2)
    image = image if conversion is None else cv2.cvtColor(image, conversion)
    return image if image.dtype == np.uint8 else cv2.convertScaleAbs(image, alpha=255 / 65535)


def _conversion(kind: str, grey: bool) -> int | None:
    """OpenCV's conversion to RGB of a decoded image of the format "SOURCE; CODEC compressed TARGET", None for none."""
    source, _, coding = kind.partition(";")
    target = coding.partition("compressed")[2].strip()
    if grey:
        # As JPEG a Bayer mosaic is written grey, with that as its target; as PNG and TIFF unchanged, without a target.
        as_it_is = not target.startswith(("mono", "bgr", "rgb"))
        return _BAYER.get(source, cv2.COLOR_GRAY2RGB) if as_it_is else cv2.COLOR_GRAY2RGB
    # TIFF also has the channels unchanged, where the other codecs have BGR.
    as_it_is = source.startswith("rgb") and "tiff" in coding and not target.startswith("bgr")
    return None if as_it_is else cv2.COLOR_BGR2RGB


def _semi_planar(message: Any, rows: int) -> np.ndarray:
    if message.width % 2 or message.height % 2:
        raise FrameRejectedError(
            "malformed image", f"{message.encoding} needs even sizes, got {message.width}x{message.height}"
        )
    planes = np.frombuffer(message.data, np.uint8, rows * message.step).reshape(rows, message.step)[:, : message.width]
    code = cv2.COLOR_YUV2RGB_NV12 if message.encoding == "nv12" else cv2.COLOR_YUV2RGB_NV21
    return cv2.cvtColor(np.ascontiguousarray(planes), code)
