"""Read rosbag2 folders and files: mcap or sqlite3, split, compressed with zstd, from any distribution since Foxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import Connection
from rosbags.typesys.store import Typestore

from add_ros.bags.errors import BagError
from add_ros.bags.storage import BagReader, reason

_STORAGE_SUFFIXES = (".mcap", ".db3")
_STORAGES = ("mcap", "sqlite3")
_MEND = "Copy or record it again; 'mcap recover' mends truncated mcap files, 'ros2 bag reindex' lost metadata"


@contextmanager
def open_bag(path: str | Path) -> Iterator[BagReader]:
    """An open reader of a bag folder, or of one .mcap or .db3 file.

    Truncated and damaged files open as well, and `raw_messages` gives what can be read of them.

    Raises:
        BagError: where nothing can be read, or `path` is no bag.
    """
    path = Path(path)
    _check(path)
    try:
        reader = BagReader(path)
        reader.open()
    except Exception as error:  # a broken file makes the storage libraries raise nearly anything
        raise BagError(f"cannot read the bag {path}: {reason(error)}. {_MEND}") from error
    try:
        if reader.damage and not reader.connections:
            raise BagError(f"nothing can be read from the bag {path}: {reader.damage}. {_MEND}")
        yield reader
    finally:
        reader.close()


def raw_messages(
    reader: BagReader, connections: list[Connection] | None = None
) -> Iterator[tuple[Connection, int, bytes | memoryview]]:
    """All messages that can be read, in the order of time.

    Args:
        reader: an open bag.
        connections: those to read, None for all.

    Returns:
        Iterator of (connection, nanoseconds, CDR bytes).

    Raises:
        BagError: after the last one where a file is damaged, or the bag has fewer messages than its index.
    """
    chosen = list(reader.connections if connections is None else connections)
    count = 0
    if chosen:  # rosbags takes none for all
        try:
            for item in reader.messages(connections=chosen):
                count += 1
                yield item
        except Exception as error:  # as above
            raise BagError(
                f"the bag {reader.path} is damaged: after {count} messages {reason(error)}. {_MEND}"
            ) from error
    if reader.damage:
        raise BagError(
            f"the bag {reader.path} is damaged: {count} messages of the chosen topics could be read, then "
            f"{reader.damage}. {_MEND}"
        )
    expected = sum(connection.msgcount for connection in chosen)
    if count < expected:
        raise BagError(f"the bag {reader.path} is truncated: its index lists {expected} messages, it has {count}")


def read(path: str | Path, types: Typestore, topics: set[str]) -> Iterator[tuple[str, int, Any]]:
    """The messages of some topics, decoded, in the order of time.

    Args:
        path: the bag.
        types: has the message classes.
        topics: those to read.

    Returns:
        Iterator of (topic, nanoseconds, message).

    Raises:
        BagError: where the bag is broken, after all that could be read, or where a message does not fit its type.
    """
    with open_bag(path) as reader:
        chosen = [connection for connection in reader.connections if connection.topic in topics]
        for connection, time, data in raw_messages(reader, chosen):
            yield connection.topic, time, decoded(types, connection, data)


def decoded(types: Typestore, connection: Connection, data: bytes | memoryview) -> Any:
    """The message in CDR bytes. Raises BagError where they don't fit the connection's type."""
    try:
        return types.deserialize_cdr(data, connection.msgtype)
    except Exception as error:
        raise BagError(
            f"a message of {connection.topic} is not a {connection.msgtype} as it is defined here: {reason(error)}"
        ) from error


def _check(path: Path) -> None:
    if not path.exists():
        raise BagError(f"there is no bag at {path}")
    if path.is_file():
        if path.suffix not in _STORAGE_SUFFIXES:
            raise BagError(f"{path} is no bag: give a rosbag2 folder, or a file that ends in .mcap or .db3")
        return
    if (path / "metadata.yaml").is_file():
        _check_storage(path)
    else:
        storages = sorted(file.name for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES)
        if storages:
            raise BagError(
                f"{path} has no metadata.yaml: its recorder was killed. Give {path / storages[0]} itself, "
                f"or run 'ros2 bag reindex {path}'"
            )
        bag1 = any(file.suffix == ".bag" for file in path.iterdir())
        hint = "; ROS 1 bags are converted with 'rosbags-convert --src IN.bag --dst OUT'" if bag1 else ""
        raise BagError(f"{path} is no bag: it has neither metadata.yaml nor .mcap or .db3 files{hint}")


def _check_storage(path: Path) -> None:
    try:
        document = yaml.safe_load((path / "metadata.yaml").read_text(encoding="utf-8", errors="replace"))
        storage = document["rosbag2_bagfile_information"]["storage_identifier"]
    except (OSError, yaml.YAMLError, TypeError, KeyError):
        return  # the reader says what is wrong with it
    if storage not in _STORAGES:
        raise BagError(
            f"{path} has the storage '{storage}'; {' and '.join(_STORAGES)} can be read here: "
            "convert it with 'ros2 bag convert' where its storage plugin is installed"
        )
