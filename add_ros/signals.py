"""Commands that clean up when they are stopped: SIGTERM and Ctrl-C both end them by KeyboardInterrupt."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """What a signal raises.

    Not KeyboardInterrupt itself: where that passes through `exec` of a string, by which dataclasses and message types
    are made, Python ends `python -m` by the signal, whatever exit code was given after it had been caught.
    """


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Within it SIGTERM and SIGINT raise KeyboardInterrupt, so that what is unfinished is removed on the way out.

    SIGINT is taken over too: background jobs of a shell are started with it ignored. For the main thread.
    """
    with _handled(interrupt):
        yield


@contextmanager
def defer_signals() -> Iterator[None]:
    """Within it SIGTERM and SIGINT wait for its end: what they raise is lost where Python forks, in its hooks.

    For the main thread.
    """
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    if came:
        signal.raise_signal(came[0])


def interrupt(*_: object) -> None:
    """Leave by KeyboardInterrupt; serves as a signal's handler."""
    raise Interrupted


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    signals = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, handler) for number in signals]
    try:
        yield
    finally:
        for number, previous in zip(signals, before, strict=True):
            signal.signal(number, previous)
