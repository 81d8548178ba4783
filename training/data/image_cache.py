"""Decoded images on disk, without loss: inflating a PNG takes most of the time that a loader has for an image.

`images.bin` has one image after the other: differences between its rows, which are small, in zstd at its fastest. That
is as large as the PNG and read five times as fast. It is mapped, so that all loader processes share what the system
holds of it in memory. `images.tsv` says which image is where: a row is added once its image is written, so that a
killed process loses one image at most, and what it wrote after the last row is overwritten.
"""

from __future__ import annotations

import fcntl
import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from add_model.atomic_io import write_error
from add_model.cores import usable_cores
from training.data.images import read_image
from training.errors import TrainingError
from training.progress_bar import counted

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IMAGES, INDEX = "images.bin", "images.tsv"
_OPTIONS = {zstd.CompressionParameter.compression_level: 1, zstd.CompressionParameter.checksum_flag: 1}
_AHEAD = 4  # images for each core that are encoded before the first of them is written


class Entry(NamedTuple):
    """Where an image is in `images.bin`, and of which file: its size in bytes and mtime in nanoseconds tell."""

    offset: int
    length: int
    height: int
    width: int
    size: int
    mtime: int

    @property
    def end(self) -> int:
        """Where the next image begins."""
        return self.offset + self.length


class ImageCache:
    """The images of a folder that may hold those of several data sets; they are added by `add`, for all at once.

    It goes to other processes as it is: each maps the file for itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[str, Entry] = {}
        self._mapped: mmap.mmap | None = None

    def add(self, paths: Sequence[Path]) -> None:
        """Decode the images that the folder does not have as they are now, several at a time; others are left alone.

        Only one process does this at a time; the next one finds what the first has added.

        Raises:
            TrainingError: where the folder can't be written, as when the disk is full; what was written stays.
            ImageError: where an image can't be read.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / ".lock"):
                self._entries = _read_index(self.folder)
                missing = [path for path in paths if not self._has(path) and str(path).isprintable()]
                if missing:
                    self._append(missing)
        except OSError as error:
            raise TrainingError(str(write_error(self.folder / IMAGES, error, 0))) from error
        self._mapped = None

    def read(self, path: Path) -> np.ndarray:
        """The image (H, W, 3) uint8 RGB of a file, as `read_image` has it, which reads what the cache lacks."""
        entry = self._entries.get(str(path.absolute()))
        if entry is not None:
            if self._mapped is None:
                with (self.folder / IMAGES).open("rb") as file:
                    self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with suppress(zstd.ZstdError, ValueError):
                return decoded(self._mapped[entry.offset : entry.end], entry.height, entry.width)
        return read_image(path)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_mapped": None}

    def _has(self, path: Path) -> bool:
        entry, found = self._entries.get(str(path.absolute())), path.stat()
        return entry is not None and (entry.size, entry.mtime) == (found.st_size, found.st_mtime_ns)

    def _append(self, paths: Sequence[Path]) -> None:
        end = max((entry.end for entry in self._entries.values()), default=0)
        made = counted(_in_order(_encoded_file, paths), "images", "decode", len(paths))
        with (self.folder / IMAGES).open("ab") as images, (self.folder / INDEX).open("ab") as index:
            images.truncate(end)
            for path, (blob, *rest) in zip(paths, made, strict=True):
                name, entry = str(path.absolute()), Entry(end, len(blob), *rest)
                images.write(blob)
                images.flush()
                index.write(("\t".join(map(str, [*entry, name])) + "\n").encode(errors="surrogateescape"))
                index.flush()
                self._entries[name], end = entry, entry.end


def encoded(image: np.ndarray) -> bytes:
    """An image (H, W, 3) uint8, compressed; `decoded` is the inverse."""
    rows = image.copy()
    rows[1:] -= image[:-1]
    return zstd.compress(rows.tobytes(), options=_OPTIONS)


def decoded(blob: bytes, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8. Raises ZstdError or ValueError for what `encoded` did not make of such an image."""
    image = np.frombuffer(bytearray(zstd.decompress(blob)), np.uint8).reshape(height, width, 3)
    for above, row in pairwise(image):  # faster than np.cumsum, whose sums go down the columns
        np.add(row, above, out=row)
    return image


def _encoded_file(path: Path) -> tuple[bytes, int, int, int, int]:
    found, image = path.stat(), read_image(path)
    return encoded(image), *image.shape[:2], found.st_size, found.st_mtime_ns


def _in_order(function: Callable, items: Sequence) -> Iterator:
    """What a function makes of each item, some of them at a time and ahead: decoding and zstd run beside each other."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        left = iter(items)
        begun = [pool.submit(function, item) for item in islice(left, _AHEAD * usable_cores())]
        try:
            while begun:
                yield begun.pop(0).result()
                begun += [pool.submit(function, item) for item in islice(left, 1)]
        finally:
            pool.shutdown(cancel_futures=True)


def _read_index(folder: Path) -> dict[str, Entry]:
    """The rows up to the first that is broken; what follows that is cut off, so that rows can be added."""
    index, images, entries, end = folder / INDEX, folder / IMAGES, {}, 0
    if not index.is_file() or not images.is_file():
        for file in (index, images):  # not emptied: another training may have it mapped
            file.unlink(missing_ok=True)
        return {}
    size = images.stat().st_size
    with index.open("r+b") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                *numbers, name = line.decode(errors="surrogateescape").removesuffix("\n").split("\t")
                entry = Entry(*map(int, numbers))
                if line.endswith(b"\n") and entry.end <= size:
                    entries[name], end = entry, end + len(line)
                    continue
            break
        file.truncate(end)
    return entries


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
