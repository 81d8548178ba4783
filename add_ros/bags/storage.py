"""Storage files that may be damaged: what can still be read is read, and `damage` has what is wrong.

rosbags refuses a file whose end is missing. These are its readers with a fallback: an mcap file is scanned chunk by
chunk, an sqlite3 file row by row, up to the break.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import parse_qos
from rosbags.rosbag2.reader import DirectoryReader, Reader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

_MAGIC = {"mcap": b"\x89MCAP0\r\n", "sqlite3": b"SQLite format 3\0"}

Messages = Iterator[tuple[Connection, int, bytes]]


class Mcap(McapReader):
    """An mcap file. `damage` is what is wrong with it, as far as it has been read, None for nothing."""

    damage: str | None = None

    def open(self) -> None:
        """Open the file; where its index is missing, scan it for its topics."""
        try:
            super().open()
        except Exception as error:
            _refuse_foreign(self.path, "mcap")
            self.damage = reason(error)
            self.schemas.clear(), self.channels.clear(), self.chunks.clear(), self.connections.clear()
            self.bio = self.path.open("rb")
            head = self.bio.read(17)
            self.data_start = self.data_end = self.bio.seek(0, 2)
            if len(head) == 17:
                self.data_start = 17 + int.from_bytes(head[9:], "little")
                self.bio.seek(self.data_start)
                with suppress(Exception):
                    self.meta_scan()

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        """As rosbags has it, but a break ends the messages and is noted."""
        try:
            yield from (self.messages_scan if self.damage else super().messages)(connections, start, stop)
        except Exception as error:
            self.damage = self.damage or reason(error)


class Sqlite3(Sqlite3Reader):
    """An sqlite3 file, likewise."""

    damage: str | None = None

    def open(self) -> None:
        """Open the file; where a part of it is missing, find out which topics it has."""
        try:
            super().open()
        except Exception as error:
            _refuse_foreign(self.path, "sqlite3")
            self.damage = reason(error)
            # stdlib's connection is closed as rosbags closes its own.
            self.dbconn = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
            # Without this SQLite reads no page of a file that is shorter than its header says.
            self.dbconn.execute("PRAGMA writable_schema=ON")
            undefined = MessageDefinition(MessageDefinitionFormat.NONE, "")
            with suppress(sqlite3.Error):
                rows = self.dbconn.execute(
                    "SELECT id, name, type, serialization_format, offered_qos_profiles FROM topics"
                )
                self.connections = [
                    Connection(i, name, kind, undefined, "", 0, ConnectionExtRosbag2(form, parse_qos(qos)), self)
                    for i, name, kind, form, qos in rows
                ]

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        """As rosbags has it, but a break ends the messages and is noted; a damaged file gives the order of writing."""
        try:
            yield from (self._rows if self.damage else super().messages)(connections, start, stop)
        except Exception as error:
            self.damage = self.damage or reason(error)

    def _rows(self, connections: Collection[Connection], start: int | None, stop: int | None) -> Messages:
        chosen = {connection.id: connection for connection in connections}
        for topic, time, data in self.dbconn.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
            if topic in chosen and (start is None or time >= start) and (stop is None or time < stop):
                yield chosen[topic], time, data


class _Folder(DirectoryReader):
    STORAGE_PLUGINS = {"mcap": Mcap, "sqlite3": Sqlite3}  # noqa: RUF012


class BagReader(Reader):
    """rosbags' reader of folders and files on these storages."""

    STORAGE_PLUGINS = {"dir": _Folder, ".mcap": Mcap, ".db3": Sqlite3}  # noqa: RUF012

    @property
    def damage(self) -> str | None:
        """What is wrong with which file, as far as it has been read; None where nothing is."""
        files = getattr(self.storage, "storages", [self.storage])
        found = [f"{file.path.name}: {file.damage}" for file in files if file.damage]
        return "; ".join(found) or None


def reason(error: BaseException) -> str:
    """An error of a library as a short text."""
    return ": ".join(filter(None, [type(error).__name__, str(error).rstrip(".")]))


def _refuse_foreign(path: Path, storage: str) -> None:
    with path.open("rb") as file:
        head = file.read(16)
    other = next((name for name, magic in _MAGIC.items() if name != storage and head.startswith(magic)), None)
    if other:
        raise ReaderError(
            f"{path.name} is no {storage} file but {other}: give it the ending and the storage_identifier of {other}"
        )
    if len(head) >= 8 and not head.startswith(_MAGIC[storage][:8]):
        raise ReaderError(f"{path.name} is no {storage} file: it starts with {head[:8]!r}")
