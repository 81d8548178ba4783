"""Create, write and close rosbags of either storage: what is written can be read, and what fails leaves no bag."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from add_ros.bags.errors import BagError

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

_FOREVER = QosTime(9223372036, 854775807)
_DEPTH = 10  # messages that a publisher keeps
# Of metadata.yaml. 9, the newest, writes the QoS profiles as a YAML list, which Humble's rosbag2 cannot read; every
# later distribution reads 8 as well.
_VERSION = 8


class _Sqlite3Writer(Sqlite3Writer):
    """rosbags makes a URI of the path: names with #, % or ? would put the file somewhere else."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        super().__init__(Path(quote(str(path.absolute()))), compression)
        self.path = path / f"{path.name}.db3"

    def commit(self) -> None:
        self.conn.commit()


class _McapWriter(McapWriter):
    def commit(self) -> None:
        if self.chunk.bio.tell():
            self.close_chunk()
        self.bio.flush()


class BagWriter(Writer):
    """rosbags' writer; rosbags itself keeps all of an sqlite3 file in one transaction, which a kill undoes."""

    STORAGE_PLUGINS: ClassVar = {StoragePlugin.SQLITE3: _Sqlite3Writer, StoragePlugin.MCAP: _McapWriter}

    def commit(self) -> None:
        """Hand all messages so far to the system: they can be read, whatever happens to this process."""
        self.storage.commit()


def offered_qos(reliable: bool = True, latched: bool = False) -> Qos:
    """The QoS profile of a publisher, as bags store it."""
    return Qos(
        QosHistory.KEEP_LAST,
        _DEPTH,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )


def open_writer(path: Path, storage: str, compress: bool = False) -> BagWriter:
    """A writer of a new bag folder.

    Args:
        path: the folder.
        storage: mcap or sqlite3.
        compress: whether mcap chunks, or sqlite3 messages, are compressed with zstd.

    Raises:
        BagError: where the path exists or cannot be created.
    """
    if path.exists():
        raise BagError(f"{path} exists already: name another bag, or remove it first")
    writer = BagWriter(path, version=_VERSION, storage_plugin=STORAGES[storage])
    if compress:
        mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
        writer.set_compression(mode, CompressionFormat.ZSTD)
    try:
        writer.open()
    except (OSError, WriterError, sqlite3.Error) as error:
        raise BagError(f"cannot create the bag {path}: {error}") from error
    return writer


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within it, errors of the storage become a BagError with the path of the bag."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise BagError(f"cannot write to {path}: {error}") from error


def finish(writer: Writer, path: Path, failed: bool, last: Callable[[], None] = lambda: None) -> None:
    """Close a bag, or remove it where that or something before has failed.

    Args:
        writer: of the bag.
        path: its folder.
        failed: whether something before has failed.
        last: called before closing, for what is written last.
    """
    whole = False
    try:
        if not failed:
            last()
            with naming(path):
                writer.close()
            whole = True
    finally:
        if not whole:
            _discard(writer, path)


def _discard(writer: Writer, path: Path) -> None:
    try:
        writer.abort()
    finally:
        shutil.rmtree(path, ignore_errors=True)
