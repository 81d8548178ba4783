"""How commands end when they are stopped: in order, with one line and the exit status 130 (Ctrl-C) or 143 (SIGTERM).

`arm_programs` is called when one of the packages is imported, and covers a command from its first import on. A command
that has something to remove on its way out works within `raise_on_signals`; the node, the recorder and the player have
handlers of their own, since being stopped is how they end.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 3.0  # seconds for what is cleaned up on the way out; what is written is whole at any time
# Scripts of setup.py whose names are nobody else's; ROS has them all in a folder of this name.
_SCRIPTS = ("add-ros", "lifecycle_detector", "bag_convert", "bag_play", "bag_record", "export_bag", "evaluate_bag")
_FOLDER = "add_ros"


class Interrupted(KeyboardInterrupt):
    """What a signal raises within `raise_on_signals`. `status`: the exit status that it asks for.

    Not KeyboardInterrupt itself: where that passes through `exec` of a string, by which dataclasses and message types
    are made, Python ends `python -m` by the signal, whatever exit code was given after it had been caught.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.status = 128 + number


@cache  # or a later import would take the handlers away that a command has set meanwhile
def arm_programs() -> None:
    """In a process that runs a command of this project, end it in order at SIGINT and SIGTERM from now on.

    Where the packages are imported by something else, nothing is changed. While Python looks for the module of
    `python -m`, the first argument is '-m'.
    """
    path = sys.argv[0] if sys.argv else ""
    folder, program = os.path.split(path)
    own = path == "-m" or program in _SCRIPTS or os.path.basename(folder) == _FOLDER
    if own and threading.current_thread() is threading.main_thread():
        owner = os.getpid()
        for number in _SIGNALS:
            signal.signal(number, lambda number, _: _end(number, owner))


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Within it SIGTERM and SIGINT raise `Interrupted`, so that what is unfinished is removed on the way out.

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


def interrupt(number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
    """Leave by `Interrupted`; serves as a signal's handler."""
    raise Interrupted(number)


def _end(number: int, owner: int) -> None:
    """Leave by SystemExit, at once if it is asked for twice, and after `_GRACE` whatever hangs."""
    if os.getpid() != owner:  # of a loader's process, which leaves by its parent's word
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        return
    status = 128 + number
    for each in _SIGNALS:
        signal.signal(each, lambda *_: os._exit(status))
    watch = threading.Timer(_GRACE, os._exit, (status,))
    watch.daemon = True
    watch.start()
    # Python up to 3.11 makes a RuntimeError of what is raised while a class names its attributes: no news to anybody.
    sys.excepthook = lambda *_: None
    sys.unraisablehook = lambda _: None
    atexit.register(_leave, status)  # runs first: taking torch apart can take seconds, and nobody needs it
    os.write(2, f"{'interrupted' if number == signal.SIGINT else 'stopped by SIGTERM'}\n".encode())
    raise SystemExit(status)


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = [signal.signal(number, handler) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, previous in zip(_SIGNALS, before, strict=True):
            signal.signal(number, previous)
