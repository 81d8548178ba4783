"""What every filter can do: hand its output to callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """A source of messages; others register to get them."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Call `cb(*output, *args)` for each output of this filter, after those registered earlier.

        Returns a number that identifies the connection.
        """
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        """Hand one output, of one or more messages, to all callbacks."""
        for callback, args in list(self.callbacks.values()):
            callback(*msg, *args)
