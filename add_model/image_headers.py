"""What the first bytes of an encoded image say of it: its format and its size. Nothing is decoded."""

from __future__ import annotations

import struct

JPEG, PNG, TIFF = "JPEG", "PNG", "TIFF"
_STARTS = {JPEG: (b"\xff\xd8\xff",), PNG: (b"\x89PNG\r\n\x1a\n",), TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")}
_OTHERS = {
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"v/1\x01": "OpenEXR",
    b"\x59\xa6\x6a\x95": "Sun raster",
    **{b"P%d" % i: "PNM" for i in range(1, 8)},
    b"Pf": "PFM",
    b"PF": "PFM",
}
_SIZE_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_WIDTH, _HEIGHT = 256, 257  # TIFF's tags
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # TIFF's types of whole numbers
_MOST_TAGS = 4096


def image_format(data: bytes) -> str | None:
    """JPEG, PNG or TIFF by how the bytes start; None for all else."""
    return next((name for name, starts in _STARTS.items() if data.startswith(starts)), None)


def other_format(data: bytes) -> str | None:
    """The name of a format that is known but not read here."""
    if data[4:12] in (b"ftypavif", b"ftypheic", b"ftypmif1"):
        return "AVIF or HEIF"
    return next((name for start, name in _OTHERS.items() if data.startswith(start)), None)


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) as the header says; None where the bytes are cut off before it, or of another format."""
    kind = image_format(data)
    try:
        if kind == PNG:
            return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else None
        if kind == JPEG:
            return _jpeg_size(data)
        return _tiff_size(data) if kind == TIFF else None
    except struct.error:
        return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Of the first frame header; bytes between the segments are passed over, as libjpeg does."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 1 < len(data):
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        elif marker == 0 or marker in _ALONE:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """Of the first directory, of classic TIFF and BigTIFF."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(f"{order}Q", data, 8) if big else struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)
    first, length, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
    sides: dict[int, int] = {}
    for entry in range(first, first + min(count, _MOST_TAGS) * length, length):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (_WIDTH, _HEIGHT) and kind in _NUMBERS:
            (sides[tag],) = struct.unpack_from(f"{order}{_NUMBERS[kind]}", data, entry + value)
    return (sides[_WIDTH], sides[_HEIGHT]) if len(sides) == 2 else None
