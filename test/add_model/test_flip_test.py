"""The flip test: what is averaged, and that a mirrored world gets the mirrored answer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from add_model.candidates import Candidates
from add_model.detectors.base import depth_certainty
from add_model.flip_test import _depth_certainty, average, flip_candidates
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from training.data import augmentation
from training.data.world import World

CAMERA = Camera(np.array([[360.0, 0, 310, 20], [0, 360, 96, 0.1], [0, 0, 1, 0.003]]), 640, 192)


def candidates(scores, boxes, boxes2d, labels=None, depth_std=None):
    n = len(scores)
    return Candidates(
        np.array(scores, np.float32),
        np.zeros(n, np.int64) if labels is None else np.array(labels),
        np.array(boxes, np.float32).reshape(n, 7),
        np.array(boxes2d, np.float32).reshape(n, 4),
        np.ones(n, np.float32) if depth_std is None else np.array(depth_std, np.float32),
    )


@st.composite
def seen_candidates(draw):
    n = draw(st.integers(0, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corner = rng.uniform(0, [600, 150], (n, 2))
    boxes = np.c_[rng.uniform(-20, 20, (n, 2)), rng.uniform(3, 60, n), rng.uniform(1, 4, (n, 3))]
    boxes = np.c_[boxes, rng.uniform(-np.pi, np.pi, n)]
    boxes2d = np.c_[corner, corner + rng.uniform(5, 80, (n, 2))]
    return candidates(rng.uniform(0.01, 1, n), boxes, boxes2d, rng.integers(0, 3, n), rng.uniform(0.3, 5, n))


def test_flipped_boxes_are_where_the_mirrored_camera_sees_them():
    box = np.array([[2.0, 1.0, 15.0, 4.0, 1.7, 1.5, 0.4]])
    found = candidates([0.9], box, box3d.project_boxes(box, CAMERA))
    flipped = flip_candidates(found, CAMERA.width)
    seen = box3d.project_boxes(flipped.boxes.astype(float), CAMERA.flip())
    np.testing.assert_allclose(flipped.boxes2d, seen, atol=1e-3)


@given(seen_candidates())
def test_flipping_twice_changes_nothing(found):
    for value, again in zip(found, flip_candidates(flip_candidates(found, 640), 640), strict=True):
        np.testing.assert_allclose(again, value, atol=1e-4)


@given(seen_candidates(), seen_candidates())
def test_the_order_of_both_answers_does_not_matter(a, b):
    one, other = average(a, b), average(b, a)
    assert (np.diff(one.scores) <= 0).all()
    for value, same in zip(one, other, strict=True):
        np.testing.assert_allclose(same, value, rtol=1e-4, atol=1e-4)


@given(seen_candidates(), seen_candidates())
def test_no_score_is_gained(a, b):
    """And half of each is all that can be lost, but for depths that disagree."""
    joined = average(a, b)
    assert joined.scores.sum() <= (a.scores.sum() + b.scores.sum()) / 2 * (1 + 1e-6)
    assert joined.scores.max(initial=0) <= max(a.scores.max(initial=0), b.scores.max(initial=0))
    agreed = average(a, a)
    np.testing.assert_allclose(np.sort(agreed.scores), np.sort(a.scores), rtol=1e-6)


def test_a_pair_is_weighted_by_its_scores():
    a = candidates([0.6], [[1, 1, 20, 4, 1.6, 1.5, 0.2]], [[100, 50, 140, 80]], depth_std=[1])
    b = candidates([0.2], [[2, 1, 24, 4.4, 1.6, 1.5, 0.6]], [[104, 50, 144, 80]], depth_std=[2])
    joined = average(a, b)
    variance = 0.75 * 1 + 0.25 * 4  # of each, and between them: 4 m apart, in shares of 3/4 and 1/4
    right = [1 - np.exp(-np.sqrt(2 / v)) for v in (variance + 3, variance)]
    np.testing.assert_allclose(joined.scores, [0.4 * right[0] / right[1]], rtol=1e-6)
    np.testing.assert_allclose(joined.boxes, [[1.25, 1, 21, 4.1, 1.6, 1.5, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(joined.boxes2d, [[101, 50, 141, 80]])
    np.testing.assert_allclose(joined.depth_std, [np.sqrt(variance + 3)], rtol=1e-6)


def test_depth_is_as_certain_as_in_the_networks_score():
    deviations = np.geomspace(1e-3, 100, 50)
    wanted = depth_certainty(torch.from_numpy(deviations)).numpy()
    np.testing.assert_allclose(_depth_certainty(deviations), wanted, rtol=1e-12)


def test_of_two_opposite_headings_the_surer_one_is_taken():
    place, area = [1, 1, 20, 4, 1.6, 1.5], [[100, 50, 140, 80]]
    a, b = candidates([0.6], [[*place, 0.2]], area), candidates([0.7], [[*place, 3.0]], area)
    np.testing.assert_allclose(average(a, b).boxes[0, 6], 3.0, rtol=1e-6)
    near = average(a, candidates([0.6], [[*place, 0.4 - 2 * np.pi]], area))
    np.testing.assert_allclose(near.boxes[0, 6], 0.3, rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "area"), [(1, [100, 50, 140, 80]), (0, [125, 50, 165, 80])], ids=["another class", "overlaps too little"]
)
def test_what_is_alone_keeps_half_of_its_score(label, area):
    box = [1, 1, 20, 4, 1.6, 1.5, 0.2]
    a, b = candidates([0.6], [box], [[100, 50, 140, 80]]), candidates([0.8], [box], [area], [label])
    joined = average(a, b)
    np.testing.assert_allclose(joined.scores, [0.4, 0.3])
    np.testing.assert_array_equal(joined.boxes2d[0], area)


def test_what_is_not_finite_spoils_no_other_answer():
    box, area = [1, 1, 20, 4, 1.6, 1.5, 0.2], [100, 50, 140, 80]
    good = candidates([0.6], [box], [area])
    for bad in (
        candidates([np.nan], [box], [area]),
        candidates([0.6], [[np.inf, *box[1:]]], [area]),
        candidates([0.6], [box], [[np.nan, *area[1:]]]),
        candidates([0.6], [box], [area], depth_std=[np.nan]),
    ):
        joined = average(good, bad)
        row = np.flatnonzero([np.isfinite(np.r_[joined.scores[k], joined.boxes[k]]).all() for k in range(2)])
        assert any(np.array_equal(joined.boxes[k], good.boxes[0]) for k in row)


def test_a_mirrored_world_gets_the_mirrored_answer():
    """Which no network does by itself. The image is one that needs no padding, which would lie on the other side."""
    sample = World(width=640, height=192, focal=360, focal_range=(1, 1), seed=91).sample(3)
    mirrored = augmentation.flip(sample)
    own, other = (Predictor(device="cpu", threads=1).predict(s.image, s.camera, 0.1) for s in (sample, mirrored))
    assert len(own) >= 3
    assert own.names.tolist() == other.names.tolist()
    np.testing.assert_allclose(own.scores, other.scores, atol=1e-3)
    np.testing.assert_allclose(box3d.flip(other.boxes)[:, :6], own.boxes[:, :6], rtol=1e-3, atol=1e-3)

    single = [
        Predictor(device="cpu", threads=1, flip_test=False).predict(s.image, s.camera, 0.1) for s in (sample, mirrored)
    ]
    assert len(single[0]) != len(single[1]) or not np.allclose(single[0].scores, single[1].scores, atol=1e-3)
