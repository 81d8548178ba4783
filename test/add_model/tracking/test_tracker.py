"""The tracker on scenes whose truth is known: who is who, how fast, and whatever clocks and odometry do."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_model.detections import Detections
from add_model.geometry.boxes import project_boxes, wrap
from add_model.geometry.camera import Camera
from add_model.tracking import Tracker, TrackerSettings

CAMERA = Camera.pinhole(720, 720, 620, 187, 1242, 375)
SECOND = 10**9


def detections(boxes, scores=0.97, names="Car", depth_std=0.5) -> Detections:
    boxes = np.asarray(boxes, float).reshape(-1, 7)
    n = len(boxes)
    spread = depth_std * np.ones(n)
    names = np.full(n, names) if isinstance(names, str) else np.array(names)
    return Detections(names, np.full(n, scores) * np.ones(n), boxes, project_boxes(boxes, CAMERA), spread)


def car(x, z, heading=-np.pi / 2):
    return [x, 1.0, z, 4.0, 1.7, 1.5, heading]


def pose_at(x=0.0, z=0.0, yaw=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    matrix[:3, 3] = x, 0, z
    return matrix


def seen_from(pose, boxes):
    boxes, back = np.array(boxes, float), np.linalg.inv(pose)
    yaw = np.arctan2(pose[0, 2], pose[2, 2])
    boxes[:, :3] = boxes[:, :3] @ back[:3, :3].T + back[:3, 3]
    boxes[:, 6] = wrap(boxes[:, 6] - yaw)
    return boxes


def turn_and_drive(k, rate=10.0):
    """A camera that drives a bend at 8 m/s and 20 degrees a second."""
    time, speed, rate_of_turn = k / rate, 8.0, 0.35
    yaw = rate_of_turn * time
    return pose_at(speed / rate_of_turn * (1 - np.cos(yaw)), speed / rate_of_turn * np.sin(yaw), yaw)


def noisy(rng, boxes, depth=0.03):
    boxes = np.array(boxes, float)
    boxes[:, :3] *= 1 + rng.normal(0, depth, (len(boxes), 1))
    boxes[:, 6] += rng.normal(0, 0.05, len(boxes))
    return boxes


def same(a, b, tolerance=0.0):
    assert (a is None) == (b is None)
    for f in fields(a) if a is not None else ():
        left, right = getattr(a, f.name), getattr(b, f.name)
        if not isinstance(left, np.ndarray) or left.dtype.kind == "U":
            assert np.array_equal(left, right)
        elif f.name == "boxes":
            np.testing.assert_allclose(left[:, :6], right[:, :6], atol=tolerance)
            np.testing.assert_allclose(wrap(left[:, 6] - right[:, 6]), 0, atol=tolerance)
        else:
            np.testing.assert_allclose(left, right, atol=tolerance)


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_parked_cars_keep_their_ids_through_a_bend_with_a_third_of_the_detections_lost(rate):
    rng, tracker = np.random.default_rng(1), Tracker()
    parked = [car(-4 + 8 * (k % 2) + 4 * k, 25 + 5 * k, 0.3) for k in range(5)]
    ids, speeds = {}, []
    for k in range(2 * rate):
        pose = turn_and_drive(k, rate)
        boxes = noisy(rng, seen_from(pose, parked))
        pixels = project_boxes(seen_from(pose, parked), CAMERA)
        there = (rng.random(5) > 0.3) & (pixels[:, 0] > 0) & (pixels[:, 2] < 1242)
        tracks = tracker.update(
            detections(boxes[there], depth_std=0.03 * boxes[there, 2]), CAMERA, k * SECOND // rate, pose
        )
        for i, row in zip(tracks.ids, tracks.sources, strict=True):
            if row >= 0:
                ids.setdefault(int(np.flatnonzero(there)[row]), set()).add(int(i))
        if k >= rate:
            speeds += np.hypot(tracks.velocities[:, 0], tracks.velocities[:, 2]).tolist()
    assert [len(found) for found in ids.values()] == [1] * 5
    assert len(set.union(*ids.values())) == 5
    assert np.mean(speeds) < 1.0


def test_velocity_is_over_ground_along_the_cameras_axes():
    tracker = Tracker()
    for k in range(31):
        pose = turn_and_drive(k)
        box = seen_from(pose, [car(3 + 0.5 * k, 30 + 0.2 * k, -0.38)])  # 5 and 2 m/s
        tracks = tracker.update(detections(box, depth_std=0.3), CAMERA, k * SECOND // 10, pose)
    np.testing.assert_allclose(tracks.velocities[0], pose[:3, :3].T @ [5, 0, 2], atol=0.15)
    assert np.linalg.eigvalsh(tracks.velocity_covariances[0]).min() > 0


def test_without_the_cameras_motion_there_is_no_velocity_but_an_identity():
    tracker, ids = Tracker(), set()
    for k in range(30):
        tracks = tracker.update(detections([car(2, 40 - 0.8 * k)]), CAMERA, k * SECOND // 10)
        assert tracks.velocities is None and tracks.velocity_covariances is None
        ids |= set(tracks.ids.tolist())
    assert ids == {1}
    assert tracks.boxes[0, 2] == pytest.approx(40 - 0.8 * 29, abs=0.5)


def test_smoothing_halves_what_noise_makes_a_standing_car_jump():
    rng, tracker, steps = np.random.default_rng(0), Tracker(), []
    for k in range(80):
        found = detections(noisy(rng, [car(2, 30)]), depth_std=0.9)
        tracks = tracker.update(found, CAMERA, k * SECOND // 10, np.eye(4))
        steps.append((found.boxes[0, 2], tracks.boxes[0, 2]))
    raw, smooth = np.abs(np.diff(steps[20:], axis=0)).mean(axis=0)
    assert smooth < raw / 2


def test_any_fixed_frame_will_do():
    rng = np.random.default_rng(3)
    frames = [noisy(rng, seen_from(turn_and_drive(k), [car(-3, 25), car(4, 32, 0.2)])) for k in range(12)]
    other = np.eye(4)
    other[:3, :3] = Rotation.from_rotvec([0.7, -1.1, 2.0]).as_matrix()
    other[:3, 3] = 4e5, -5e6, 12
    one, two = Tracker(), Tracker()
    for k, boxes in enumerate(frames):
        stamp, pose = k * SECOND // 10, turn_and_drive(k)
        a = one.update(detections(boxes), CAMERA, stamp, pose)
        same(a, two.update(detections(boxes), CAMERA, stamp + 10_000 * SECOND, other @ pose), 1e-5)
    assert len(a) == 2


def test_the_same_input_gives_the_same_tracks_to_the_last_bit():
    rng = np.random.default_rng(4)
    frames = [noisy(rng, [car(x, z) for x, z in ((-6, 20), (-2, 28), (3, 30), (3, 36))], 0.1) for _ in range(20)]
    one, two = Tracker(), Tracker()
    for k, boxes in enumerate(frames):
        shuffled = rng.permutation(4)
        a = one.update(detections(boxes), CAMERA, k * SECOND // 10)
        same(a, two.update(detections(boxes), CAMERA, k * SECOND // 10))
        assert set(a.sources[a.sources >= 0]) <= set(range(4)) == set(shuffled)


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_birth_and_death_go_by_time(rate):
    settings = TrackerSettings()
    tracker, born, gone = Tracker(), None, None
    for k in range(3 * rate):
        time = k / rate
        found = detections([car(2, 30)] if time < 1 else [], scores=0.6)
        tracks = tracker.update(found, CAMERA, round(time * SECOND), np.eye(4))
        born = time if born is None and len(tracks) else born
        gone = time if gone is None and born is not None and time >= 1 and not len(tracks) else gone
    assert settings.confirm_time <= born <= settings.confirm_time + 1 / rate + 1e-6
    assert settings.publish_coast <= gone - (1 - 1 / rate) <= settings.publish_coast + 1 / rate + 1e-6


@pytest.mark.parametrize("milliseconds", [85, 100, 115])
def test_two_images_of_a_camera_with_uneven_stamps_are_enough(milliseconds):
    tracker, found = Tracker(), detections([car(2, 30)], scores=0.6)
    published = [len(tracker.update(found, CAMERA, k * milliseconds * SECOND // 1000, np.eye(4))) for k in range(2)]
    assert published == [0, 1]


def test_a_sure_detection_is_a_track_at_once_and_a_weak_one_none():
    assert len(Tracker().update(detections([car(2, 30)], scores=0.97), CAMERA, 0)) == 1
    tracker = Tracker()
    weak = [tracker.update(detections([car(2, 30)], scores=0.1), CAMERA, k * SECOND // 10) for k in range(10)]
    assert not any(map(len, weak))


def test_weak_detections_continue_what_sure_ones_began():
    tracker = Tracker()
    for k in range(20):
        scores = 0.97 if k < 5 else 0.3
        tracks = tracker.update(detections([car(2, 30)], scores=scores), CAMERA, k * SECOND // 10)
    assert tracks.ids.tolist() == [1] and tracks.coasting[0] == 0


def test_what_coasts_is_where_it_should_be_by_now():
    tracker = Tracker()
    for k in range(20):
        found = detections([car(-8 + 0.8 * k, 30, 0.0)] if k < 18 else [], depth_std=0.2)
        tracks = tracker.update(found, CAMERA, k * SECOND // 10, np.eye(4))
    assert tracks.coasting[0] == pytest.approx(0.2) and tracks.sources[0] == -1
    assert tracks.boxes[0, 0] == pytest.approx(-8 + 0.8 * 19, abs=0.3)
    np.testing.assert_allclose(tracks.boxes2d, project_boxes(tracks.boxes, CAMERA))


def test_what_leaves_the_image_is_not_published():
    tracker = Tracker()
    for k in range(14):
        pose = pose_at(z=2.0 * k)
        boxes = seen_from(pose, [car(2, 20)])
        tracks = tracker.update(detections(boxes if boxes[0, 2] > 3 else []), CAMERA, k * SECOND // 10, pose)
    assert not len(tracks)


def test_clocks_that_jump_pause_and_repeat():
    tracker, found = Tracker(), detections([car(2, 30)])

    def at(seconds):
        return tracker.update(found, CAMERA, round(seconds * SECOND))

    assert [at(10_000 + k / 10).ids.tolist() for k in range(5)] == [[1]] * 5
    assert at(10_000.4) is None and at(10_000.3) is None  # again, and late
    assert at(10_000.5).ids.tolist() == [1]
    assert at(10_010.5).ids.tolist() == [2]  # 10 s later, another car
    assert at(10_000.0).ids.tolist() == [3]  # a bag begins anew
    assert at(10_000.1).ids.tolist() == [3]
    tracker.reset()
    assert at(5.0).ids.tolist() == [4]


def test_ids_survive_lost_found_and_reset_odometry():
    tracker = Tracker()

    def poses(k):
        if k < 5 or 10 <= k < 15:
            return None
        jump = 0.0 if k < 20 else 1000.0
        return pose_at(x=jump, z=0.5 * k)

    for k in range(30):
        found = detections(seen_from(pose_at(z=0.5 * k), [car(-3, 40), car(3, 36)]))
        tracks = tracker.update(found, CAMERA, k * SECOND // 10, poses(k))
        assert sorted(tracks.ids) == [1, 2]
        assert (tracks.velocities is None) == (poses(k) is None)
    assert np.hypot(*tracks.velocities[:, [0, 2]].T).max() < 1.5


@pytest.mark.parametrize("jump", [pose_at(z=-5), pose_at(x=1.5), pose_at(yaw=0.45), pose_at(x=3, yaw=3.0)])
@pytest.mark.parametrize("speed", [0.0, 8.0])
def test_odometry_that_is_set_anew_by_little_moves_nothing(jump, speed):
    """Of a standing camera and of one that drives on while its odometry is set anew."""
    tracker, parked = Tracker(), [car(2, 45), car(-3, 50), car(-6, 60)]
    for k in range(30):
        pose = pose_at(z=speed * k / 10)
        found = detections(seen_from(pose, parked), depth_std=0.2)
        tracks = tracker.update(found, CAMERA, k * SECOND // 10, jump @ pose if k >= 15 else pose)
        assert sorted(tracks.ids) == [1, 2, 3] and tracks.frame_began == (k in (0, 15))
        assert k < 5 or np.linalg.norm(tracks.velocities, axis=1).max() < 0.5
        np.testing.assert_allclose(tracks.boxes[tracks.ids.argsort(), :3], found.boxes[:, :3], atol=0.2)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([5, 10, 30]))
def test_a_camera_that_drives_as_vehicles_can_stays_in_its_frame(seed, rate):
    """Up to 10 m/s^2 and 3 radians/s^2, with 2 cm and 0.2 degrees of noise."""
    rng, tracker = np.random.default_rng(seed), Tracker()
    speed, yaw, turning, place = rng.uniform(0, 30), 0.0, rng.uniform(-0.5, 0.5), np.zeros(2)
    for k in range(40):
        noise = rng.normal(0, (0.02, 0.02, 0.0035))
        pose = pose_at(place[0] + noise[0], place[1] + noise[1], yaw + noise[2])
        assert tracker.update(Detections.empty(), CAMERA, k * SECOND // rate, pose).frame_began == (k == 0)
        speed = np.clip(speed + rng.uniform(-10, 10) / rate, 0, 40)
        turning = np.clip(turning + rng.uniform(-3, 3) / rate, -2, 2)
        yaw += turning / rate
        place += speed / rate * np.array([np.sin(yaw), np.cos(yaw)])


def test_another_class_for_a_moment_does_not_rename_a_track():
    tracker = Tracker()
    for k in range(12):
        name = "Pedestrian" if k in (5, 6) else "Cyclist"
        tracks = tracker.update(detections([car(2, 30)], names=name), CAMERA, k * SECOND // 10)
        assert tracks.names.tolist() == ["Cyclist"] and tracks.ids.tolist() == [1]


def test_what_is_not_finite_or_without_score_is_passed_over():
    boxes = np.array([car(2, 30), car(-3, 25), car(-6, 40)])
    boxes[1, 2] = np.nan
    tracks = Tracker().update(detections(boxes, scores=np.array([0.97, 0.98, np.nan])), CAMERA, 0, np.eye(4))
    assert tracks.sources.tolist() == [0]


def test_no_objects_are_no_tracks():
    tracks = Tracker().update(Detections.empty(), CAMERA, 0, np.eye(4))
    assert len(tracks) == 0 and tracks.velocities.shape == (0, 3) and len(tracks.detections) == 0


@pytest.mark.parametrize("pose", [np.eye(3), 2 * np.eye(4), np.full((4, 4), np.nan)])
def test_a_pose_must_be_rigid(pose):
    with pytest.raises(ValueError, match="pose must be a rigid transform"):
        Tracker().update(Detections.empty(), CAMERA, 0, pose)


def test_settings_name_what_is_impossible():
    with pytest.raises(ValueError, match="low_score <= high_score"):
        TrackerSettings(low_score=0.5, high_score=0.2)
    with pytest.raises(ValueError, match="score_time must be positive"):
        TrackerSettings(score_time=0)


def test_no_more_tracks_than_allowed_and_no_memory_that_grows():
    rng, tracker, sizes = np.random.default_rng(0), Tracker(TrackerSettings(max_tracks=20)), []
    for k in range(200):
        boxes = np.array([car(x, z) for x, z in zip(rng.uniform(-20, 20, 40), rng.uniform(5, 70, 40), strict=True)])
        assert len(tracker.update(detections(boxes), CAMERA, k * SECOND // 30)) <= 20
        sizes.append(len(pickle.dumps(tracker)))
    assert max(sizes[100:]) <= max(sizes[:100]) + 100


def test_a_depth_that_jumps_more_than_it_says_is_no_second_object():
    tracker, ids = Tracker(), set()
    for k in range(20):
        near, far = car(2, 30), car(2 * 1.25, 37.5)  # in the same place of the image
        found = detections([far if k % 5 == 4 else near], depth_std=0.3)
        if k % 5 == 4:
            found = Detections(*(vars(found) | {"boxes2d": detections([near]).boxes2d}).values())
        ids |= set(tracker.update(found, CAMERA, k * SECOND // 10, np.eye(4)).ids.tolist())
    assert ids == {1}


def test_the_settings_of_the_usual_threshold_are_the_defaults():
    made, usual = TrackerSettings.at(0.37), TrackerSettings()
    for name in ("low_score", "high_score", "publish_score", "sure_score"):
        assert getattr(made, name) == pytest.approx(getattr(usual, name), abs=2e-3), name
    for threshold in (0.0, 0.5, 1.0):
        made = TrackerSettings.at(threshold)
        assert made.low_score <= made.high_score == made.publish_score <= made.sure_score <= 1


def test_cameras_of_different_rates_do_not_disturb_each_other():
    alone, both = {}, {rate: Tracker() for rate in (10, 30)}
    for rate in both:
        tracker = Tracker()
        alone[rate] = [tracker.update(detections([car(2, 30)]), CAMERA, k * SECOND // rate) for k in range(2 * rate)]
    order = sorted((k / rate, rate, k) for rate in both for k in range(2 * rate))
    for _, rate, k in order:
        same(both[rate].update(detections([car(2, 30)]), CAMERA, k * SECOND // rate), alone[rate][k])
