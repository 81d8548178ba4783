"""The table of a data set's frames, `frames.tsv`: where each came from, and what was passed over and why.

It is the export's memory as well. A row is written once the files of its frame are, and rows stand in the order of the
recording, so that after a crash everything up to the last row is decided and nothing behind it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from sys import intern
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
        whole = lambda cell: None if cell is None else int(cell)  # noqa: E731
        direction = None if up is None else tuple(map(float, up.split()))
        return cls(
            name or "", int(bag or ""), intern(topic or ""), intern(frame_id or ""), int(stamp or ""),
            whole(scan_stamp), whole(points), whole(objects), direction, intern(note or ""),
        )  # fmt: skip


HEADER = "\t".join(field.name for field in fields(Row)) + "\n"


class Journal:
    """The rows of a data set's folder, to read and to add to; a context manager.

    Args:
        root: the folder, which is made where it is missing.
        settings: what the export is made with, as JSON takes it.

    `count` is how many frames have files.

    Raises:
        BagError: where the folder holds something else, or an export with other settings.
    """

    def __init__(self, root: Path, settings: dict[str, object]) -> None:
        self.path = root / TABLE
        self.rows = _begin(root, settings)
        self.count = len(self.exported)
        self._file: TextIO | None = None

    def __enter__(self) -> Journal:
        # What a killed process left of a row is cut off.
        whole = "".join([HEADER, *(row.line() for row in self.rows)])
        if not self.path.is_file() or self.path.read_text(encoding="utf-8") != whole:
            write_atomically(self.path, whole)
        self._file = self.path.open("a", encoding="utf-8")
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
        self.rows.append(row)
        self.count += bool(row.id)

    @property
    def exported(self) -> list[Row]:
        """The rows of frames that have files."""
        return [row for row in self.rows if row.id]


def read_rows(path: Path) -> list[Row]:
    """The rows of a table. A last line that was not finished is left out; raises BagError for other faults."""
    return list(_rows(path))


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            if number == 1:
                if line != HEADER:
                    raise BagError(f"{path} is no table of an export: its first line is {line[:60]!r}")
                continue
            try:
                yield Row.of(line)
            except ValueError:
                raise BagError(f"{path}, line {number}: not a row of an export: {line[:60]!r}") from None


def _begin(root: Path, settings: dict[str, object]) -> list[Row]:
    made, text = root / SETTINGS, json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if made.is_file():
        before = made.read_text(encoding="utf-8")
        if before != text:
            changed = _changed(before, settings)
            raise BagError(
                f"{root} was exported with other settings ({changed}): "
                "name another --out, or give the same ones to go on"
            )
        return read_rows(root / TABLE) if (root / TABLE).is_file() else []
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BagError(f"{root} exists and is no export: name a new or an empty folder with --out")
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(made, text)
    return []


def _changed(before: str, settings: dict[str, object]) -> str:
    try:
        old = json.loads(before)
    except ValueError:
        return "its export.json is damaged"
    now = json.loads(json.dumps(settings))
    return ", ".join(key for key in sorted({*old, *now}) if old.get(key) != now.get(key)) or "another layout"
