"""Read rosbag2 folders and files: mcap or sqlite3, split, compressed with zstd, from any distribution since Foxy.

What the storage files hold is read; where metadata.yaml says something else, `BagReader.notes` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.reader import Reader
from rosbags.typesys.store import Typestore

from add_ros.bags.errors import BagError
from add_ros.bags.folder import METADATA, Folder, read_metadata
from add_ros.bags.storage import STORAGES, is_storage, reason

_ROS1 = "ROS 1 bags are converted with 'rosbags-convert --src IN.bag --dst OUT'"
_MEND = "Copy or record it again; 'mcap recover' mends truncated mcap files, 'ros2 bag reindex' lost metadata"


class BagReader(Reader):
    """rosbags' reader, of folders and files as `Folder` reads them."""

    STORAGE_PLUGINS = dict.fromkeys(("dir", ".mcap", ".db3", ".zstd"), Folder)
    storage: Folder

    @property
    def damage(self) -> str | None:
        """What is wrong with which file, as far as it has been read; None where nothing is."""
        return self.storage.damage

    @property
    def notes(self) -> list[str]:
        """What is odd about the bag though it can be read, a sentence each."""
        aside = [f"{len(topics)} topics are {form}, not ROS 2's CDR, and are not read: {', '.join(sorted(topics)[:5])}"
                 for form, topics in self._aside().items()]  # fmt: skip
        return self.storage.notes + aside

    def _aside(self) -> dict[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for topic, form in self.storage.aside.items():
            forms.setdefault(form, []).append(topic)
        return forms

    def refusal(self) -> str | None:
        """Why nothing of a whole bag can be read, None where something can, or where it is empty."""
        if self.connections or not self.storage.aside:
            return None
        form = " and ".join(sorted(self._aside()))
        mend = _ROS1 if form == "ros1" else "convert it with the tool that wrote it"
        return f"its messages are {form}, not ROS 2's CDR: {mend}"


@contextmanager
def open_bag(path: str | Path) -> Iterator[BagReader]:
    """An open reader of a bag folder, or of one .mcap or .db3 file.

    Truncated and damaged files open as well, and `raw_messages` gives what can be read of them; `notes` of the reader
    has what is unusual.

    Raises:
        BagError: where nothing can be read, or `path` is no bag.
    """
    path = Path(path)
    _check(path)
    try:
        reader = BagReader(path)
        reader.open()
    except ReaderError as error:
        raise BagError(f"cannot read the bag {path}: {str(error).rstrip('.')}") from error
    except Exception as error:  # a broken file makes the storage libraries raise nearly anything
        raise BagError(f"cannot read the bag {path}: {reason(error)}. {_MEND}") from error
    try:
        if reader.damage and not reader.connections:
            raise BagError(f"nothing can be read from the bag {path}: {reader.damage}. {_MEND}")
        if refusal := reader.refusal():
            raise BagError(f"cannot read the bag {path}: {refusal}")
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


def readable_messages(
    path: str | Path,
    types: Typestore,
    chosen: Callable[[Connection], bool],
    malformed: Callable[[str, str], None],
    damaged: Callable[[str], None],
) -> Iterator[tuple[Connection, int, Any]]:
    """The messages that can be decoded, in the order of time, up to where the bag breaks.

    Args:
        path: the bag, open while this is read.
        types: has the message definitions.
        chosen: which connections to read.
        malformed: is called with the topic of each message that cannot be decoded, and why.
        damaged: is called with why, where the bag breaks before its end.

    Returns:
        Iterator of (connection, nanoseconds, message).
    """
    with open_bag(path) as reader:
        source = raw_messages(reader, [connection for connection in reader.connections if chosen(connection)])
        while True:
            try:
                connection, time, data = next(source)
            except StopIteration:
                return
            except BagError as error:
                damaged(str(error))
                return
            try:
                message = decoded(types, connection, data)
            except BagError as error:
                malformed(connection.topic, str(error))
                continue
            yield connection, time, message


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
        raise BagError(f"no such bag: {path}")
    if path.is_file():
        if not is_storage(path):
            hint = f"; {_ROS1}" if {".bag", ".active"} & set(path.suffixes) else ""
            hint = f"; give its folder, {path.resolve().parent}" if path.name == METADATA else hint
            raise BagError(f"{path} is no bag: give a rosbag2 folder, or a file that ends in .mcap or .db3{hint}")
        return
    if any(map(is_storage, path.iterdir())):
        _check_storage(path)
        return
    bag1 = any(file.suffix == ".bag" for file in path.iterdir())
    below = sorted(
        folder.name for folder in path.iterdir() if folder.is_dir() and any(map(is_storage, folder.iterdir()))
    )
    hint = f"; {_ROS1}" if bag1 else f"; there are bags in it: {', '.join(below[:5])}" if below else ""
    lacks = ".mcap or .db3 files" if (path / METADATA).is_file() else f"{METADATA} nor .mcap or .db3 files"
    raise BagError(f"{path} is no bag: it has {'no ' if lacks[0] == '.' else 'neither '}{lacks}{hint}")


def _check_storage(path: Path) -> None:
    try:
        storage = (read_metadata(path) or {}).get("storage_identifier", "mcap")
    except ReaderError:
        return  # the reader says what is wrong with it
    if storage not in STORAGES:
        raise BagError(
            f"{path} has the storage '{storage}'; {' and '.join(STORAGES)} can be read here: "
            "convert it with 'ros2 bag convert' where its storage plugin is installed"
        )
