"""Reading ahead, so that reading and decoding run beside the network: both leave Python while they work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_LOOK = 0.1  # seconds between two looks whether anybody still wants what was read


def prefetched(items: Iterable[_Item], depth: int) -> Generator[_Item, None, None]:
    """The items in their order, made in a thread of its own; at most `depth` of them wait, so that memory is bounded.

    What making them raises is raised here, after the items before it. The thread has ended when this generator has,
    however that comes.
    """
    ready: queue.Queue[tuple[list[_Item], BaseException | None]] = queue.Queue(depth)
    unwanted = threading.Event()

    def give(made: list[_Item], problem: BaseException | None = None) -> bool:
        while not unwanted.is_set():
            try:
                ready.put((made, problem), timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in items:
                if not give([item]):
                    return
        except BaseException as problem:  # of the reader, which has no other way to say it
            give([], problem)
        else:
            give([])

    thread = threading.Thread(target=read, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            made, problem = ready.get()
            if problem is not None:
                raise problem
            if not made:
                return
            yield from made
    finally:
        unwanted.set()
        thread.join()
