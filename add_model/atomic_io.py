"""Files that are whole or not there, whenever the process is killed or the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from add_model.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, data: bytes | memoryview | str) -> None:
    """Replace a file by one with these bytes, or this text in UTF-8, and make its folder where there is none.

    At any moment it is the old one or the new one, and survives a crash. Raises OutputError where the disk is full or
    the file can't be written; the old file stays.
    """
    _replace(path, data, durable=True)


def write_quickly(path: Path, data: bytes | memoryview | str) -> None:
    """As `write_atomically`, for thousands of files that can be made again: it does not wait for the disk.

    They are whole when the process is killed; after a failure of power the last ones may be empty.
    """
    _replace(path, data, durable=False)


def _replace(path: Path, data: bytes | memoryview | str, durable: bool) -> None:
    data = data.encode() if isinstance(data, str) else data
    # In the same folder, since a rename across file systems is a copy. What a killed process left is overwritten.
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise write_error(path, error, len(data)) from error


def require_writable(path: Path) -> None:
    """Make the folder of a file that long work is to write. Raises OutputError where the file can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error, 0) from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: it is a folder, or its folder is read-only")


def write_error(path: Path, error: OSError, size: int) -> OutputError:
    """What to tell where writing `size` bytes to a file failed; its errno is that of the error."""
    said = f"cannot write {path}: {error.strerror or error}"
    if error.errno in FULL:
        free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
        said = (
            f"the disk is full: {path} needs {size / 1e6:.1f} MB and {free / 1e6:.1f} MB are free; make room. What was "
            "there by that name is as it was"
        )
    told = OutputError(said)
    told.errno = error.errno
    return told


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only once its folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
