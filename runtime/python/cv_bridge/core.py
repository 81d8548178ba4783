"""CvBridge: sensor_msgs/Image and CompressedImage to arrays and back."""

from __future__ import annotations

import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from cv_bridge.convert import convert
from cv_bridge.encodings import DEPTHS, CvBridgeError, layout

__all__ = ["CvBridge", "CvBridgeError", "getCvType"]

CV_TYPES = {getattr(cv2, f"CV_{name}C{n}"): (name, n) for name in DEPTHS for n in (1, 2, 3, 4)}


def getCvType(encoding: str) -> int:
    """OpenCV's number for the pixels of an encoding, like cv2.CV_8UC3. Raises CvBridgeError for an unknown encoding."""
    dtype, channels = layout(encoding)
    return getattr(cv2, f"CV_{_depth_name(dtype)}C")(channels)


def _depth_name(dtype: np.dtype) -> str:
    for name, depth in DEPTHS.items():
        if dtype.newbyteorder("=") == depth:
            return name
    raise CvBridgeError(f"arrays of {dtype} cannot be images; use one of {', '.join(str(d) for d in DEPTHS.values())}")


def _channels(image: np.ndarray) -> int:
    if image.ndim not in (2, 3):
        raise CvBridgeError(f"an image has 2 or 3 dimensions, not {image.ndim} (shape {image.shape})")
    return 1 if image.ndim == 2 else image.shape[2]


class CvBridge:
    """Converts between ROS image messages and arrays (H, W) or (H, W, C) in the channel order of their encoding."""

    def __init__(self) -> None:
        self.cvtype_to_name = {number: f"{name}C{n}" for number, (name, n) in CV_TYPES.items()}
        self.cvdepth_to_numpy_depth = {getattr(cv2, f"CV_{name}"): str(dtype) for name, dtype in DEPTHS.items()}
        self.numpy_type_to_cvtype = {str(dtype): name for name, dtype in DEPTHS.items()}
        self.numpy_type_to_cvtype.update({name: str(dtype) for name, dtype in DEPTHS.items()})

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """The generic encoding of an array, like '8UC3'."""
        return f"{_depth_name(np.dtype(dtype))}C{n_channels}"

    def cvtype2_to_dtype_with_channels(self, cvtype: int) -> tuple[str, int]:
        """The numpy type and the number of channels of OpenCV's number for a pixel type."""
        if cvtype not in CV_TYPES:
            raise CvBridgeError(f"{cvtype} is no OpenCV type of 1 to 4 channels")
        name, channels = CV_TYPES[cvtype]
        return str(DEPTHS[name]), channels

    def encoding_to_cvtype2(self, encoding: str) -> int:
        """OpenCV's number for the pixels of an encoding."""
        return getCvType(encoding)

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """The numpy type and the number of channels of an encoding, like ('uint8', 3)."""
        dtype, channels = layout(encoding)
        return str(dtype), channels

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """The pixels of an image message, converted to `desired_encoding` unless that is 'passthrough'.

        The array is a view of the message's data where nothing had to be converted. Raises CvBridgeError for an unknown
        encoding, data shorter than the message says, or a conversion that does not exist.
        """
        dtype, channels = layout(img_msg.encoding)
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        if not height or not width:
            raise CvBridgeError(f"the image is empty: {width}x{height}")
        row = width * channels * dtype.itemsize
        if step < row:
            raise CvBridgeError(
                f"step is {step} bytes, but a row of {width} pixels of {img_msg.encoding} takes {row}; "
                "the publisher has to set step = width * bytes per pixel, plus padding"
            )
        data = np.frombuffer(_bytes_of(img_msg.data), np.uint8)
        if data.size < height * step:
            raise CvBridgeError(
                f"the data is truncated: {data.size} bytes, but height {height} * step {step} is {height * step}"
            )
        pixel = (channels * dtype.itemsize,) if channels == 1 else (channels * dtype.itemsize, dtype.itemsize)
        shape = (height, width) if channels == 1 else (height, width, channels)
        stored = dtype.newbyteorder(">" if img_msg.is_bigendian else "<")
        image = np.ascontiguousarray(np.ndarray(shape, stored, data, strides=(step, *pixel)))
        if dtype.itemsize > 1 and bool(img_msg.is_bigendian) == (sys.byteorder == "little"):
            image = image.astype(dtype)
        image = image.view(dtype)
        return image if desired_encoding == "passthrough" else convert(image, img_msg.encoding, desired_encoding)

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> np.ndarray:
        """The pixels of a JPEG, PNG or other compressed image, as stored (BGR, BGRA or gray) or as `desired_encoding`.

        Raises CvBridgeError for data that is truncated or cannot be decoded, or a conversion that does not exist.
        """
        data = np.frombuffer(_bytes_of(cmprs_img_msg.data), np.uint8)
        about = f"{data.size} bytes, format '{cmprs_img_msg.format}'"
        if "compressedDepth" in cmprs_img_msg.format:
            raise CvBridgeError(
                f"compressedDepth images are not supported ({about}); use image_transport to decode them"
            )
        raw = data.tobytes()
        for kind, start, end in (("JPEG", b"\xff\xd8", b"\xff\xd9"), ("PNG", b"\x89PNG", b"IEND")):
            if raw.startswith(start) and end not in raw[-max(len(raw) // 2, 64) :]:
                raise CvBridgeError(f"the {kind} data is truncated: its end mark is missing ({about})")
        try:
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        except cv2.error as error:
            raise CvBridgeError(f"the compressed image cannot be decoded ({about}): {error}") from error
        if image is None:
            raise CvBridgeError(f"the compressed image cannot be decoded ({about})")
        if desired_encoding == "passthrough":
            return image
        channels = _channels(image)
        color = {1: "mono", 3: "bgr", 4: "bgra"}.get(channels)
        if color is None or image.dtype not in (np.uint8, np.uint16):
            stored = self.dtype_with_channels_to_cvtype2(image.dtype, channels)
        else:
            stored = f"{color}{8 * image.dtype.itemsize}"
        return convert(image, stored, desired_encoding)

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = "passthrough", header: Header | None = None) -> Image:
        """An image message of an array, labelled `encoding` (nothing is converted), or like '8UC3' for 'passthrough'.

        Raises CvBridgeError (a TypeError) for what is no image, or where the encoding has another type of pixels.
        """
        if not isinstance(cvim, np.ndarray | np.generic):
            raise CvBridgeError(f"expected a numpy array, got {type(cvim).__name__}")
        kind = self.dtype_with_channels_to_cvtype2(cvim.dtype, _channels(cvim))
        if encoding != "passthrough":
            dtype, channels = layout(encoding)
            wanted = f"{_depth_name(dtype)}C{channels}"
            if wanted != kind:
                raise CvBridgeError(f"encoding {encoding} has pixels of type {wanted}, but the array's are {kind}")
        msg = Image()
        if header is not None:
            msg.header = header
        msg.height, msg.width = cvim.shape[:2]
        msg.encoding = kind if encoding == "passthrough" else encoding
        order = cvim.dtype.byteorder
        msg.is_bigendian = order == ">" or (order == "=" and sys.byteorder == "big")
        msg.step = msg.width * _channels(cvim) * cvim.dtype.itemsize
        msg.data.frombytes(np.ascontiguousarray(cvim).data.cast("B") if cvim.size else b"")
        return msg

    def cv2_to_compressed_imgmsg(self, cvim: np.ndarray, dst_format: str = "jpg") -> CompressedImage:
        """A compressed image message of an array in BGR, BGRA or gray; `dst_format` is a file ending like jpg or png.

        Raises CvBridgeError (a TypeError) for what is no image, or cannot be stored in that format.
        """
        if not isinstance(cvim, np.ndarray | np.generic):
            raise CvBridgeError(f"expected a numpy array, got {type(cvim).__name__}")
        try:
            done, coded = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(f"cannot store {cvim.dtype} {cvim.shape} as {dst_format}: {error}") from error
        if not done:
            raise CvBridgeError(f"cannot store {cvim.dtype} {cvim.shape} as {dst_format}")
        msg = CompressedImage()
        msg.format = dst_format
        msg.data.frombytes(coded.tobytes())
        return msg


def _bytes_of(data: object) -> memoryview | bytes:
    """The buffer of a message's data field, which some tools fill with a plain list."""
    return bytes(data) if isinstance(data, list | tuple) else memoryview(data)
