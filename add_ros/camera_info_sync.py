"""Images paired with the CameraInfo of the same stamp, or with the latest one where there is none.

The CameraInfo are kept in a message_filters cache. Its TimeSynchronizer does not suit: it waits for ever where stamps
differ, holds a queue of whole images, and drops new messages when a looping bag jumps back in time. Messages that were
read from a bag are paired like those of rclpy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from message_filters import Cache, SimpleFilter

from add_ros.calibration import described_size
from add_ros.stamps import ros_time

PATIENCE = 0.08  # seconds that an image waits for the CameraInfo of its stamp
LONG_PATIENCE = 1.0  # seconds, where the latest CameraInfo is of another size
_REMEMBERED = 16
_MOST_WAITING = 3  # after a stall the images are ahead of their CameraInfo; more of them would only add latency


class CameraInfoSynchronizer:
    """Pairs the images of a camera with its CameraInfo, at most one pair for each image, in the images' order.

    An image without its CameraInfo waits for `patience` or until `flush`, and then takes the latest CameraInfo. From
    then on images do not wait, until a stamp matches again.

    Args:
        emit: called with each pair (image, info).
        on_fallback: called with (image, info) before a pair whose stamps differ.
        on_unpaired: called for each image that is dropped because no CameraInfo has come at all.
        patience: how long an image waits, in the unit of the caller's clock.
        long_patience: how long it waits where the latest CameraInfo is of another size: the camera has changed its
            mode, and the transport delivers the CameraInfo late.
        fits: whether a CameraInfo can be of an image.
    """

    def __init__(
        self,
        emit: Callable[[Any, Any], None],
        on_fallback: Callable[[Any, Any], None],
        on_unpaired: Callable[[], None],
        patience: int,
        long_patience: int | None = None,
        fits: Callable[[Any, Any], bool] = lambda image, info: True,
    ) -> None:
        self._emit, self._on_fallback, self._on_unpaired = emit, on_fallback, on_unpaired
        self._patience, self._long_patience, self._fits = patience, long_patience or patience, fits
        self._arrivals = SimpleFilter()
        self._infos = Cache(self._arrivals, _REMEMBERED)
        self._latest: Any = None
        self._waiting: deque[tuple[Any, int]] = deque()  # images, and since when
        self._recent: tuple[int, int] | None = None
        self._patient = True

    @property
    def waiting(self) -> bool:
        """Whether an image waits for its CameraInfo: `expire` has to be called then."""
        return bool(self._waiting)

    def add_image(self, image: Any, now: int) -> None:
        """Take a new image, which came at the time `now`."""
        self._recent = _stamp(image)
        info = self._info_of(image)
        if info is not None:
            self.flush()
            self._patient = True
            self._emit(image, info)
            return
        self._waiting.append((image, now))
        if not self._patient and (self._latest is None or self._fits(image, self._latest)):
            self.flush()
        elif len(self._waiting) > _MOST_WAITING:
            self._give_up_first()

    def add_info(self, info: Any) -> None:
        """Take a new CameraInfo."""
        stamp = _stamp(info)
        time = ros_time(info.header.stamp)
        if time is not None:
            self._arrivals.signalMessage(SimpleNamespace(header=SimpleNamespace(stamp=time), info=info))
        if any(_stamp(image) == stamp for image, _ in self._waiting):
            while _stamp(self._waiting[0][0]) != stamp:  # their CameraInfo would have come before this one
                self._give_up_first()
            self._emit(self._waiting.popleft()[0], info)
            self._patient = True
        elif stamp == self._recent:
            self._patient = True
        self._latest = info

    def expire(self, now: int) -> None:
        """Flush where an image has waited for its patience at the time `now`."""
        if not self._waiting:
            return
        image, since = self._waiting[0]
        served = self._latest is None or self._fits(image, self._latest)
        if now - since >= (self._patience if served else self._long_patience):
            self.flush()

    def forget(self) -> None:
        """Drop what waits, and start anew."""
        self._waiting.clear()
        self._latest, self._recent, self._patient = None, None, True

    def flush(self) -> None:
        """Stop waiting: emit the waiting images with the latest CameraInfo, or drop them where there is none."""
        while self._waiting:
            self._give_up_first()

    def _info_of(self, image: Any) -> Any | None:
        if self._latest is not None and _stamp(self._latest) == _stamp(image):
            return self._latest
        time = ros_time(image.header.stamp)
        matches = [] if time is None else self._infos.getInterval(time, time)
        return matches[-1].info if matches else None

    def _give_up_first(self) -> None:
        image, _ = self._waiting.popleft()
        if self._latest is None:
            self._on_unpaired()
            return
        self._patient = False
        self._on_fallback(image, self._latest)
        self._emit(image, self._latest)


def synchronizer_of_recorded(
    emit: Callable[[Any, Any], None], on_fallback: Callable[[Any, Any], None], on_unpaired: Callable[[], None]
) -> CameraInfoSynchronizer:
    """What pairs a bag's messages as the node pairs its own; times are those of recording, in nanoseconds."""
    patience, long_patience = (round(seconds * 1e9) for seconds in (PATIENCE, LONG_PATIENCE))
    return CameraInfoSynchronizer(emit, on_fallback, on_unpaired, patience, long_patience, same_size)


def same_size(image: Any, info: Any) -> bool:
    """Whether a CameraInfo can be of this image by its size; of compressed images nothing is known before decoding."""
    if not hasattr(image, "width"):
        return True
    return described_size(info) == (image.width, image.height)


def _stamp(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec
