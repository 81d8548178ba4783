"""Sets of messages, one of each input, that belong together by their stamps."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

from rclpy.clock import ROSClock
from rclpy.duration import Duration

from message_filters.simple_filter import SimpleFilter
from message_filters.stamps import stamp_of

Queue = dict[int, Any]  # nanoseconds -> message, in order of arrival


class TimeSynchronizer(SimpleFilter):
    """Pass on sets of messages with equal stamps, as `callback(message of fs[0], message of fs[1], ...)`.

    Of each input the `queue_size` newest stamps wait for their partners.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        inputs = list(fs)
        self.queues: list[Queue] = [{} for _ in inputs]
        self.input_connections = [f.registerCallback(self.add, self.queues[i], i) for i, f in enumerate(inputs)]

    def add(self, msg: Any, my_queue: Queue, my_queue_index: int | None = None) -> None:
        stamp = stamp_of(msg, allow_headerless=False, logger="message_filters_exact")
        if stamp is None:
            return
        with self.lock:
            self._keep(msg, stamp.nanoseconds, my_queue)
            complete = all(stamp.nanoseconds in queue for queue in self.queues)
            matched = [queue.pop(stamp.nanoseconds) for queue in self.queues] if complete else None
        # Outside the lock: a callback that raises or publishes into this filter must not block it for ever.
        if matched is not None:
            self.signalMessage(*matched)

    def _keep(self, msg: Any, nanoseconds: int, queue: Queue) -> None:
        queue[nanoseconds] = msg
        while len(queue) > self.queue_size:
            del queue[min(queue)]


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Pass on sets of messages whose stamps lie less than `slop` seconds apart, each message once.

    A new message takes of every other input the message nearest in time, or the next nearest when those lie too far
    from each other. Messages without a header count as stamped on arrival where `allow_headerless` is set, and all
    messages do where `sync_arrival_time` is set.
    """

    def __init__(
        self,
        fs: Sequence[SimpleFilter],
        queue_size: int,
        slop: float,
        allow_headerless: bool = False,
        sync_arrival_time: bool = False,
    ) -> None:
        self.slop = Duration(seconds=slop)
        self.allow_headerless = allow_headerless
        self.sync_arrival_time = sync_arrival_time
        super().__init__(fs, queue_size)

    def add(self, msg: Any, my_queue: Queue, my_queue_index: int | None = None) -> None:
        if self.sync_arrival_time:
            stamp = ROSClock().now()
        else:
            stamp = stamp_of(msg, self.allow_headerless, "message_filters_approx")
            if stamp is None:
                return
        with self.lock:
            self._keep(msg, stamp.nanoseconds, my_queue)
            stamps = self._match(stamp.nanoseconds, my_queue_index)
            matched = None if stamps is None else [q.pop(t) for q, t in zip(self.queues, stamps, strict=True)]
        if matched is not None:
            self.signalMessage(*matched)

    def _match(self, new: int, index: int | None) -> tuple[int, ...] | None:
        """One stamp of each queue, the new one included, within the slop; None where there is no such set."""
        slop = self.slop.nanoseconds
        candidates = []
        for i, queue in enumerate(self.queues):
            if i == index:
                near = [new] if new in queue else []
            else:
                near = sorted((t for t in queue if abs(t - new) <= slop), key=lambda t: abs(t - new))
            if not near:
                return None
            candidates.append(near)
        return next((s for s in itertools.product(*candidates) if max(s) - min(s) < slop), None)
