"""Image files: reading them as RGB, and telling from a few bytes whether one is whole and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from add_model.image_decoding import MAX_PIXELS, ImageDataError, dark_range, decode
from add_model.image_headers import JPEG, PNG, image_format
from add_model.image_headers import image_size as size_in_header
from add_model.metadata import LFS_POINTER

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY_16 = b"\x10\0"  # a PNG's bits and colour type


class ImageError(ValueError):
    """An image file that cannot be read; the message names it."""


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG or JPEG file as (H, W, 3) uint8 RGB; greyscale and 16-bit colour files are converted.

    Raises ImageError where the file is missing, empty, broken or a depth image, that is grey with 16 bits.
    """
    with suppress(OSError), open(path, "rb") as file:
        head = file.read(26)
        if image_format(head) == PNG and head[24:26] == _GREY_16:
            raise ImageError(f"{path}: one channel of 16 bits, as depth images have; convert pictures to 8 bits")
    # The pixels as the calibration knows them: an EXIF orientation must not turn them.
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)


def dark_notes(paths: Sequence[Path]) -> list[str]:
    """A sentence where 16-bit pictures among these files seem to hold fewer bits, judged by three of them."""
    deep = [path for path in paths if path.suffix.lower() == ".png" and _is_deep(path)]
    few = [deep[i] for i in sorted({0, len(deep) // 2, len(deep) - 1})] if deep else []
    try:
        values = np.array([read_unchanged(path).max(initial=0) for path in few], dtype=np.uint16)
    except ImageError:
        return []  # whoever reads it says so
    said = dark_range(values, f"{len(deep)} images have 16 bits, such as {deep[0].name}, and") if deep else None
    return [said] if said else []


def _is_deep(path: Path) -> bool:
    """Whether a file is a PNG with 16 bits in more than one channel."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(26)
        return image_format(head) == PNG and head[24:25] == _GREY_16[:1] and head[24:26] != _GREY_16
    return False


def read_unchanged(path: str | Path) -> np.ndarray:
    """Read an image file with its own channels and bit depth. Raises ImageError."""
    return _decode(path, cv2.IMREAD_UNCHANGED)


def _decode(path: str | Path, mode: int) -> np.ndarray:
    try:
        encoded = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None
    if not encoded:
        raise ImageError(f"{path}: the file is empty")
    try:
        return decode(encoded, mode)
    except ImageDataError as error:
        raise ImageError(f"{path}: cannot be decoded as an image: {error}") from None


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels from the file's header; one that does not end as its kind does is decoded, too.

    Raises ImageError where the file is missing, empty, neither PNG nor JPEG, too large, or cut off.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if image_format(head) == JPEG:
                head += file.read(1 << 18)
            end = file.seek(0, 2)
            file.seek(max(0, end - (1 << 12)))
            tail = file.read()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None
    if not head:
        raise ImageError(f"{path}: the file is empty")
    kind = image_format(head)
    if kind == PNG and len(head) >= 33:
        ended = b"IEND" in tail
    elif kind == JPEG:
        ended = b"\xff\xd9" in tail
    elif head.startswith(LFS_POINTER):
        raise ImageError(f"{path}: a Git LFS pointer, not the image itself: run 'git lfs pull' where it comes from")
    else:
        raise ImageError(f"{path}: neither a PNG nor a JPEG file")
    size = size_in_header(head)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"{path}: {size[0]}x{size[1]} pixels, {MAX_PIXELS / 1e6:.0f} million are read at most")
    if ended and size is not None and 0 not in size:
        return size
    # Its end may be missing, or hidden behind other bytes, or a large preview lie before the size.
    try:
        image = read_unchanged(path)
    except ImageError:
        raise ImageError(f"{path}: the file is cut off or damaged") from None
    return image.shape[1], image.shape[0]
