"""Storage files that may be damaged: what can still be read is read, and `damage` has what is wrong.

rosbags refuses a file whose end is missing. These are its readers with a fallback: an mcap file is scanned chunk by
chunk, an sqlite3 file row by row, up to the break. An intact file is never given up for what only describes it: a
profile, a schema or a quality of service that rosbags does not know.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import metadata, storage_mcap, storage_sqlite3
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from add_model.metadata import LFS_POINTER
from add_ros.bags.sqlite_tables import ForeignTableError, require_tables
from add_ros.bags.unpacking import message_bytes, unlz4, unzstd

MAGIC = {"mcap": b"\x89MCAP0\r\n", "sqlite3": b"SQLite format 3\0"}
_FOOTER = 37  # bytes at the end of an mcap file: footer record and magic
UNDEFINED = MessageDefinition(MessageDefinitionFormat.NONE, "")
_FOREIGN = {
    b"#ROSBAG V": "a ROS 1 bag: convert it with 'rosbags-convert --src IN.bag --dst OUT'",
    LFS_POINTER: "a Git LFS pointer, not the file itself: run 'git lfs pull' where it comes from",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: give it the ending .zstd, or run 'zstd -d' on it",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"<": "a web page: the download failed",
}

Messages = Iterator[tuple[Connection, int, bytes]]


def parse_qos(text: Any) -> list[Qos]:
    """Profiles as rosbags reads them; none where they are not understood, since nothing but playing asks for them."""
    try:
        return metadata.parse_qos(text or [])
    except Exception:  # whatever stands there
        return []


def _message_definition(schema: Any) -> MessageDefinition:
    """As rosbags has it; none where a schema is of another encoding, such as protobuf or ros1msg."""
    try:
        return _rosbags_message_definition(schema)
    except KeyError:
        return UNDEFINED


# rosbags gives up on a whole file where one of these fails for one topic, and offers no other way to say otherwise.
_rosbags_message_definition = storage_mcap.get_msgdef
storage_mcap.get_msgdef = _message_definition
storage_mcap.parse_qos = storage_sqlite3.parse_qos = parse_qos
storage_mcap.DECOMPRESSORS |= {"lz4": unlz4, "zstd": unzstd}


class Mcap(McapReader):
    """An mcap file. `damage` says what is wrong with it, None while nothing is known to be; `notes` what is odd."""

    kind = "mcap"
    damage: str | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.notes: list[str] = []

    def open(self) -> None:
        """Open the file; where its index is missing, scan it for its topics."""
        try:
            super().open()
        except Exception as error:
            refuse_foreign(self.path, "mcap")
            self._reopen()
            if not self._read_summary():
                self._reopen()
                self.damage = _stumble(error)
                with suppress(Exception):
                    self.meta_scan()

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        """As rosbags has it, but a break ends the messages and is noted; without an index, in the order of writing."""
        try:
            indexed = self.chunks and not self.damage
            for connection, time, data in (super().messages if indexed else self.messages_scan)(
                connections, start, stop
            ):
                yield connection, time, message_bytes(data)
        except Exception as error:
            self.damage = self.damage or _stumble(error)

    def _reopen(self) -> None:
        if self.bio:
            self.bio.close()
        self.schemas.clear(), self.channels.clear(), self.chunks.clear(), self.connections.clear()
        self.bio = self.path.open("rb")
        head = self.bio.read(17)
        self.data_start = self.data_end = self.bio.seek(0, 2)
        if len(head) == 17:
            # Garbage may claim any length: then no data follow.
            self.data_start = min(17 + int.from_bytes(head[9:], "little"), self.data_end)
        self.bio.seek(self.data_start)

    def _read_summary(self) -> bool:
        """Read the index of a whole file, whichever profile its header names; False where the file is not whole."""
        if self.data_end < self.data_start + _FOOTER:
            return False
        self.bio.seek(-_FOOTER, 2)
        footer = self.bio.read()
        if footer[:1] != b"\x02" or footer[-8:] != MAGIC["mcap"]:
            return False
        (summary,) = struct.unpack_from("<Q", footer, 9)
        try:
            self.data_end = summary or self.data_end - _FOOTER
            if summary:
                self.read_index()
            if self.statistics is None or not self.channels:
                self.meta_scan()
        except Exception:  # as in open
            return False
        counts = self.statistics.channel_message_counts
        self.connections[:] = [c._replace(msgcount=counts.get(c.id, 0)) for c in self.connections]
        return True


class Sqlite3(Sqlite3Reader):
    """An sqlite3 file, likewise. Messages that are still in its -wal or -journal are read, too."""

    kind = "sqlite3"
    damage: str | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.notes: list[str] = []
        self._copy: TemporaryDirectory[str] | None = None

    def open(self) -> None:
        """Open the file; where a part of it is missing, find out which topics it has."""
        real = self.path
        logs = [log for log in (_beside(real, "-wal"), _beside(real, "-journal")) if _size(log)]
        readable = self._with_logs(logs) if logs else real
        try:
            self._open_whole(readable)
        except ForeignTableError:
            raise
        except Exception as error:
            refuse_foreign(real, "sqlite3")
            if readable != real and self._opens_alone(real):
                return
            self.damage = reason(error)
            self.path = readable
            with suppress(sqlite3.Error):
                self._open_rows()
        finally:
            self.path = real

    def close(self) -> None:
        """Close the file and drop what was copied of it."""
        if self.dbconn:  # not where it could not even be opened as damaged
            super().close()
        if self._copy:
            self._copy.cleanup()

    def _open_whole(self, path: Path) -> None:
        require_tables(path)
        # rosbags makes a URI of the path, and appends that the file never changes.
        self.path = Path(quote(str(path.resolve())))
        super().open()

    def _opens_alone(self, real: Path) -> bool:
        """Whether the file can be read without its logs, which are another's then: SQLite itself does not notice."""
        with suppress(Exception):
            self._open_whole(real)
            self.notes[-1:] = [f"{real.name}: the log beside it is not its own, and is not read"]
            return True
        return False

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        """As rosbags has it, but a break ends the messages and is noted; a damaged file gives the order of writing."""
        try:
            for connection, time, data in (self._rows if self.damage else super().messages)(connections, start, stop):
                yield connection, time, message_bytes(data)
        except Exception as error:
            self.damage = self.damage or reason(error)

    def _with_logs(self, logs: list[Path]) -> Path:
        """The path of a copy into which SQLite has taken what lies in the logs; the bag itself is left as it is."""
        names = " and ".join(log.name for log in logs)
        self._copy = TemporaryDirectory(prefix="add_ros_bag_")
        copy = Path(self._copy.name) / self.path.name
        try:
            for file in (self.path, *logs):
                shutil.copyfile(file, copy.parent / file.name)
            database = sqlite3.connect(copy)
            try:
                database.execute("PRAGMA journal_mode=DELETE").fetchall()
                database.execute("SELECT count(*) FROM sqlite_master").fetchall()
            finally:
                database.close()
        except (OSError, sqlite3.Error) as error:
            self._copy.cleanup()
            self._copy = None
            self.notes.append(
                f"{self.path.name}: what its recorder left in {names} is not read ({error}); "
                f"'sqlite3 {self.path.name} \"PRAGMA wal_checkpoint\"' takes it in"
            )
            return self.path
        self.notes.append(f"{self.path.name}: its recorder was killed; what it left in {names} is read, too")
        return copy

    def _open_rows(self) -> None:
        # stdlib's connection is closed as rosbags closes its own.
        self.dbconn = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        # Without this SQLite reads no page of a file that is shorter than its header says.
        self.dbconn.execute("PRAGMA writable_schema=ON")
        cursor = self.dbconn.execute("SELECT * FROM topics")
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            topic = dict(zip(columns, row, strict=True))
            extra = ConnectionExtRosbag2(topic["serialization_format"], parse_qos(topic.get("offered_qos_profiles")))
            self.connections.append(
                Connection(topic["id"], topic["name"], topic["type"], UNDEFINED, "", 0, extra, self)
            )

    def _rows(self, connections: Collection[Connection], start: int | None, stop: int | None) -> Messages:
        chosen = {connection.id: connection for connection in connections}
        for topic, time, data in self.dbconn.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
            if topic in chosen and (start is None or time >= start) and (stop is None or time < stop):
                yield chosen[topic], time, data


STORAGES: dict[str, type[Mcap] | type[Sqlite3]] = {"mcap": Mcap, "sqlite3": Sqlite3}
_ENDINGS = {".mcap": "mcap", ".db3": "sqlite3"}


def is_storage(path: Path) -> bool:
    """Whether a file is named as a storage file, compressed or not; macOS's ._ companions are none."""
    return not path.name.startswith(".") and Path(path.name.removesuffix(".zstd")).suffix in _ENDINGS


def storage_of(path: Path) -> Mcap | Sqlite3:
    """The reader of a file, by how it starts and, where that says nothing, by its ending; it is not open yet."""
    with path.open("rb") as file:
        head = file.read(16)
    kind = next((name for name, magic in MAGIC.items() if head.startswith(magic)), None)
    return STORAGES[kind or _ENDINGS[path.suffix]](path)


def reason(error: BaseException) -> str:
    """An error of a library as a short text."""
    return ": ".join(filter(None, [type(error).__name__, str(error).rstrip(".")]))


def _stumble(error: BaseException) -> str:
    """An error of the mcap reader for people: what is no error of its own comes of bytes that are no records."""
    told = reason(error)
    return told if isinstance(error, (ReaderError, OSError)) else f"its records are cut off or garbage ({told})"


def refuse_foreign(path: Path, storage: str) -> None:
    """Raise ReaderError where a file is something else altogether, and say what."""
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) >= 8 and not head.startswith(MAGIC[storage][:8]):
        what = next((text for start, text in _FOREIGN.items() if head.lstrip().startswith(start)), None)
        raise ReaderError(
            f"{path.name} is no {storage} file but {what}"
            if what
            else f"{path.name} is no {storage} file: it starts with {head[:8]!r}"
        )


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
