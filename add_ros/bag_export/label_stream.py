"""The labels of a bag by their stamps, read alongside the images: they may be recorded long after these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosbags.typesys.store import Typestore

from add_ros.bag_export.labels import is_box
from add_ros.bags import messages, types
from add_ros.bags.reading import readable_messages

_AHEAD = 5_000_000_000  # ns past a stamp after which its labels are not looked for, if labels are in their order
_KEPT = 5_000_000_000  # ns: cameras and scans are this close to each other in the bag
_FEW = 64  # messages: fewer are not looked through for old ones
_RECENT = 3  # stamps, whose median one message with a wrong clock does not move, nor their earliest


class _Clock:
    """The time of a row of stamps: the median of the last ones, and how often it was set back by more than `_KEPT`."""

    def __init__(self, recent: int) -> None:
        self.times_back, self._recent = 0, deque[int](maxlen=recent)

    @property
    def now(self) -> int:
        return sorted(self._recent)[len(self._recent) // 2] if self._recent else 0

    def add(self, stamp: int) -> None:
        before = self.now
        self._recent.append(stamp)
        if self.now < before - _KEPT:
            self.times_back += 1


class LabelStream:
    """Looks up label messages by stamp, for stamps that rise but where a clock was set back, without holding more than
    those around.

    Args:
        path: the bag.
        store: has the message definitions.
        topics: of labels; the 2D boxes of one are on the topic of that name and '_2d'.
        malformed: is called with the topic of each message that cannot be decoded, and why; the others are still read.

    `damage` says where the bag breaks, None as long as it does not: what could be read before it is still found.
    """

    def __init__(self, path: Path, store: Typestore, topics: set[str], malformed: Callable[[str, str], None]) -> None:
        self.damage: str | None = None
        self._held: dict[tuple[str, int], Any] = {}
        self._clocks = {topic: _Clock(_RECENT) for topic in topics}
        self._asked = {topic: _Clock(1) for topic in topics}
        self._wanted = deque[int](maxlen=_RECENT)
        self._count = dict.fromkeys(topics, 0)  # messages read, and how many that were with each that is held
        self._place: dict[tuple[str, int], int] = {}
        self._topics, self._most = topics, _FEW
        both = topics | {f"{topic}_2d" for topic in topics}
        self._messages = readable_messages(path, store, lambda c: c.topic in both, malformed, self._break_off)
        self._ended = not topics

    def at(self, topic: str, stamp: int) -> tuple[Any, Any | None] | None:
        """(boxes, 2D boxes or None) of a topic and stamp, None where there are none."""
        key, clock, asked = (topic, stamp), self._clocks[topic], self._asked[topic]
        asked.add(stamp)
        self._wanted.append(stamp)
        # Past its own message by one, since its 2D boxes come around it.
        while not self._ended and not (key in self._held and self._count[topic] > self._place[key]):
            ahead = clock.now > stamp + _AHEAD and clock.times_back == asked.times_back
            if ahead or clock.times_back > asked.times_back:
                break
            self._read_one()
            self._forget(min(self._wanted) - _KEPT)
        found = self._held.get(key)
        return None if found is None else (found, self._held.get((f"{topic}_2d", stamp)))

    def _forget(self, before: int) -> None:
        """Drop what is older, once in a while: an export that goes on reads past all that it has done.

        What was just read stays: of a clock that was set back only the next message tells.
        """
        if len(self._held) > self._most:
            new = {held for held, place in self._place.items() if self._count[held[0]] - place < _RECENT}
            self._held = {held: message for held, message in self._held.items() if held[1] >= before or held in new}
            self._place = {held: place for held, place in self._place.items() if held in self._held}
            self._most = 2 * len(self._held) + _FEW

    def _read_one(self) -> None:
        connection, _, message = next(self._messages, (None, 0, None))
        if connection is None:
            self._ended = True
            return
        topic = connection.topic
        stamps = [messages.stamp_of(message)] if hasattr(message, "header") else _stamps(message)
        for stamp in stamps:
            self._held.setdefault((topic, stamp), message)
            if topic in self._topics:
                self._clocks[topic].add(stamp)
                self._count[topic] += 1
                self._place.setdefault((topic, stamp), self._count[topic])

    def _break_off(self, damage: str) -> None:
        self.damage = damage


def _stamps(markers: Any) -> list[int]:
    """The stamp of a MarkerArray in a list: that of its first box, else of its first marker; [] without markers.

    A DELETEALL often comes first, and has no stamp.
    """
    assert markers.__msgtype__ == types.MARKERS
    boxes = [marker for marker in markers.markers if is_box(marker)]
    return [messages.stamp_of(marker) for marker in (boxes or markers.markers)[:1]]
