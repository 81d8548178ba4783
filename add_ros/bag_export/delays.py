"""How long after its stamp each message of a topic was recorded."""

from __future__ import annotations

from array import array

import numpy as np

_MOST = 8192  # values that are kept of a recording of any length


class Delays:
    """Seconds from stamp to recording, one after the other.

    `count`, `least` and `most` are those of all; of the values themselves one in so many is kept.
    """

    def __init__(self) -> None:
        self.count, self.least, self.most = 0, float("inf"), float("-inf")
        self._kept, self._step = array("d"), 1

    def add(self, seconds: float) -> None:
        """Take the next one."""
        if self.count % self._step == 0:
            self._kept.append(seconds)
            if len(self._kept) == _MOST:
                self._kept, self._step = self._kept[::2], 2 * self._step
        self.count += 1
        self.least, self.most = min(self.least, seconds), max(self.most, seconds)

    def spread(self) -> np.ndarray:
        """(K,) values that lie evenly over the recording, in their order: all of a short one."""
        return np.array(self._kept)
