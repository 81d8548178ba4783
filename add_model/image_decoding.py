"""Encoded images to pixels, judged by decoding: what the decoder complains of is no picture, what it takes is one.

OpenCV fills what is missing of a JPEG with grey, goes on behind broken data with colours that were never there, and
says so on the standard error stream only. Its lines are read here. On the other hand, bytes behind the end of a whole
image and a missing end marker are no faults.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import tempfile
import threading
import zlib
from typing import IO

import cv2
import numpy as np

TRUNCATED, MALFORMED = "truncated image", "malformed image"
_JPEG, _EOI = b"\xff\xd8\xff", b"\xff\xd9"
_PNG, _IEND = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
_SOS, _PROGRESSIVE = 0xDA, (0xC2, 0xC6, 0xCA, 0xCE)
# What follows a JPEG's coded data: any marker but a stuffed 0xff, a restart or a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# libjpeg has more to say, such as of odd revision numbers, but nothing else that costs pixels.
_JPEG_FAULT = re.compile(r"Corrupt JPEG data|Premature end of JPEG")
_OTHER_FAULT = re.compile(r"libpng error|TIFF_Error|TIFF.*(Error|Decode)")
_DECODERS_OWN = re.compile(
    r"^(Corrupt JPEG data|Premature end of JPEG|libpng (warning|error)|TIFF\w*:|Invalid SOS|Warning: unknown JFIF"
    r"|.*OpenCV TIFF|.*imdecode_\()"
)
_FEWER_BITS = 14  # cameras have 10, 12 or 14 bits
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9\s*$")

_one_at_a_time = threading.Lock()  # there is one standard error stream


class ImageDataError(ValueError):
    """Bytes that are no whole image. `reason`: TRUNCATED or MALFORMED; str(): what is wrong with them."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def dark_range(values: np.ndarray, having: str) -> str | None:
    """A sentence that begins with `having`, on uint16 pixels that seem to be of fewer bits and so look dark; else None.

    Of 14 bits on a camera's images are bright enough in places: 15 bits and more are taken for 16.
    """
    most = int(values.max(initial=0))
    bits = most.bit_length()
    if not 0 < bits <= _FEWER_BITS:
        return None
    bits = max(8, bits + bits % 2)
    look = "all but black" if bits <= 12 else "four times too dark"
    return (
        f"{having} no value above {most} of 65535: it seems to hold {bits} bits, which look {look} to the network; let "
        "the driver shift them up to 16 bits, or publish 8 bits"
    )


def decode(data: bytes, flags: int) -> np.ndarray:
    """The image of a JPEG, PNG or TIFF file, or any other that OpenCV knows, as cv2.imdecode gives it.

    Raises ImageDataError where a part of it is missing or broken.
    """
    if not data:
        raise ImageDataError(TRUNCATED, "it is empty")
    end, cut = None, False
    if data.startswith(_JPEG):
        end, cut = _jpeg_end(data)
        data = data if end is not None or cut else data + _EOI
    elif data.startswith(_PNG):
        cut = not _is_whole_png(data)
        data = data if cut or b"IEND" in data else data + _IEND
    image, said = _imdecode(data, flags)
    faults = [line for line in said if (_JPEG_FAULT if data.startswith(_JPEG) else _OTHER_FAULT).search(line)]
    if cut or any("remature end" in fault for fault in faults):
        raise ImageDataError(TRUNCATED, f"it ends too early, after {len(data)} bytes")
    if faults and not (end is not None and _is_padding(data, end, faults)):
        raise ImageDataError(MALFORMED, f"it is corrupt: {' '.join(faults[0].split())}")
    if image is None:
        raise ImageDataError(MALFORMED, f"{len(data)} bytes that are no image which OpenCV can decode")
    return image


def _jpeg_end(data: bytes) -> tuple[int | None, bool]:
    """(where the end marker of the first image stands, None where there is none; whether more than that is missing)."""
    position, progressive = 2, False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker == _EOI[1]:
            return position, False
        elif marker == _SOS:
            following = _MARKER.search(data, position + 2 + struct.unpack_from(">H", data, position + 2)[0])
            if following is None:
                # A sequential image is whole where its only scan is, which decoding shows.
                return None, progressive
            position = following.start()
        else:
            progressive |= marker in _PROGRESSIVE
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    if data[position : position + 2] == _EOI:
        return position, False
    return None, position + 4 > len(data)


def _is_padding(data: bytes, end: int, faults: list[str]) -> bool:
    """Whether all that is wrong is that a camera filled up its buffer with zeros before the end marker."""
    counts = [int(found[1]) for found in map(_EXTRANEOUS.match, faults) if found]
    return len(counts) == len(faults) and not any(any(data[end - count : end]) for count in counts)


def _is_whole_png(data: bytes) -> bool:
    """Whether all pixels are there; the end marker may be missing."""
    position, stream = len(_PNG), zlib.decompressobj()
    try:
        while position + 12 <= len(data):
            (length,) = struct.unpack_from(">I", data, position)
            kind, following = data[position + 4 : position + 8], position + 12 + length
            if kind == b"IEND":
                return True
            if kind == b"IDAT" and b"IEND" not in data[-64:]:
                stream.decompress(data[position + 8 : following - 4])
            position = following
    except zlib.error:
        return True  # libpng says what is wrong
    return stream.eof and position <= len(data)


def _imdecode(data: bytes, flags: int) -> tuple[np.ndarray | None, list[str]]:
    """What cv2.imdecode gives, None where it gives nothing, and the lines that the decoders wrote about it.

    The decoders write to the standard error stream alone, so it is caught meanwhile; what other threads write is passed
    on afterwards. A child that is started meanwhile inherits the caught stream.
    """
    buffer = np.frombuffer(data, np.uint8)
    with _one_at_a_time, _memory_file() as file:
        try:
            kept = os.dup(2)
        except OSError as error:
            if error.errno != errno.EBADF:  # else a process without a standard error stream
                raise
            kept = None
        try:
            os.dup2(file.fileno(), 2)
            image = cv2.imdecode(buffer, flags)
        except cv2.error:
            image = None
        finally:
            if kept is None:
                os.close(2)
            else:
                os.dup2(kept, 2)
                os.close(kept)
        file.seek(0)
        lines = file.read().decode(errors="replace").splitlines(keepends=True)
    others = "".join(line for line in lines if line.strip() and not _DECODERS_OWN.search(line))
    if others and kept is not None:  # of other threads
        os.write(2, others.encode())
    return image, [line for line in lines if line.strip()]


def _memory_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("decoder"), "w+b")
    return tempfile.TemporaryFile()
