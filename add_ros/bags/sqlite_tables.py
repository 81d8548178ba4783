"""Whether an sqlite3 file holds a bag's tables, or computes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rosbags.rosbag2.errors import ReaderError


class ForeignTableError(ReaderError):
    """An sqlite3 file that computes what it should hold; nothing of it is read."""


def require_tables(path: Path) -> None:
    """Raise ForeignTableError where a table of the bag is a view, which may never end, or is computed otherwise."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute("SELECT name, type, sql FROM sqlite_master WHERE name IN ('topics', 'messages')")
        for name, kind, sql in rows:
            if kind != "table" or str(sql).upper().split()[:2] != ["CREATE", "TABLE"]:
                raise ForeignTableError(f"{name} of {path.name} is no table but {' '.join(str(sql).split())[:60]!r}")
