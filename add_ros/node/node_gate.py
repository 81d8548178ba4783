"""A `TransformGate` in a node: it logs what is left out, and forgets when the node's clock jumps back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

from add_ros.bounds import printable
from add_ros.node.log_throttle import LOG_PERIOD, LogThrottle
from add_ros.node.transform_gate import TransformGate


class NodeGate(TransformGate):
    """Stands before a buffer, with the node's clock and log.

    Args:
        node: whose clock and log these are.
        buffer: tf2_ros.Buffer, or what takes transforms and clears like it.
        what: is left out, for the log.
    """

    def __init__(self, node: Node, buffer: Any, what: str) -> None:
        clock = node.get_clock()
        super().__init__(buffer, lambda: clock.now().nanoseconds, self._refuse)
        self._what, self._log = what, node.get_logger()
        self._throttle, self._counts = LogThrottle(LOG_PERIOD), Counter[str]()
        # When a bag starts again or a simulation is reset, the buffer's transforms are those of another drive. Humble's
        # buffer is never cleared by itself, newer ones only by a clock that they are given.
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = clock.create_jump_callback(backwards, post_callback=self._begin_anew)

    def destroy(self) -> None:
        """Follow the clock no more."""
        self._jumps.unregister()

    def _begin_anew(self, _: Any) -> None:
        self.forget()
        self._buffer.clear()

    def _refuse(self, kind: str, said: str) -> None:
        self._counts[kind] += 1
        if self._throttle.ready(kind):
            self._log.warning(printable(f"{self._what} is left out: {said} ({kind}: {self._counts[kind]} so far)"))
