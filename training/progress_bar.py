"""How far a command is: a bar where a terminal shows it, elsewhere a line now and then. On standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

FIRST_LINE, NEXT_LINE = 10.0, 30.0  # seconds until the first line, and between two
_Item = TypeVar("_Item")


class Lines:
    """Progress as lines of text, for logs: none where all is done within `FIRST_LINE`. Used as tqdm's bars are.

    Args:
        total: how many units there are; None where nobody knows.
        unit: what is counted, in the plural.
        what: what is done, for the start of the line.
    """

    def __init__(self, total: int | None, unit: str, what: str) -> None:
        self._total, self._unit, self._what = total, unit, what
        self._done, self._began = 0, time.monotonic()
        self._due = self._began + FIRST_LINE

    def update(self, count: int = 1) -> None:
        """Add to what is done, and print a line if it is time for one."""
        self._done += count
        now = time.monotonic()
        if now >= self._due:
            self._due = now + NEXT_LINE
            print(self._line(now - self._began), file=sys.stderr, flush=True)

    def _line(self, seconds: float) -> str:
        rate, of = self._done / seconds, "" if self._total is None else f" of {self._total}"
        line = f"{self._what}: {self._done}{of} {self._unit}, {rate:.3g} {self._unit}/s"
        if self._total is None:
            return line
        return f"{line}, {timedelta(seconds=round(max(0, self._total - self._done) / rate))} left"

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the command says itself what it has done."""


def lock_within_process() -> None:
    """Give tqdm's bars a lock of this process: no other draws any, and from Python 3.14 on one that several share is
    warned of as leaked where a command is stopped.
    """
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())


def progress(total: int | None, unit: str, what: str) -> tqdm | Lines:
    """A context manager whose `update` is to be called for each unit that is done. Takes what `Lines` takes."""
    if not sys.stderr.isatty():
        return Lines(total, unit, what)
    from tqdm import tqdm  # a tenth of the time that a command takes to start

    lock_within_process()
    return tqdm(total=total, unit=f" {unit}", desc=what, leave=False)


def counted(items: Iterable[_Item], unit: str, what: str, total: int | None = None) -> Iterator[_Item]:
    """The items one by one, with progress.

    Args:
        items: what is worked through.
        unit: what the items are, in the plural.
        what: what is done with them.
        total: how many there are; None takes their length, if they have one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(total, unit, what) as shown:
        for item in items:
            yield item
            shown.update()
