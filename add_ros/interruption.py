"""Stopping a command in good order: SIGTERM and Ctrl-C both end it by KeyboardInterrupt."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def orderly() -> Iterator[None]:
    """Within it SIGTERM and SIGINT raise KeyboardInterrupt, so that what is unfinished is removed on the way out.

    SIGINT is taken over too: background jobs of a shell are started with it ignored. For the main thread.
    """
    signals = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, _interrupt) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
