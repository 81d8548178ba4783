"""The frames of a run in a temporary file: a recording of hours needs no more memory than one of seconds."""

from __future__ import annotations

import os
import pickle
import weakref
from array import array
from collections.abc import Iterable, Sequence
from tempfile import TemporaryFile, gettempdir
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class KeptFrames(Sequence[T], Generic[T]):
    """A sequence that grows at its end. Each item is read anew whenever it is asked for: tell frames apart by index.

    The file lies where temporary files do (TMPDIR) and is gone with this object.

    Args:
        frames: the first ones.
    """

    def __init__(self, frames: Iterable[T] = ()) -> None:
        self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - closed in the next line
        weakref.finalize(self, self._file.close)
        self._starts = array("q", [0])
        for frame in frames:
            self.append(frame)

    def append(self, frame: T) -> None:
        """Add one at the end. Raises OSError where there is no room for it."""
        self._write(pickle.dumps(frame, pickle.HIGHEST_PROTOCOL))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """As of a list."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        place = range(len(self))[index]
        return pickle.loads(self._read(self._starts[place], self._starts[place + 1]))

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (self._starts, self._read(0, self._starts[-1]))

    def _write(self, data: bytes) -> None:
        start, rest = self._starts[-1], memoryview(data)
        try:
            while rest:
                rest = rest[os.pwrite(self._file.fileno(), rest, start + len(data) - len(rest)) :]
        except OSError as error:
            raise OSError(
                f"frames cannot be kept in {gettempdir()}, the folder of temporary files: {error.strerror}. Make room "
                "there, or name another folder by the environment variable TMPDIR"
            ) from error
        self._starts.append(start + len(data))

    def _read(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            parts.append(os.pread(self._file.fileno(), end - start, start))
            start += len(parts[-1])
        return b"".join(parts)


def _unpickled(starts: array, data: bytes) -> KeptFrames:
    kept: KeptFrames = KeptFrames()
    kept._write(data)
    kept._starts = starts
    return kept
