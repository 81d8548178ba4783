"""A frame that cannot be used."""

from __future__ import annotations


class FrameRejectedError(Exception):
    """One frame cannot be used; the next may be fine.

    reason: a fixed phrase by which such frames are counted, such as 'uncalibrated'
    str():  one sentence for the log: what is wrong, where, and what to do
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
