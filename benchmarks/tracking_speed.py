"""How long the tracker takes for 50 objects, beside FilterPy and numpy, and whether its memory grows."""

from __future__ import annotations

import pickle
import resource
import time
from collections.abc import Callable, Iterable

import numpy as np

from add_model.detections import Detections
from add_model.geometry.boxes import project_boxes
from add_model.geometry.camera import Camera
from add_model.tracking import Tracker

CAMERA = Camera.pinhole(720, 720, 620, 187, 1242, 375)
_HOUR = 108_000  # frames at 30 Hz
_TURNS = 200


def crowd(rng: np.random.Generator, count: int) -> Detections:
    """So many cars before the camera, each within a few percent of where it is in every other call."""
    places = np.random.default_rng(1)
    x, z = places.uniform(-0.8, 0.8, count), np.linspace(8, 70, count)
    boxes = np.column_stack([x * z, np.ones(count), z, np.tile([4, 1.7, 1.5, -1.57], (count, 1))])
    boxes[:, :3] *= 1 + rng.normal(0, 0.02, (count, 1))
    return Detections(
        np.full(count, "Car"), np.full(count, 0.6), boxes, project_boxes(boxes, CAMERA), 0.03 * boxes[:, 2]
    )


def milliseconds(action: Callable[[], object], turns: int = _TURNS) -> float:
    """Processor time of one call: the least of five means, since other processes disturb."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(turns // 5):
            action()
        taken.append((time.process_time() - start) / (turns // 5))
    return 1e3 * min(taken)


def speed() -> Iterable[str]:
    """Lines with processor times and memory."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(200, 200))
    reference = milliseconds(lambda: np.linalg.inv(matrix))
    yield f"inverse of a 200 x 200 matrix: {reference:.2f} ms"
    for count in (10, 50, 200):
        tracker, frames, stamp = Tracker(), [crowd(rng, count) for _ in range(20)], iter(range(10**9))

        def step(tracker=tracker, frames=frames, stamp=stamp) -> None:
            k = next(stamp)
            tracker.update(frames[k % 20], CAMERA, k * 10**8, np.eye(4))

        step()
        taken = milliseconds(step)
        yield f"tracker, {count} objects: {taken:.2f} ms a frame, {taken / reference:.2f} of that inverse"
    yield from _filterpy(50)
    yield from _memory()


def _filterpy(count: int) -> Iterable[str]:
    try:
        from filterpy.kalman import KalmanFilter
    except ImportError:
        return
    filters = [KalmanFilter(dim_x=6, dim_z=3) for _ in range(count)]
    for each in filters:
        each.F[:3, 3:], each.H = 0.1 * np.eye(3), np.eye(3, 6)

    def step() -> None:
        for each in filters:
            each.predict()
            each.update(np.zeros(3), np.eye(3))

    yield f"FilterPy, predict and update of {count} filters alone: {milliseconds(step, 50):.2f} ms"


def _memory() -> Iterable[str]:
    """An hour at 30 Hz of objects that come and go."""
    rng, tracker, sizes, start = np.random.default_rng(2), Tracker(), [], time.process_time()
    frames = [crowd(rng, 10)[rng.random(10) > 0.5] for _ in range(50)]
    for k in range(_HOUR):
        tracker.update(frames[k % 50] if k // 60 % 3 else Detections.empty(), CAMERA, k * 10**9 // 30, np.eye(4))
        if k % (_HOUR // 4) == _HOUR // 8:
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
            sizes.append((most, len(pickle.dumps(tracker))))
    resident, state = (", ".join(map(str, column)) for column in zip(*sizes, strict=True))
    yield (
        f"{_HOUR} frames in {time.process_time() - start:.0f} s: most resident memory {resident} KiB, state {state} "
        "bytes, up to the middle of each quarter"
    )
