"""Which stamps a camera's images had before."""

from __future__ import annotations

from array import array
from bisect import bisect_left


class SeenStamps:
    """The stamps of one topic, at 8 bytes each: they nearly always rise, so that a new one is added at the end."""

    def __init__(self) -> None:
        self._sorted = array("q")

    def add(self, stamp: int) -> bool:
        """Add a stamp in nanoseconds; returns whether it is new."""
        place = bisect_left(self._sorted, stamp)
        if place < len(self._sorted) and self._sorted[place] == stamp:
            return False
        self._sorted.insert(place, stamp)
        return True
