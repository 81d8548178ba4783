"""Tracks of a camera that looks down and rolls: those that a level camera in its place would have, turned."""

from __future__ import annotations

import numpy as np
import pytest

from add_model.detections import Detections
from add_model.geometry.boxes import axes, project_boxes
from add_model.geometry.camera import Camera
from add_model.geometry.level import camera_up, level_view, turned_back
from add_model.tracking import Tracker, TrackerSettings

# As a stereo pair's right camera: P has a translation.
CAMERA = Camera(np.array([[420.0, 0, 330, -50], [0, 430, 230, 0], [0, 0, 1, 0]]), 640, 480)
PERIOD = 10**8  # nanoseconds
PARKED = np.array([[-2.0, 1.0, 20.0, 4.0, 1.7, 1.5, 0.3], [3.0, 1.0, 28.0, 4.2, 1.8, 1.6, -1.2]])
SPEED = 3.0  # m/s, of a third car, ahead


def objects(k):
    """The cars at an image, in the fixed frame in which the camera began."""
    return np.vstack([PARKED, [[0.5, 1.0, 16.0 + SPEED * k * PERIOD / 1e9, 4.0, 1.7, 1.5, -np.pi / 2]]])


def level_pose(k):
    """Of the level camera: 2 m/s ahead, in a bend of 2 degrees a second."""
    yaw = np.radians(0.2 * k)
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    pose[:3, 3] = 0, 0, 0.2 * k
    return pose


def detected(boxes, camera, depth_std=0.5):
    return Detections(
        np.full(len(boxes), "Car"), np.full(len(boxes), 0.97), boxes, project_boxes(boxes, camera),
        np.full(len(boxes), depth_std),
    )  # fmt: skip


def to_level(view):
    """(4, 4) from points of the frame of CAMERA's P to the level view's own."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = view.rotation, view.rotation @ CAMERA.translation
    return matrix


def follow(lean, posed, images=40):
    """A leaning and a level tracker on the same noisy detections: what they say last, the truth there, and the view."""
    rng, leaning, level = np.random.default_rng(3), Tracker(), Tracker()
    for k in range(images):
        view = level_view(CAMERA, camera_up(*lean(k)))
        pose = level_pose(k)
        there = objects(k)
        there[:, :3] = (there[:, :3] - pose[:3, 3]) @ pose[:3, :3]
        there[:, 6] -= np.radians(0.2 * k)
        boxes = there.copy()
        boxes[:, :3] *= 1 + rng.normal(0, 0.01, (3, 1))
        found = detected(boxes, view.camera)[rng.random(3) > 0.2]
        seen = turned_back(found, view, CAMERA)
        assert len(seen) == len(found)
        stamp = (k + 1) * PERIOD
        expected = level.update(found, view.camera, stamp, pose if posed else None)
        tracks = leaning.update(seen, CAMERA, stamp, pose @ to_level(view) if posed else None)
    return tracks, expected, there, view


@pytest.mark.parametrize("posed", [True, False])
@pytest.mark.parametrize(
    "lean",
    [lambda k: (10, 0), lambda k: (15, 8), lambda k: (-5, -10), lambda k: (8 + 3 * np.sin(k / 4), 4 * np.cos(k / 5))],
    ids=["down", "down and rolled", "up and rolled", "rocking"],
)
def test_a_leaning_camera_has_the_tracks_of_a_level_one(lean, posed):
    tracks, expected, truth, view = follow(lean, posed)
    rotation = view.rotation
    assert sorted(tracks.ids) == sorted(expected.ids) == [1, 2, 3]
    tracks, expected = tracks[np.argsort(tracks.ids)], expected[np.argsort(expected.ids)]
    np.testing.assert_allclose(tracks.up, view.up, atol=1e-12)
    centres = (tracks.boxes[:, :3] + CAMERA.translation) @ rotation.T
    assert np.linalg.norm(truth[:, None, :3] - centres, axis=2).min(axis=0).max() < 0.5
    forward = axes(tracks.boxes, tracks.up)[:, 0] @ rotation.T
    same = [(centres, expected.boxes[:, :3]), (forward, axes(expected.boxes)[:, 0])]
    same += [(rotation @ tracks.position_covariances @ rotation.T, expected.position_covariances)]
    if posed:
        same += [(tracks.velocities @ rotation.T, expected.velocities)]
        same += [(rotation @ tracks.velocity_covariances @ rotation.T, expected.velocity_covariances)]
        assert np.abs(np.linalg.norm(tracks.velocities, axis=1) - SPEED).min() < 0.6
    for turned, level in same:
        np.testing.assert_allclose(turned, level, atol=1e-6)
    assert (tracks.velocities is not None) == posed


LEANS = [(12, 6), (0, 10), (20, 10)]


def at_the_rim(view, centre_u):
    """Detections of a car whose centre is in this column of the original image, as `Predictor` cuts its 2D box."""
    ray = np.linalg.inv(CAMERA.P[:, :3]) @ [centre_u, 260.0, 1.0]
    box = np.array([[*(view.rotation @ (ray * 12.0)), 4.0, 1.7, 1.5, 0.4]])
    return box, turned_back(detected(box, view.camera), view, CAMERA)


@pytest.mark.parametrize("lean", LEANS)
def test_a_jump_in_depth_at_the_images_rim_is_no_second_object(lean):
    view, tracker = level_view(CAMERA, camera_up(*lean)), Tracker()
    box, seen = at_the_rim(view, 600)
    assert seen.boxes2d[0, 2] > CAMERA.width - 2  # it is cut
    pose = to_level(view)
    for k in range(12):
        farther = box.copy()
        farther[:, :3] *= 1.25 if k % 4 == 3 else 1.0
        jumped = turned_back(detected(farther, view.camera, 0.05), view, CAMERA)
        found = Detections(seen.names, seen.scores, jumped.boxes, seen.boxes2d, np.array([0.05]), up=seen.up)
        tracks = tracker.update(found, CAMERA, (k + 1) * PERIOD, pose)
        np.testing.assert_array_equal(tracks.ids, [1])
        np.testing.assert_array_equal(tracks.boxes2d, found.boxes2d)


@pytest.mark.parametrize("lean", LEANS)
def test_what_leaves_the_image_is_forgotten_though_the_level_view_reaches_farther(lean):
    view, tracker = level_view(CAMERA, camera_up(*lean)), Tracker()
    for k, centre_u in enumerate(range(320, 840, 40)):
        _, seen = at_the_rim(view, centre_u)
        tracker.update(seen if centre_u < 620 else seen[:0], CAMERA, (k + 1) * PERIOD, to_level(view))
    # Seen last 0.6 s ago: longer than a track lives outside, not as long as one inside.
    assert TrackerSettings().tentative_coast < 0.6 < TrackerSettings().confirmed_coast
    assert len(tracker._table) == 0


def test_what_coasts_has_the_box_that_the_predictor_would_give_it():
    view, tracker = level_view(CAMERA, camera_up(12, 6)), Tracker()
    seen = turned_back(detected(objects(0), view.camera), view, CAMERA)
    for k in range(12):
        tracks = tracker.update(seen if k < 11 else seen[:0], CAMERA, (k + 1) * PERIOD, to_level(view))
    assert (tracks.sources == -1).all()
    np.testing.assert_allclose(tracks[np.argsort(tracks.ids)].boxes2d, seen.boxes2d, atol=3)


def test_rows_that_are_not_finite_are_passed_over():
    boxes = np.array([[1.0, 1, 15, 4, 1.7, 1.5, 0.2], [np.nan] * 7, [1, 1, 12, 4, 2, 1.5, np.inf]])
    boxes2d = np.array([[300.0, 200, 350, 240], [np.nan] * 4, [np.inf, 0, 1, 2]])
    found = Detections(np.full(3, "Car"), np.full(3, 0.97), boxes, boxes2d, np.ones(3), up=camera_up(12, 6))
    tracks = Tracker().update(found, CAMERA, PERIOD, np.eye(4))
    np.testing.assert_array_equal(tracks.sources, [0])
    np.testing.assert_allclose(tracks.boxes[0], boxes[0], atol=1e-9)
    assert len(Tracker().update(found[:0], CAMERA, PERIOD)) == 0
