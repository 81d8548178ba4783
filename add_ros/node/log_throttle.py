"""How often a node logs the same kind of problem."""

from __future__ import annotations

import time
from collections.abc import Callable

LOG_PERIOD = 5.0  # seconds between two lines about the same kind of problem


class LogThrottle:
    """Allows each key once per period, in seconds by `clock`."""

    def __init__(self, period: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period, self._clock = period, clock
        self._last: dict[str, float] = {}

    def ready(self, key: str) -> bool:
        """Whether this key may be logged now."""
        now = self._clock()
        if key in self._last and now - self._last[key] < self._period:
            return False
        self._last[key] = now
        return True
