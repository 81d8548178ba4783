"""Which transforms of /tf are let into tf2's buffer.

tf2 itself would be made useless by one lie: a transform stamped far in the future turns all true ones into old data,
for ever where time is not simulated; names without a bound and frames without number stay in its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from add_ros.bounds import LONGEST_TEXT, impossible_transform, shown
from add_ros.message_times import nanoseconds

MOST_FRAMES = 10_000
_WINDOW = 10 * 10**9  # nanoseconds: tf2's own memory
_AGREEING = 5  # transforms in a row after which another time is believed


class _FrameTime:
    """The newest stamp of one frame, and stamps of another time that were put aside: nanoseconds."""

    def __init__(self, stamp: int) -> None:
        self.newest = self._aside = stamp
        self._agreeing = 0

    def judge(self, stamp: int, now: int) -> bool | None:
        """True: take it; False: leave it out; None: take it, since time has gone back."""
        if self.newest - _WINDOW <= stamp <= max(self.newest, now) + _WINDOW:
            self.newest, self._agreeing = max(self.newest, stamp), 0
            return True
        self._agreeing = self._agreeing + 1 if abs(stamp - self._aside) <= _WINDOW else 1
        self._aside = stamp
        if self._agreeing < _AGREEING:
            return False
        back = stamp < self.newest
        self.newest, self._agreeing = stamp, 0
        return None if back else True


class TransformGate:
    """Stands before a tf2 buffer for a listener, and lets through what can be.

    Args:
        buffer: tf2_ros.Buffer.
        now: the node's time in nanoseconds.
        refused: called with why a transform is left out: the kind, and a sentence.
    """

    def __init__(self, buffer: Any, now: Callable[[], int], refused: Callable[[str, str], None]) -> None:
        self._buffer, self._now, self._refused = buffer, now, refused
        self._times: dict[str, _FrameTime | None] = {}

    def forget(self) -> None:
        """After a jump of the clock: any time may follow."""
        self._times = dict.fromkeys(self._times)

    def set_transform(self, transform: Any, authority: str) -> None:
        """Take a transform of /tf."""
        if not self._fits(transform):
            return
        child = transform.child_frame_id
        stamp = nanoseconds(transform.header.stamp)
        times = self._times.get(child)
        if times is None:
            self._times[child] = _FrameTime(stamp)
        else:
            verdict = times.judge(stamp, self._now())
            if verdict is False:
                ahead = (stamp - times.newest) / 1e9
                self._refused("another time", f"'{child}' is stamped {ahead:+.0f} s from the newest one")
                return
            if verdict is None:
                self._buffer.clear()
        self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: Any, authority: str) -> None:
        """Take a transform of /tf_static."""
        if self._fits(transform):
            self._times[transform.child_frame_id] = None
            self._buffer.set_transform_static(transform, authority)

    def _fits(self, transform: Any) -> bool:
        names = transform.header.frame_id, transform.child_frame_id
        plain = {name.lstrip("/") for name in names}
        if len(plain) < 2 or "" in plain or max(map(len, names)) > LONGEST_TEXT:
            said = f"'{shown(names[1])}' in '{shown(names[0])}': two names of 1 to {LONGEST_TEXT} characters are needed"
            self._refused("frame names", said)
        elif problem := impossible_transform(transform):
            self._refused("impossible values", f"'{shown(names[1])}' in '{shown(names[0])}': {problem}")
        elif names[1] not in self._times and len(self._times) >= MOST_FRAMES:
            self._refused("too many frames", f"'{shown(names[1])}': {MOST_FRAMES} frames are known already")
        else:
            return True
        return False
