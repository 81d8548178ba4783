"""A rosbag2 folder or file as rosbags' readers are: the storage files are the truth, metadata.yaml describes them.

Where the two differ in topics, types, counts, storage or file names, what the files hold is read and the difference is
noted. The quality of service is metadata.yaml's where it has one, since `ros2 bag play` goes by that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata

from add_ros.bags.storage import UNDEFINED, Mcap, Messages, Sqlite3, is_storage, parse_qos, reason, storage_of
from add_ros.bags.unpacking import unpack
from training.data.bounded_yaml import load_yaml
from training.data.text_files import decode_text

METADATA = "metadata.yaml"
_CDR = "cdr"


class Folder:
    """The storage files of a folder, or one file, read one after the other.

    connections: one for each topic and type whose messages are CDR
    aside:       topics with messages in another serialisation -> that
    damage:      what is wrong with which file, None while nothing is known to be
    notes:       where metadata.yaml and the files differ, a sentence each
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.metadata = ReaderMetadata(0, 2**63 - 1, 0, 0, None, None, None, None)
        self.storages: list[Mcap | Sqlite3] = []
        self.aside: dict[str, str] = {}
        self._notes: list[str] = []
        self._broken: list[str] = []
        self._stack = ExitStack()

    @property
    def damage(self) -> str | None:
        found = [f"{storage.path.name}: {storage.damage}" for storage in self.storages if storage.damage]
        return "; ".join(self._broken + found) or None

    @property
    def notes(self) -> list[str]:
        return self._notes + [note for storage in self.storages for note in storage.notes]

    def open(self) -> None:
        """Open all files. Raises ReaderError where none of them is a storage file; nothing stays open then."""
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        information = read_metadata(self.path) if self.path.is_dir() else None
        refused: Exception | None = None
        for path in self._files(information):
            try:
                storage = storage_of(self._unpacked(path, information or {}))
                storage.open()
            except (ReaderError, OSError) as error:
                refused = refused or error
                self._broken.append(f"{path.name}: {str(error).rstrip('.')}")
                continue
            self._stack.callback(storage.close)
            self.storages.append(storage)
            told = (information or {}).get("storage_identifier", storage.kind)
            if told != storage.kind:
                self._notes.append(f"{METADATA} has {path.name} as {told}, it is {storage.kind} and read as that")
        if refused and not self.storages:
            raise refused
        self._join(_topics(information))

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        """(connection, nanoseconds, CDR bytes) of the chosen connections, file by file."""
        chosen = {(connection.topic, connection.msgtype): connection for connection in connections}
        for storage in self.storages:
            ours = {c.id: chosen[c.topic, _ros_name(c.msgtype)] for c in storage.connections if self._is_in(c, chosen)}
            own = [c for c in storage.connections if c.id in ours]
            for connection, time, data in storage.messages(own, start, stop) if own else ():
                yield ours[connection.id], time, data

    @staticmethod
    def _is_in(connection: Connection, chosen: dict[tuple[str, str], Connection]) -> bool:
        return (connection.topic, _ros_name(connection.msgtype)) in chosen and _is_cdr(connection)

    def _files(self, information: dict[str, Any] | None) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        there = sorted(filter(is_storage, self.path.iterdir()), key=_natural)
        if information is None:
            self._notes.append(
                f"{self.path.name} has no readable {METADATA}: its recorder was killed; read are "
                f"{', '.join(file.name for file in there)}"
            )
            return there
        paths = information.get("relative_file_paths")
        listed = [self.path / re.split(r"[\\/]", str(name))[-1] for name in (paths if isinstance(paths, list) else [])]
        missing, others = [f for f in listed if not f.is_file()], [f for f in there if f not in listed]
        if not missing:
            if others:
                self._notes.append(f"{METADATA} does not list {_names(others)}: not read")
            return listed
        if others:
            self._notes.append(f"{METADATA} lists {_names(missing)}, which is not there: {_names(others)} read instead")
            return [file for file in listed if file not in missing] + others
        self._broken.append(f"{_names(missing)} is missing, which {METADATA} lists")
        return [file for file in listed if file not in missing]

    def _unpacked(self, path: Path, information: dict[str, Any]) -> Path:
        mode, form = (str(information.get(f"compression_{what}") or "") for what in ("mode", "format"))
        if mode.lower() in ("file", "message") and form != "zstd":
            raise ReaderError(f"compressed with '{form}', zstd can be read here: 'ros2 bag convert' changes that")
        if path.suffix != ".zstd":
            return path
        return unpack(path, self._stack.enter_context(TemporaryDirectory(prefix="add_ros_bag_")))

    def _join(self, described: dict[str, list[dict[str, Any]]]) -> None:
        """One connection for each topic and type of the files, with what metadata.yaml says of it."""
        parts: dict[tuple[str, str], list[Connection]] = {}
        for connection in (c for storage in self.storages for c in storage.connections):
            if _is_cdr(connection):
                parts.setdefault((connection.topic, _ros_name(connection.msgtype)), []).append(connection)
            else:
                self.aside[connection.topic] = connection.ext.serialization_format
        for (topic, msgtype), same in parts.items():
            told = described.get(topic, [])
            of_type = [entry for entry in told if _type_of(entry) == msgtype]
            self._add(topic, msgtype, same, (of_type or told or [{}])[-1])
        known = {topic for topic, _ in parts} | self.aside.keys()
        for topic, told in described.items():
            if topic not in known:
                self._add(topic, _type_of(told[-1]), [], told[-1])
        if not self.damage and described:
            self._compare(described)

    def _add(self, topic: str, msgtype: str, same: list[Connection], told: dict[str, Any]) -> None:
        count = sum(connection.msgcount for connection in same)
        if self.damage:  # a file without its index does not know
            count = max(count, told.get("message_count", 0))
        qos = parse_qos(told.get("offered_qos_profiles"))
        qos = qos or [profile for connection in same for profile in connection.ext.offered_qos_profiles]
        digest = next((c.digest for c in same if c.digest), None) or told.get("type_description_hash") or ""
        definition = next((c.msgdef for c in same if c.msgdef.format != MessageDefinitionFormat.NONE), UNDEFINED)
        extra = ConnectionExtRosbag2(_CDR, qos)
        number = len(self.connections) + 1
        self.connections.append(Connection(number, topic, msgtype, definition, digest, count, extra, self))

    def _compare(self, described: dict[str, list[dict[str, Any]]]) -> None:
        held: Counter[str] = Counter()
        for connection in (c for storage in self.storages for c in storage.connections):
            held[connection.topic] += connection.msgcount
        told = Counter(
            {topic: sum(entry["message_count"] for entry in entries) for topic, entries in described.items()}
        )
        if odd := sorted(topic for topic in held.keys() | told.keys() if held[topic] != told[topic]):
            shown = [f"{topic} {told[topic]} and {held[topic]}" for topic in odd[:5]]
            listed = ", ".join([*shown, "..."] if len(odd) > 5 else shown)
            self._notes.append(
                f"{METADATA} and the files differ in the number of messages ({listed}): "
                "what the files hold is read; where a .db3 was copied without its -wal, copy that, too"
            )
        for connection in self.connections:
            entries = [entry for entry in described.get(connection.topic, []) if "type" in entry]
            if held[connection.topic] and entries and connection.msgtype not in map(_type_of, entries):
                self._notes.append(
                    f"{METADATA} has {connection.topic} as {entries[-1]['type']}, the files as {connection.msgtype}: "
                    "read as the latter"
                )


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """What metadata.yaml says, None where there is none or it is empty. Raises ReaderError on something else."""
    path = folder / METADATA
    try:
        document = load_yaml(decode_text(path.read_bytes().strip(b"\0"), "replace"))
        information = None if document is None else document["rosbag2_bagfile_information"]
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise ReaderError(f"{METADATA} is no rosbag2 metadata ({' '.join(reason(error).split())})") from None
    if information is not None and not isinstance(information, dict):
        raise ReaderError(f"{METADATA} is no rosbag2 metadata: rosbag2_bagfile_information is {information!r}")
    return information


def _topics(information: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Topic -> its metadata with its message_count, for each of its types, of what can be understood."""
    entries = (information or {}).get("topics_with_message_count")
    topics: dict[str, list[dict[str, Any]]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(told := entry.get("topic_metadata"), dict) and "name" in told:
            count = entry.get("message_count")
            described = told | {"message_count": count if isinstance(count, int) else 0}
            topics.setdefault(str(told["name"]), []).append(described)
    return topics


def _type_of(described: dict[str, Any]) -> str:
    return _ros_name(str(described.get("type", "")))


def _is_cdr(connection: Connection) -> bool:
    return connection.ext.serialization_format in (_CDR, "")


def _ros_name(msgtype: str) -> str:
    """A type's name with its folder: other writers than rosbag2 leave it out."""
    package, _, name = msgtype.partition("/")
    return f"{package}/msg/{name}" if name and "/" not in name else msgtype


def _natural(path: Path) -> list[tuple[int, str]]:
    """bag_10 after bag_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files)
