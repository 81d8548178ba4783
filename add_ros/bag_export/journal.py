"""The table of a data set's frames, `frames.tsv`: where each came from, and what was passed over and why.

It is the export's memory as well. A row is written once the files of its frame are, and rows stand in the order of the
recording, so that after a crash everything up to the last row is decided and nothing behind it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from add_model.atomic_io import write_atomically
from add_ros.bags.errors import BagError

TABLE, SETTINGS = "frames.tsv", "export.json"
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One frame.

    id: of its files; '' where the frame was passed over
    bag: number of the recording, from 0, as export.json lists them
    topic, frame_id: of the image
    stamp, scan_stamp: nanoseconds; scan_stamp None where there is no scan
    points, objects: how many there are; objects None where the frame has no labels
    up: (x, y, z) unit vector in the camera's frame that points up, None where it is not known
    note: why it was passed over, or has no scan or labels
    """

    id: str
    bag: int
    topic: str
    frame_id: str
    stamp: int
    scan_stamp: int | None = None
    points: int | None = None
    objects: int | None = None
    up: tuple[float, float, float] | None = None
    note: str = ""

    def line(self) -> str:
        """The row as text."""
        values = (getattr(self, field.name) for field in fields(self))
        texts = (" ".join(f"{v:.6f}" for v in value) if isinstance(value, tuple) else str(value) for value in values)
        cells = (_NONE if text in ("", "None") else " ".join(text.split()) for text in texts)
        return "\t".join(cells) + "\n"

    @classmethod
    def of(cls, line: str) -> Row:
        """The inverse of `line`. Raises ValueError where it is none."""
        cells = [None if cell == _NONE else cell for cell in line.rstrip("\n").split("\t")]
        name, bag, topic, frame_id, stamp, scan_stamp, points, objects, up, note = cells
        direction = None if up is None else tuple(map(float, up.split()))
        return cls(
            name or "", _whole(bag, 16), topic or "", frame_id or "", _whole(stamp),
            _optional(scan_stamp), _optional(points, 31), _optional(objects, 31), direction, note or "",
        )  # fmt: skip


def _whole(cell: str | None, bits: int = 62) -> int:
    value = int(cell or "")
    if abs(value) >> bits:
        raise ValueError(f"{value} is too large")
    return value


def _optional(cell: str | None, bits: int = 62) -> int | None:
    return None if cell is None else _whole(cell, bits)


HEADER = "\t".join(field.name for field in fields(Row)) + "\n"


class Journal:
    """The rows of a data set's folder, to read and to add to; a context manager. None of them is held in memory.

    Args:
        root: the folder, which is made where it is missing.
        settings: what the export is made with, as JSON takes it.

    `count` is how many frames have files, `last` the last row or None.

    Raises:
        BagError: where the folder holds something else, or an export with other settings.
    """

    def __init__(self, root: Path, settings: dict[str, object]) -> None:
        self.path = root / TABLE
        self.count, self._end = 0, 0
        self.last: Row | None = None
        self._file: TextIO | None = None
        _begin(root, settings)
        for row, end in _rows(self.path) if self.path.is_file() else ():
            self._end = end
            if row is not None:
                self._take(row)

    def __enter__(self) -> Journal:
        self._file = self.path.open("a", encoding="utf-8")
        self._file.truncate(self._end)  # what a killed process left of a row is cut off
        if not self._end:
            self._file.write(HEADER)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, row: Row) -> None:
        """Write a row, after the files of its frame."""
        if self._file is None:
            raise RuntimeError("the journal is not open")
        self._file.write(row.line())
        self._file.flush()
        self._take(row)

    def rows(self) -> Iterator[Row]:
        """All rows, read again from the table."""
        return read_rows(self.path)

    def _take(self, row: Row) -> None:
        if row.id and row.id != frame_id(self.count):
            raise BagError(f"{self.path} has the frame {row.id} where {frame_id(self.count)} is to follow")
        self.count += bool(row.id)
        self.last = row


def discard(root: Path) -> None:
    """Remove an export that ended without a frame, so that its folder can be used with other settings."""
    for name in (TABLE, SETTINGS):
        (root / name).unlink(missing_ok=True)
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):  # what holds something stays
            folder.rmdir()


def frame_id(number: int) -> str:
    """The name of an exported frame's files, from 0."""
    return f"{number:06d}"


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table. A last line that was not finished is left out; raises BagError for other faults."""
    return (row for row, _ in _rows(path) if row is not None)


def _rows(path: Path) -> Iterator[tuple[Row | None, int]]:
    """(row, or None for the header, bytes of the table up to its end)."""
    end = 0
    with path.open("rb") as file:
        for number, data in enumerate(file, 1):
            if not data.endswith(b"\n"):
                return
            line, end = data.decode(errors="replace"), end + len(data)
            if number == 1:
                if line != HEADER:
                    raise BagError(f"{path} is no table of an export: its first line is {line[:60]!r}")
                yield None, end
                continue
            try:
                yield Row.of(line), end
            except ValueError:
                raise BagError(f"{path}, line {number}: not a row of an export: {line[:60]!r}") from None


def _begin(root: Path, settings: dict[str, object]) -> None:
    made, text = root / SETTINGS, json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if made.is_file():
        before = made.read_text(encoding="utf-8")
        if before != text:
            changed = _changed(before, settings)
            raise BagError(
                f"{root} was exported with other settings ({changed}): "
                "name another --out, or give the same ones to go on"
            )
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BagError(f"{root} exists and is no export: name a new or an empty folder with --out")
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(made, text)


def _changed(before: str, settings: dict[str, object]) -> str:
    try:
        old = json.loads(before)
    except ValueError:
        return "its export.json is damaged"
    now = json.loads(json.dumps(settings))
    return ", ".join(key for key in sorted({*old, *now}) if old.get(key) != now.get(key)) or "another layout"
