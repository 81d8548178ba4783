"""The labels of a bag by their stamps, read alongside the images: they may be recorded long after these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rosbags.typesys.store import Typestore

from add_ros.bag_export.labels import MARKERS
from add_ros.bags import messages
from add_ros.bags.reading import read

_AHEAD = 5_000_000_000  # ns past a stamp after which its labels are not looked for, if labels are in their order
_KEPT = 5_000_000_000  # ns: cameras and scans are this close to each other in the bag
_FEW = 64  # messages: fewer are not looked through for old ones


class LabelStream:
    """Looks up label messages by stamp, for stamps that rise, without holding more than those around.

    Args:
        path: the bag.
        store: has the message definitions.
        topics: of labels; the 2D boxes of one are on the topic of that name and '_2d'.
    """

    def __init__(self, path: Path, store: Typestore, topics: set[str]) -> None:
        self._held: dict[tuple[str, int], Any] = {}
        self._newest: dict[str, int] = dict.fromkeys(topics, 0)
        self._topics, self._most = topics, _FEW
        both = topics | {f"{topic}_2d" for topic in topics}
        self._messages = read(path, store, both) if topics else iter(())
        self._ended = not topics

    def at(self, topic: str, stamp: int) -> tuple[Any, Any | None] | None:
        """(boxes, 2D boxes or None) of a topic and stamp, None where there are none.

        Raises BagError where the bag breaks, after all that could be read.
        """
        key = topic, stamp
        while not self._ended and (key not in self._held or self._newest[topic] <= stamp):
            if self._newest[topic] > stamp + _AHEAD:
                break
            self._read_one()
        if len(self._held) > self._most:
            self._held = {held: message for held, message in self._held.items() if held[1] >= stamp - _KEPT}
            self._most = 2 * len(self._held) + _FEW
        found = self._held.get(key)
        return None if found is None else (found, self._held.get((f"{topic}_2d", stamp)))

    def _read_one(self) -> None:
        try:
            topic, _, message = next(self._messages)
        except StopIteration:
            self._ended = True
            return
        stamps = [messages.stamp_of(message)] if hasattr(message, "header") else _stamps(message)
        for stamp in stamps:
            self._held.setdefault((topic, stamp), message)
            if topic in self._topics:
                self._newest[topic] = max(self._newest[topic], stamp)


def _stamps(markers: Any) -> list[int]:
    """The stamp of a MarkerArray, which is that of its first cube; none where there is no marker."""
    assert markers.__msgtype__ == MARKERS
    return [messages.stamp_of(marker) for marker in markers.markers[:1]]
