"""What is compressed in bags, unpacked within bounds: a few kilobytes can hold gigabytes and fill the memory."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path

import lz4.frame
from rosbags.rosbag2.errors import ReaderError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_BYTES = 1 << 29  # of one message or chunk; the largest image that is read has 300 MB
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20
_SPARE = 1 << 28  # bytes of the disk that are left to others


def message_bytes(data: bytes) -> bytes:
    """A message's CDR bytes. CDR starts with 0, zstd with its own mark: rosbag2 compresses message by message, too.

    Raises ReaderError where they are more than `MOST_BYTES`, or cut off.
    """
    return unzstd(data) if data[:4] == _ZSTD else data


def unzstd(data: bytes, size: int = 0) -> bytes:
    """What zstd has packed. Raises ReaderError as `message_bytes` does. size: as announced, 0 where nothing is."""
    return _within(zstd.ZstdDecompressor().decompress(data, MOST_BYTES + 1), size)


def unlz4(data: bytes, size: int = 0) -> bytes:
    """The same for a frame of lz4."""
    return _within(lz4.frame.LZ4FrameDecompressor().decompress(data, MOST_BYTES + 1), size)


def unpack(path: Path, folder: str) -> Path:
    """The file that a .zstd file holds, unpacked into a folder; as much of it as there is.

    Raises ReaderError where the folder's disk has no room for it.
    """
    out = Path(folder) / path.stem
    with path.open("rb") as packed, out.open("wb") as file, suppress(EOFError, zstd.ZstdError):
        source = zstd.open(packed, "rb")
        while block := source.read(_BLOCK):
            if shutil.disk_usage(folder).free < _SPARE:
                raise ReaderError(
                    f"{path.name} unpacks to more than {file.tell() / 1e9:.1f} GB, for which {folder} has no room: set "
                    "TMPDIR to a larger disk"
                )
            file.write(block)
    return out


def _within(unpacked: bytes, size: int) -> bytes:
    if len(unpacked) > MOST_BYTES or size > MOST_BYTES:
        raise ReaderError(
            f"a message or chunk unpacks to more than {MOST_BYTES >> 20} MB: it is broken, or made to fill the memory"
        )
    return unpacked
