"""The newest messages of a filter, asked for by time."""

from __future__ import annotations

from typing import Any

from rclpy.time import Time

from message_filters.simple_filter import SimpleFilter
from message_filters.stamps import stamp_of


class Cache(SimpleFilter):
    """Keep the `cache_size` messages that arrived last, and pass every message on.

    Messages are kept in their order of arrival, as upstream keeps them. Those without a header are dropped with a
    warning, or kept under their time of arrival where `allow_headerless` is set.
    """

    def __init__(self, f: SimpleFilter, cache_size: int = 1, allow_headerless: bool = False) -> None:
        super().__init__()
        self.cache_size = cache_size
        self.allow_headerless = allow_headerless
        self.cache_msgs: list[Any] = []
        self.cache_times: list[Time] = []
        self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        stamp = stamp_of(msg, self.allow_headerless, "message_filters_cache")
        if stamp is None:
            return
        self.cache_times.append(stamp)
        self.cache_msgs.append(msg)
        if len(self.cache_msgs) > self.cache_size:
            del self.cache_msgs[0], self.cache_times[0]
        self.signalMessage(msg)

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """The messages stamped within the interval, both ends included."""
        assert from_stamp <= to_stamp, "the interval ends before it begins"
        return [m for m, t in zip(self.cache_msgs, self.cache_times, strict=True) if from_stamp <= t <= to_stamp]

    def getElemAfterTime(self, stamp: Time) -> Any | None:
        """The first message at or after the stamp, or None."""
        return next((m for m, t in zip(self.cache_msgs, self.cache_times, strict=True) if t >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any | None:
        """The last message at or before the stamp, or None."""
        older = [m for m, t in zip(self.cache_msgs, self.cache_times, strict=True) if t <= stamp]
        return older[-1] if older else None

    def getLastestTime(self) -> Time | None:
        """The stamp of the newest message, or None; the name is upstream's."""
        return self.cache_times[-1] if self.cache_times else None

    def getOldestTime(self) -> Time | None:
        """The stamp of the oldest message, or None."""
        return self.cache_times[0] if self.cache_times else None

    def getLast(self) -> Any | None:
        """The first message at or after the newest stamp, or None."""
        latest = self.getLastestTime()
        return None if latest is None else self.getElemAfterTime(latest)
