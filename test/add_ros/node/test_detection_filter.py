"""Which detections and which frames pass."""

import numpy as np
import pytest

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_ros.node.detection_filter import DetectionFilter, RateLimit

CAMERA = Camera.pinhole(360, 360, 320, 96, 640, 192)
NAMES = np.array(["Car", "Pedestrian", "Cyclist", "Car"])
BOXES = np.array(
    [[0, 0, 5, 1, 1, 1, 0], [0, 0, 15, 1, 1, 1, 0], [30, 0, 40, 1, 1, 1, 0], [0, 0, 60, 1, 1, 1, 0]], float
)
BOXES2D = np.array([[0, 0, 19, 19], [310, 90, 329, 101], [600, 170, 639, 191], [100, 0, 139, 10]], float)
FOUND = Detections(NAMES, np.array([0.9, 0.7, 0.5, 0.2]), BOXES, BOXES2D, np.ones(4))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"score_threshold": 0.5}, [0, 1, 2]),
        ({"classes": ["Car"]}, [0, 3]),
        ({"classes": ["Cyclist", "Pedestrian"]}, [1, 2]),
        ({"classes": ["Tram"]}, []),
        ({"min_range": 10.0}, [1, 2, 3]),
        ({"max_range": 50.0}, [0, 1, 2]),
        ({"max_range": 49.9}, [0, 1]),
        ({"region": [0.0, 0.0, 0.5, 1.0]}, [0, 1, 3]),
        ({"region": [0.0, 0.25, 1.0, 1.0]}, [1, 2]),
        ({"region": [0.0, 0.25, 1.0, 1.0], "classes": ["Car"]}, []),
    ],
)
def test_what_passes(options, kept):
    assert list(DetectionFilter(**options)(FOUND, CAMERA).scores) == list(FOUND.scores[kept])


def test_nothing_passes_nothing():
    assert len(DetectionFilter()(Detections.empty(), CAMERA)) == 0


@pytest.mark.parametrize(("camera", "rate"), [(30, 10), (30, 15), (30, 20), (20, 15), (10, 10), (29.97, 30), (10, 3)])
@pytest.mark.parametrize("jitter", [0.0, 0.002])
def test_in_the_long_run_frames_pass_at_the_rate(camera, rate, jitter):
    limit, rng = RateLimit(), np.random.default_rng(0)
    times = np.arange(2000) / camera + rng.uniform(-jitter, jitter, 2000)
    passed = [time for time in times if limit.ready(time, rate)]
    assert len(passed) / times[-1] == pytest.approx(min(camera, rate), rel=0.06)
    assert np.diff(passed).min() > 0.45 / rate


def test_a_rate_that_changes_holds_at_once():
    limit = RateLimit()
    assert limit.ready(0.0, 0.1) and not limit.ready(1.0, 0.1)
    assert limit.ready(1.1, 10.0) and not limit.ready(1.12, 10.0) and limit.ready(1.25, 10.0)
    assert all(limit.ready(1.3 + 0.001 * i, 0.0) for i in range(5))
