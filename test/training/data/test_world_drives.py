"""Drives of the synthetic world: what stands still stays where it is, and every object keeps its track."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from training.data.world import World
from training.data.world.course import COURSES, Course

SMALL = World(width=414, height=125, focal=240.0, smallest=0.01)
RATE = 10.0


@lru_cache
def drive(index: int, frames: int, course: str):
    return list(SMALL.drive(index, frames, RATE, course))


def on_ground(frame):
    """Each labelled object by its track: x and z in the frame that is fixed to the road."""
    there = frame.sample.objects.boxes[:, :3] @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    return {int(t): there[i, [0, 2]] for i, t in enumerate(frame.tracks) if t >= 0}


def street(drives: bool) -> int:
    for index in range(20):
        start, later = (frame.pose[2, 3] for frame in list(SMALL.drive(index, 2, 1.0)))
        if (later > start) == drives:
            return index
    raise AssertionError("no such street")


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("drives", [True, False])
def test_every_object_moves_at_one_speed_or_stands(course, drives):
    frames = drive(street(drives), 6, course)
    paths = [on_ground(frame) for frame in frames]
    straight = 0
    for track in set.intersection(*map(set, paths)):
        steps = np.diff([path[track] for path in paths], axis=0)
        lengths = np.hypot(*steps.T)
        if course != "stopping" or not drives:  # a convoy brakes
            np.testing.assert_allclose(lengths, lengths[0], atol=0.01)
        assert (np.abs(np.diff(steps, axis=0)) < 0.05).all()
        straight += 1
    assert straight >= 1
    assert any(
        np.hypot(*np.diff([p[t] for p in paths], axis=0).T).max() < 1e-6 for t in set.intersection(*map(set, paths))
    )


def test_the_straight_course_is_the_clip():
    for frame, sample in zip(drive(3, 3, "straight"), SMALL.clip(3, 3), strict=True):
        assert frame.sample.id == sample.id
        np.testing.assert_array_equal(frame.sample.image, sample.image)
        np.testing.assert_array_equal(frame.sample.objects.boxes, sample.objects.boxes)


def test_tracks_are_numbered_by_first_sight_and_named_alike():
    names = {}
    for frame in drive(street(True), 6, "turning"):
        tracks = frame.tracks[frame.tracks >= 0]
        assert len(set(tracks)) == len(tracks)
        assert (frame.tracks[frame.sample.objects.names == "DontCare"] == -1).all()
        new = [int(track) for track in tracks if track not in names]
        assert new == list(range(len(names), len(names) + len(new)))
        for track, name in zip(frame.tracks.tolist(), frame.sample.objects.names, strict=True):
            assert track < 0 or names.setdefault(track, name) == name


def test_poses_are_rigid_and_turn_and_stop_as_the_course_says():
    turning = [frame.pose for frame in drive(street(False), 6, "turning")]
    for pose in turning:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(pose[:3, 3], turning[0][:3, 3], atol=0.05)  # it turns where it stands
    assert abs(np.arctan2(turning[5][0, 2], turning[5][2, 2]) - np.arctan2(turning[0][0, 2], turning[0][2, 2])) > 0.1
    stop = COURSES["stopping"]
    assert stop.driven(4.0) == stop.driven(5.0) == stop.driven(6.0) == 3.0


def test_a_stop_is_the_integral_of_its_speed():
    stop, times = Course(stops=True), np.arange(0, 20, 1e-3)
    way = np.array([stop.driven(float(t)) for t in times])
    speed = np.diff(way) / 1e-3
    assert (speed > -1e-9).all() and (speed < 1 + 1e-9).all()
    assert np.abs(np.diff(speed)).max() < 1e-3  # no jump: full speed is lost and won in two seconds
    assert stop.driven(8.0) == pytest.approx(4.0)


def test_swerving_looks_where_it_goes():
    course, speed, step = COURSES["turning"], 9.0, 1e-5
    for time in np.linspace(0, 4, 9):
        aside = (course.aside(time + step, speed) - course.aside(time - step, speed)) / (2 * step)
        assert np.tan(course.turn(time, speed)) == pytest.approx(aside / speed, abs=1e-6)


def test_an_unknown_course_is_named():
    with pytest.raises(ValueError, match="course must be one of straight, turning, stopping"):
        next(SMALL.drive(0, 1, RATE, "backwards"))
