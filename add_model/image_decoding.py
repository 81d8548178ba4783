"""JPEG, PNG and TIFF to pixels, judged by decoding: what the decoder complains of is no picture, what it takes is one.

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

from add_model.image_headers import JPEG, PNG, image_format, image_size, other_format

TRUNCATED, MALFORMED = "truncated image", "malformed image"
UNSUPPORTED, OVERSIZED = "unsupported encoding", "oversized image"
MAX_PIXELS = 100_000_000  # a few kilobytes can hold many times that, which would fill the memory
_EOI = b"\xff\xd9"
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
_BLOCK = 1 << 20  # bytes that are unpacked at a time
_SOS, _PROGRESSIVE = 0xDA, (0xC2, 0xC6, 0xCA, 0xCE)
# What follows a JPEG's coded data: any marker but a stuffed 0xff, a restart or a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# libjpeg has more to say, such as of odd revision numbers, but nothing else that costs pixels.
_JPEG_FAULT = re.compile(r"Corrupt JPEG data|Premature end of JPEG")
_OTHER_FAULT = re.compile(r"libpng error|TIFF_Error|TIFF.*(Error|Decode)")
_DECODERS_OWN = re.compile(
    r"^(Corrupt JPEG data|Premature end of JPEG|libpng (warning|error)|TIFF\w*:|Invalid SOS|Warning: unknown JFIF"
    r"|.*OpenCV TIFF|.*imdecode_\(|\[ *(WARN|ERROR|INFO):.*\] global (grfmt_|loadsave))"
)
_FILL = 4  # bytes of one value, other than 0, that are no part of a scan
_FEWER_BITS = 14  # cameras have 10, 12 or 14 bits
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9\s*$")

_one_at_a_time = threading.Lock()  # there is one standard error stream


class ImageDataError(ValueError):
    """Bytes that are no whole image, or none that is read here.

    `reason`: TRUNCATED, MALFORMED, UNSUPPORTED or OVERSIZED; str(): what is wrong with them.
    """

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
    """The image of a JPEG, PNG or TIFF file as cv2.imdecode gives it, of at most `MAX_PIXELS`.

    Raises ImageDataError where a part of it is missing or broken, or it is something else; by its header already where
    it is too large.
    """
    if not data:
        raise ImageDataError(TRUNCATED, "it is empty")
    kind, size = image_format(data), image_size(data)
    if kind is None:
        raise _foreign(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise ImageDataError(
            OVERSIZED, f"its header says {size[0]}x{size[1]} pixels, {MAX_PIXELS / 1e6:.0f} million are read at most"
        )
    end, cut = None, False
    if kind == JPEG:
        end, cut = _jpeg_end(data)
        data = data if end is not None or cut else data + _EOI
    elif kind == PNG:
        cut = not _is_whole_png(data)
        data = data if cut or b"IEND" in data else data + _IEND
    if size is None:  # what has no size in its header might be of any
        raise ImageDataError(
            TRUNCATED if cut else MALFORMED, f"{len(data)} bytes that begin as {kind} and have no size in their header"
        )
    image, said = _imdecode(data, flags)
    faults = [line for line in said if (_JPEG_FAULT if kind == JPEG else _OTHER_FAULT).search(line)]
    if cut or any("remature end" in fault for fault in faults):
        raise ImageDataError(TRUNCATED, f"it ends too early, after {len(data)} bytes")
    if faults and not (end is not None and _is_padding(data, end, faults)):
        raise ImageDataError(MALFORMED, f"it is corrupt: {' '.join(faults[0].split())}")
    if image is None:
        raise ImageDataError(MALFORMED, f"{len(data)} bytes that are no image which OpenCV can decode")
    return image


def _foreign(data: bytes) -> ImageDataError:
    if name := other_format(data):
        return ImageDataError(UNSUPPORTED, f"it is {name}: JPEG, PNG and TIFF are read")
    return ImageDataError(MALFORMED, f"{len(data)} bytes that are neither JPEG, PNG nor TIFF")


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
    """Whether all that is wrong is that a camera filled up its buffer before the end marker, with one byte repeated.

    What a broken scan leaves behind is different bytes, or a few.
    """
    counts = [int(found[1]) for found in map(_EXTRANEOUS.match, faults) if found]
    return len(counts) == len(faults) and all(_is_fill(data[end - count : end]) for count in counts)


def _is_fill(extra: bytes) -> bool:
    return not any(extra) or (len(extra) >= _FILL and extra.count(extra[:1]) == len(extra))


def _is_whole_png(data: bytes) -> bool:
    """Whether all pixels are there; the end marker may be missing."""
    position, stream = 8, zlib.decompressobj()  # behind the signature
    width, height = image_size(data) or (0, 0)
    left = 2 * (8 * width + 8) * (height + 8)  # more bytes than any kind of PNG has pixels for
    try:
        while position + 12 <= len(data):
            (length,) = struct.unpack_from(">I", data, position)
            kind, following = data[position + 4 : position + 8], position + 12 + length
            if kind == b"IEND":
                return True
            if kind == b"IDAT" and b"IEND" not in data[-64:]:
                rest = data[position + 8 : following - 4]
                while rest and left > 0:  # by and by, since what comes out is not needed and may be large
                    left -= len(stream.decompress(rest, _BLOCK))
                    rest = stream.unconsumed_tail
            position = following
    except zlib.error:
        return True  # libpng says what is wrong
    return left <= 0 or (stream.eof and position <= len(data))


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
