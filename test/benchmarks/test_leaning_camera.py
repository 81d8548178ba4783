"""The cameras of the study of leaning ones: what they show of the wide picture, and boxes back in the level frame."""

import importlib
import sys

import numpy as np
import pytest
from support.paths import ROOT

from add_model.detections import Detections
from training.data.sample import Objects

sys.path.insert(0, str(ROOT / "benchmarks"))
study = importlib.import_module("leaning_camera")
del sys.path[0]

WIDE = study.wide_camera()


@pytest.mark.parametrize("lean", [(0, 0), (20, 10), (-20, -10)])
def test_a_point_is_at_one_pixel_of_both_pictures(lean):
    view = study.View.leaning(*lean, WIDE)
    points = np.random.default_rng(0).uniform([-4, -1, 10], [4, 1.5, 40], (20, 3))  # level frame
    seen = view.camera.project(points @ view.rotation)[:, :2]
    wide = np.c_[WIDE.project(points)[:, :2], np.ones(20)] @ view.turn.T
    np.testing.assert_allclose(wide[:, :2] / wide[:, 2:], seen, atol=1e-6)
    assert (view.outline > 0).all() and (view.outline < WIDE.width).all()  # the wide picture holds all of it


def test_what_a_camera_does_not_show_is_a_share_of_the_box():
    view = study.View.leaning(0, 0, WIDE)
    left, top = view.outline[0]
    boxes2d = np.array(
        [(left - 30, top + 10, left + 10, top + 50), (0, 0, 5, 5), (left + 5, top + 5, left + 9, top + 9)]
    )
    some = Objects(np.array(["Car"] * 3), np.zeros((3, 7)), boxes2d, np.array([0.5, 0, 0]), np.zeros(3, int))
    outside, inside = view.outside(some)
    np.testing.assert_allclose(outside, [0.75, 1, 0], atol=1e-4)
    np.testing.assert_allclose(inside[0], (left, top + 10, left + 10, top + 50), atol=1e-3)
    table = study.labels(some, outside, inside)
    np.testing.assert_allclose(table.values[:, 0], [1 - 0.5 * 0.25, 1, 0], atol=1e-4)


def test_boxes_as_seen_come_back_to_the_level_frame():
    view = study.View.leaning(20, 10, WIDE)
    level = np.array([[2.0, 1.0, 15.0, 4.0, 1.7, 1.5, 0.3]])
    seen = level.copy()
    seen[:, :3] = level[:, :3] @ view.rotation
    forward = np.array([np.cos(0.3), 0, -np.sin(0.3)]) @ view.rotation
    seen[:, 6] = np.arctan2(-forward[2], forward[0])
    u, v, _ = view.camera.project(seen[0, :3])
    found = Detections(np.array(["Car"]), np.ones(1), seen, np.array([[u - 1, v - 1, u + 1, v + 1]]), np.zeros(1))
    back = study.as_seen(found, view, WIDE)
    np.testing.assert_allclose(back.boxes[:, :6], level[:, :6], atol=1e-9)
    # A heading is what the projection on the camera's own floor leaves of it.
    assert back.boxes[0, 6] == pytest.approx(0.3, abs=0.05)
    left, top, right, bottom = back.boxes2d[0]
    wide = WIDE.project(level[0, :3])
    assert left < wide[0] < right and top < wide[1] < bottom
