"""Depth from the ground: against exact geometry, the general Kalman filter, and streets whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.geometry.level import camera_up
from add_model.ground import Ground, stood_on
from add_model.pose_covariance import position_covariances
from add_model.predictor import Predictor
from training.data.world import World

LEVEL = np.array([0.0, -1.0, 0.0])
CAMERA = Camera.pinhole(400, 400, 320, 160, 640, 320)


def detections(centres, std, height=1.5, up=None):
    centres = np.atleast_2d(np.asarray(centres, float))
    n = len(centres)
    boxes = np.column_stack([centres, np.tile([4.0, 1.7, height, 0.3], (n, 1))])
    return Detections(np.full(n, "Car"), np.linspace(0.9, 0.5, n), boxes, np.zeros((n, 4)), np.full(n, std), up=up)


def test_a_box_whose_depth_is_vague_comes_to_stand_on_flat_ground_along_its_ray():
    truth = np.array([2.0, 1.65 - 0.75, 12.0])
    wrong = detections(truth * 1.3, std=8.0)
    right = stood_on(wrong, Ground(LEVEL, 1.65, slope_std=0.01), CAMERA)
    np.testing.assert_allclose(right.boxes[0, :3], truth, rtol=0.03)
    assert right.depth_std[0] < 0.2 * wrong.depth_std[0]
    # The bottom's height is wrong by the box's own error (0.5 pixels, 5%) and 5 cm of load, times depth over height.
    height = np.sqrt((0.5 * truth[2] / 720) ** 2 + (0.05 * 1.5) ** 2 + 0.05**2)
    stretched = height * truth[2] / truth[1]
    assert np.sqrt(position_covariances(right)[0, 2, 2]) == pytest.approx(stretched, rel=0.05)
    np.testing.assert_array_equal(right.boxes[:, 3:], wrong.boxes[:, 3:])


def test_what_stands_where_it_should_stays_and_is_surer_near_the_camera_than_far_away():
    z = np.array([6.0, 15.0, 40.0])
    found = detections(np.c_[np.zeros(3), np.full(3, 1.65 - 0.75), z], std=0.1)
    found = replace(found, depth_std=0.1 * z)
    after = stood_on(found, Ground(LEVEL, 1.65), CAMERA)
    np.testing.assert_allclose(after.boxes, found.boxes, atol=1e-12)
    gained = after.depth_std / found.depth_std
    assert (np.diff(gained) > 0).all() and gained[0] < 0.9 and gained[2] > 0.97


@settings(max_examples=40)
@given(
    st.floats(-25, 25), st.floats(-15, 15), st.floats(0.4, 3), st.floats(0.05, 2), st.floats(5, 40), st.floats(0.2, 4),
    st.sampled_from([0.5, 1.0, 2.0]),
)  # fmt: skip
def test_is_the_posterior_of_gaussians(pitch, roll, height, slope, depth, std, scale):
    """Against the best of the density itself: the prior of the centre times that of the bottom's height."""
    up = camera_up(pitch, roll)
    found = detections([0.2 * depth, 0.05 * depth, depth], std, up=up)
    ground = Ground(up, height, slope, scale)
    after = stood_on(found, ground, CAMERA)
    centre, covariance = found.boxes[0, :3], scale**2 * position_covariances(found)[0]
    above = centre @ up + height - 0.75
    noise = (np.radians(slope) * np.linalg.norm(centre)) ** 2 + 0.05**2
    # In information form, where the code has the gain.
    information = np.linalg.inv(covariance) + np.outer(up, up) / noise
    posterior = np.linalg.inv(information)
    best = posterior @ (np.linalg.solve(covariance, centre) + up * (0.75 - height) / noise)
    if above**2 > 9 * (up @ covariance @ up + noise) or best[2] <= 0:
        np.testing.assert_array_equal(after.boxes, found.boxes)
        np.testing.assert_array_equal(after.depth_std, found.depth_std)
        return
    np.testing.assert_allclose(after.boxes[0, :3], best, rtol=1e-6, atol=1e-6)
    # 0.9: what is published of the network's own deviation. `depth_std` leaves that out, and the scale.
    assert after.depth_std[0] == pytest.approx(np.sqrt(posterior[2, 2]) / 0.9 / scale, rel=1e-6)
    density = multivariate_normal(centre, covariance)
    assert density.logpdf(best) - (best @ up + height - 0.75) ** 2 / (2 * noise) >= (
        density.logpdf(centre) - above**2 / (2 * noise) - 1e-9
    )


def test_another_origin_of_the_boxes_changes_nothing_else():
    shifted = Camera(np.c_[CAMERA.P[:, :3], [40.0, -9.0, 0.01]], 640, 320)
    found = detections([[2.0, 1.2, 12.0], [-3.0, 0.4, 20.0]], std=2.0)
    moved = replace(found, boxes=found.boxes - np.r_[shifted.translation, 0, 0, 0, 0])
    here, there = (stood_on(f, Ground(LEVEL, 1.65), c) for f, c in ((found, CAMERA), (moved, shifted)))
    np.testing.assert_allclose(there.boxes[:, :3] + shifted.translation, here.boxes[:, :3], atol=1e-9)
    np.testing.assert_allclose(there.depth_std, here.depth_std)
    assert np.abs(here.boxes - found.boxes).max() > 0.1


def test_a_network_that_is_less_sure_than_it_says_is_believed_less():
    found = detections([0.5, 1.4, 12.0], std=0.5)
    known, doubted = (stood_on(found, Ground(LEVEL, 1.65, 0.2, scale), CAMERA) for scale in (1.0, 2.0))
    above = [abs(one.boxes[0, 1] + 0.75 - 1.65) for one in (known, doubted)]
    assert above[1] < 0.7 * above[0]


def test_what_stands_on_something_else_is_left_alone_and_nothing_is_nothing():
    shelf = detections([0.0, -3.0, 10.0], std=0.3)
    assert stood_on(shelf, Ground(LEVEL, 1.65, 0.2), CAMERA).boxes[0, 2] == 10.0
    assert len(stood_on(Detections.empty(), Ground(LEVEL, 1.65), CAMERA)) == 0


@pytest.mark.parametrize(
    ("up", "height", "slope", "words"),
    [
        ((0, -2, 0), 1.0, 1.0, "unit vector"),
        ((0, np.nan, 0), 1.0, 1.0, "unit vector"),
        ((0, -1, 0), 0.0, 1.0, "above the ground"),
        ((0, -1, 0), -1.5, 1.0, "got a height of -1.5 m"),
        ((0, -1, 0), np.inf, 1.0, "above the ground"),
        ((0, -1, 0), 1.0, -0.1, "0 or more"),
    ],
)
def test_a_ground_that_cannot_be_is_refused(up, height, slope, words):
    with pytest.raises(ValueError, match=words):
        Ground(np.array(up), height, slope)


def test_the_shipped_network_places_cars_better_where_it_knows_its_height():
    world = World(640, 384, 400, (1, 1), (0, 0), (0, 0, 0), camera_height=(3.0, 3.0), pitch=(0, 0), roll=(0, 0), seed=5)
    predictor, errors = Predictor(device="cpu"), []
    for number in range(12):
        sample = world.sample(number)
        plain = predictor.predict(sample.image, sample.camera, 0.3)
        known = predictor.predict(sample.image, sample.camera, 0.3, ground=Ground(LEVEL, 3.0, 0.2))
        np.testing.assert_array_equal(plain.scores, known.scores)
        cars = sample.objects.boxes[sample.objects.names == "Car"]
        for before, after in zip(plain.boxes, known.boxes, strict=True):
            ray = before[:3] / np.linalg.norm(before[:3])
            true = cars[:, :3] / np.linalg.norm(cars[:, :3], axis=1, keepdims=True)
            if len(cars) and (true @ ray).max() > np.cos(np.radians(1.5)):
                car = cars[(true @ ray).argmax()]
                errors.append([abs(before[2] - car[2]) / car[2], abs(after[2] - car[2]) / car[2]])
    plain, known = np.median(errors, axis=0)
    assert len(errors) > 15 and known < 0.8 * plain


def test_predictor_takes_one_ground_for_each_image():
    image = np.random.default_rng(0).integers(0, 255, (320, 640, 3), np.uint8)
    predictor, ground = Predictor(device="cpu"), Ground(LEVEL, 1.0)
    alone = predictor.predict(image, CAMERA, ground=ground)
    plain, known = predictor.predict_batch([image, image], [CAMERA, CAMERA], grounds=[None, ground])
    np.testing.assert_allclose(known.boxes, alone.boxes, atol=1e-4)
    np.testing.assert_allclose(plain.boxes, predictor.predict(image, CAMERA).boxes, atol=1e-4)
    np.testing.assert_allclose(stood_on(plain, ground, CAMERA).boxes, known.boxes, atol=1e-4)
    assert box3d.wrap(plain.boxes[:, 6]) == pytest.approx(known.boxes[:, 6])
