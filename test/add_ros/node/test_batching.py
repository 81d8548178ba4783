"""Which frames go through the network together, and what becomes of the others where one fails."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from add_ros.node.batching import FrameBatches


class Stream:
    """A camera whose frame is a number."""

    def __init__(self, number, active=True):
        self.number, self.active, self.told = number, active, None

    @property
    def input(self):
        return SimpleNamespace(has_frame=self.number is not None, image=SimpleNamespace(active=self.active))

    def take(self, half_is_enough):
        number, self.number = self.number, None
        if number is None:
            return None
        return SimpleNamespace(image=np.full(1, number), camera=None, least_score=0.1 * number, up=None, ground=None)

    def answer(self, frame, found, classes, together):
        self.told = found, together

    def failed(self, error):
        self.told = str(error)


class Network:
    """Answers a number by itself, but not 13; notes the batches."""

    def __init__(self, device="cpu"):
        self.device, self.class_spec, self.half_is_enough = device, None, None
        self.batches, self.least = [], []

    def predict_batch(self, images, cameras, least, up, ground):
        numbers = [int(image[0]) for image in images]
        self.batches.append(numbers)
        self.least.append(least)
        if 13 in numbers:
            raise RuntimeError("unlucky")
        return numbers


@pytest.mark.parametrize(
    ("device", "size", "batches"),
    [
        ("cpu", 0, [[1], [2], [3]]),
        ("cuda", 0, [[1, 2, 3]]),
        ("cpu", 2, [[1, 2], [3]]),
        ("cuda:1", 1, [[1], [2], [3]]),
        ("cpu", 9, [[1, 2, 3]]),
    ],
)
def test_frames_go_together_as_the_size_says(device, size, batches):
    streams, network = [Stream(1), Stream(2), Stream(3), Stream(None)], Network(device)
    assert FrameBatches(streams, threading.Event(), size, 0.0).answer(network)
    assert network.batches == batches
    assert [s.told[0] for s in streams if s.told] == [1, 2, 3]
    assert [s.told[1] for s in streams if s.told] == [len(b) for b in batches for _ in b]
    assert network.least[0] == pytest.approx(0.1)  # so that no camera misses what it wants
    assert not FrameBatches(streams, threading.Event(), size, 0.0).answer(network)


def test_a_frame_that_fails_costs_no_other_camera_its_answer():
    streams = [Stream(1), Stream(13), Stream(3)]
    FrameBatches(streams, threading.Event(), 3, 0.0).answer(Network())
    assert [s.told for s in streams] == [(1, 1), "unlucky", (3, 1)]


def test_a_frame_waits_for_those_of_active_cameras_alone():
    """The late camera's frame comes while the first one waits; the idle one's never does."""
    wake, late = threading.Event(), Stream(None)
    streams, network = [Stream(1), late, Stream(None, active=False)], Network()

    def arrive():
        late.number = 2
        wake.set()

    timer = threading.Timer(0.05, arrive)
    timer.start()
    assert FrameBatches(streams, wake, 3, 30.0).answer(network)  # far less than 30 s, by the test's own limit
    timer.join()
    assert network.batches == [[1, 2]]


def test_it_waits_no_longer_than_it_should():
    streams, network = [Stream(1), Stream(None)], Network()
    assert FrameBatches(streams, threading.Event(), 2, 0.01).answer(network)
    assert network.batches == [[1]]
