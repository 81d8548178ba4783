"""The labels of a bag by their stamps, read alongside the images: they may be recorded long after these."""

from __future__ import annotations

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


class LabelStream:
    """Looks up label messages by stamp, for stamps that rise, without holding more than those around.

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
        self._newest: dict[str, int] = dict.fromkeys(topics, 0)
        self._topics, self._most = topics, _FEW
        both = topics | {f"{topic}_2d" for topic in topics}
        self._messages = readable_messages(path, store, lambda c: c.topic in both, malformed, self._break_off)
        self._ended = not topics

    def at(self, topic: str, stamp: int) -> tuple[Any, Any | None] | None:
        """(boxes, 2D boxes or None) of a topic and stamp, None where there are none."""
        key = topic, stamp
        while not self._ended and (key not in self._held or self._newest[topic] <= stamp):
            if self._newest[topic] > stamp + _AHEAD:
                break
            self._read_one()
            self._forget(stamp - _KEPT)
        found = self._held.get(key)
        return None if found is None else (found, self._held.get((f"{topic}_2d", stamp)))

    def _forget(self, before: int) -> None:
        """Drop what is older, once in a while: an export that goes on reads past all that it has done."""
        if len(self._held) > self._most:
            self._held = {held: message for held, message in self._held.items() if held[1] >= before}
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
                self._newest[topic] = max(self._newest[topic], stamp)

    def _break_off(self, damage: str) -> None:
        self.damage = damage


def _stamps(markers: Any) -> list[int]:
    """The stamp of a MarkerArray in a list: that of its first box, else of its first marker; [] without markers.

    A DELETEALL often comes first, and has no stamp.
    """
    assert markers.__msgtype__ == types.MARKERS
    boxes = [marker for marker in markers.markers if is_box(marker)]
    return [messages.stamp_of(marker) for marker in (boxes or markers.markers)[:1]]
