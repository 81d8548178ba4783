"""When the images of a sequence were taken: from a file of times, from file names, or at a nominal rate."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from training.data.text_files import read_text

NOMINAL_PERIOD = 100_000_000  # ns between images without times: 10 Hz, KITTI's rate
TIME_FILES = ("timestamps.txt", "times.txt")


class TimestampError(ValueError):
    """Times that cannot belong to the images; the message names file and line."""


def read_timestamps(path: str | Path) -> np.ndarray:
    """Read one time per line as int64 nanoseconds.

    A line is a date with a time in UTC (KITTI raw: 2011-09-26 13:02:25.594360375), a number of seconds with a decimal
    point or an exponent (KITTI odometry), or a whole number of nanoseconds. Raises TimestampError.
    """
    stamps = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            stamps.append(nanoseconds(line.strip()))
        except (ValueError, OverflowError):
            raise TimestampError(
                f"{path}, line {number}: {line.strip()!r} is not a time: a date and time, seconds such as 1.25, "
                "or whole nanoseconds are needed"
            ) from None
    return np.array(stamps, dtype=np.int64)


def stamps_of(images: list[Path], folders: list[Path]) -> tuple[np.ndarray, str]:
    """(nanoseconds (N,), where they come from) of images in order; times are looked for in `folders`, then in names.

    A file of times has one line per image or, where images are numbered and some are missing, is indexed by number.
    Raises TimestampError where the times don't fit the images, or don't increase.
    """
    files = (folder / name for folder in folders for name in TIME_FILES)
    path = next((file for file in files if file.is_file()), None)
    if path is not None:
        return _increasing(_pick(read_timestamps(path), images, path), images, str(path)), path.name
    if all(_is_time(image.stem) for image in images):
        return _increasing(np.array([nanoseconds(image.stem) for image in images]), images, "file names"), "file names"
    return nominal(len(images)), "10 Hz nominal"


def nominal(count: int) -> np.ndarray:
    """(count,) nanoseconds at 10 Hz, from 0."""
    return np.arange(count, dtype=np.int64) * NOMINAL_PERIOD


def _pick(stamps: np.ndarray, images: list[Path], path: Path) -> np.ndarray:
    if len(stamps) == len(images):
        return stamps
    if all(image.stem.isdecimal() and int(image.stem) < len(stamps) for image in images):
        return stamps[[int(image.stem) for image in images]]
    raise TimestampError(
        f"{path}: {len(stamps)} times for {len(images)} images; one line per image is needed (or remove the file)"
    )


def _increasing(stamps: np.ndarray, images: list[Path], source: str) -> np.ndarray:
    late = np.flatnonzero(np.diff(stamps) <= 0)
    if len(late):
        name = images[late[0] + 1].name
        raise TimestampError(
            f"{source}: the time of {name} ({stamps[late[0] + 1]} ns) is not later than that of the image before it; "
            f"{len(late)} such images"
        )
    return stamps


def _is_time(stem: str) -> bool:
    """EuRoC's nanoseconds (19 digits) or TUM's seconds (1305031102.175304)."""
    whole, _, fraction = stem.partition(".")
    return (len(whole) == 19 and whole.isdecimal() and not fraction) or (
        len(whole) == 10 and whole.isdecimal() and fraction.isdecimal()
    )


def nanoseconds(text: str) -> int:
    """A time as `read_timestamps` takes it, in nanoseconds. Raises ValueError or OverflowError for other text."""
    stamp = _parse(text)
    if not 0 <= stamp < 2**63:
        raise ValueError(text)
    return stamp


def _parse(text: str) -> int:
    if text.isdecimal():
        return int(text)
    if "e" in text.lower():
        return round(float(text) * 1e9)
    whole, _, fraction = text.partition(".")
    if fraction and not (fraction.isdecimal() and fraction.isascii()):
        raise ValueError(text)
    # As text: a float has no room for nanoseconds since 1970.
    rest = int(fraction[:9].ljust(9, "0")) if fraction else 0
    if ":" in whole:
        date = datetime.strptime(whole.replace("T", " "), "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        return int(date.timestamp()) * 1_000_000_000 + rest
    if whole.startswith("-"):
        raise ValueError(text)
    return int(whole) * 1_000_000_000 + rest
