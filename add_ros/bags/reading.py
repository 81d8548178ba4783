"""Read rosbag2 folders and files: mcap or sqlite3, split, compressed with zstd, from any distribution since Foxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys.store import Typestore

from add_ros.bags.errors import BagError

_STORAGE_SUFFIXES = (".mcap", ".db3")
_MEND = "Copy or record it again; 'mcap recover' mends truncated mcap files, 'ros2 bag reindex' lost metadata"


@contextmanager
def open_bag(path: str | Path) -> Iterator[Reader]:
    """An open reader of a bag folder, or of one .mcap or .db3 file. Raises BagError where it is none or broken."""
    path = Path(path)
    _check(path)
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # a broken file makes the storage libraries raise nearly anything
        raise BagError(f"cannot read the bag {path}: {_reason(error)}. {_MEND}") from error
    try:
        yield reader
    finally:
        reader.close()


def raw_messages(
    reader: Reader, connections: list[Connection] | None = None
) -> Iterator[tuple[Connection, int, bytes | memoryview]]:
    """(connection, nanoseconds, CDR bytes) in the order of time. Raises BagError where the bag ends or breaks early."""
    chosen = list(reader.connections if connections is None else connections)
    if not chosen:
        return
    source = reader.messages(connections=chosen)
    count = 0
    while True:
        try:
            item = next(source)
        except StopIteration:
            break
        except Exception as error:  # as above
            raise BagError(
                f"the bag {reader.path} is damaged: after {count} messages {_reason(error)}. {_MEND}"
            ) from error
        count += 1
        yield item
    expected = sum(connection.msgcount for connection in chosen)
    if count < expected:
        raise BagError(f"the bag {reader.path} is truncated: its index promises {expected} messages, it holds {count}")


def read(path: str | Path, types: Typestore, topics: set[str]) -> Iterator[tuple[str, int, Any]]:
    """(topic, nanoseconds, message) of the chosen topics, decoded, in the order of time.

    Raises BagError where the bag is broken, or a message does not fit its type.
    """
    with open_bag(path) as reader:
        chosen = [connection for connection in reader.connections if connection.topic in topics]
        for connection, time, data in raw_messages(reader, chosen):
            try:
                message = types.deserialize_cdr(data, connection.msgtype)
            except Exception as error:
                raise BagError(
                    f"{path}: a message of {connection.topic} is not a {connection.msgtype}: {_reason(error)}"
                ) from error
            yield connection.topic, time, message


def _check(path: Path) -> None:
    if not path.exists():
        raise BagError(f"there is no bag at {path}")
    if path.is_file():
        if path.suffix not in _STORAGE_SUFFIXES:
            raise BagError(f"{path} is no bag: give a rosbag2 folder, or a file that ends in .mcap or .db3")
        return
    if not (path / "metadata.yaml").is_file():
        storages = sorted(file.name for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES)
        if storages:
            raise BagError(
                f"{path} has no metadata.yaml: its recorder was killed. Give {path / storages[0]} itself, "
                f"or run 'ros2 bag reindex {path}'"
            )
        bag1 = any(file.suffix == ".bag" for file in path.iterdir())
        hint = "; ROS 1 bags are converted with 'rosbags-convert --src IN.bag --dst OUT'" if bag1 else ""
        raise BagError(f"{path} is no bag: it has neither metadata.yaml nor .mcap or .db3 files{hint}")


def _reason(error: BaseException) -> str:
    return ": ".join(filter(None, [type(error).__name__, str(error).rstrip(".")]))
