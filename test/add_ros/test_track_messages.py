"""Tracks as messages and markers: what a subscriber reads is what the tracker knows."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from add_model.geometry import boxes as box3d
from add_model.geometry.level import camera_up
from add_model.tracking import Tracks, track_colour
from add_ros.node.autoware import _axes
from add_ros.track_markers import SPEEDS, TRACK_LABELS, TRACKS, TRAILS, TrackMarkers
from add_ros.track_messages import track_array, velocity_cloud

HEADER = Header(frame_id="lens")


def tracks(ids=(3, 8), moving=True, shift=0.0, coasting=(0.0, 0.1)) -> Tracks:
    n, rng = len(ids), np.random.default_rng(1)
    boxes = np.array([[2 * i + shift, 1.0, 20 + i, 4, 1.7, 1.5, 0.3 * i] for i in range(n)]).reshape(-1, 7)
    root = rng.normal(size=(2, n, 3, 3))
    covariances = root @ root.transpose(0, 1, 3, 2) + 0.1 * np.eye(3)
    velocities = np.array([[3.0, 0.0, 4.0], [0.1, 0.0, 0.0]])[:n]
    return Tracks(
        np.array(ids, np.int64), np.array(["Car", "Cyclist"])[:n], np.array([0.9, 0.4])[:n], boxes, np.zeros((n, 4)),
        covariances[0], np.array([0.1, 0.8])[:n], velocities if moving else None, covariances[1] if moving else None,
        np.array(coasting)[:n], np.arange(n),
    )  # fmt: skip


def test_boxes_carry_ids_smoothed_poses_and_their_covariance():
    made = tracks()
    message = track_array(made, HEADER, {"Car": "0"}, covariance_scale=2.0)
    assert [d.id for d in message.detections] == ["3", "8"]
    assert [d.results[0].hypothesis.class_id for d in message.detections] == ["0", "Cyclist"]
    for n, detection in enumerate(message.detections):
        position, turn = detection.bbox.center.position, detection.bbox.center.orientation
        np.testing.assert_allclose([position.x, position.y, position.z], made.boxes[n, :3])
        quaternion = np.array([[turn.x, turn.y, turn.z, turn.w]])
        assert box3d.rotation_y(quaternion)[0] == pytest.approx(made.boxes[n, 6])
        covariance = np.reshape(detection.results[0].pose.covariance, (6, 6))
        np.testing.assert_allclose(covariance[:3, :3], 4 * made.position_covariances[n])
        assert covariance[4, 4] == pytest.approx(made.heading_std[n] ** 2)
        assert np.linalg.eigvalsh(covariance).min() > 0


def test_a_velocity_cloud_is_read_by_its_fields():
    made = tracks()
    cloud = velocity_cloud(made, HEADER)
    at = {field.name: (field.offset, {7: "<f", 6: "<I"}[field.datatype]) for field in cloud.fields}
    data = bytes(cloud.data)
    assert len(data) == cloud.row_step == cloud.width * cloud.point_step == 2 * cloud.point_step

    def read(n, name):
        offset, kind = at[name]
        return struct.unpack_from(kind, data, n * cloud.point_step + offset)[0]

    for n in range(2):
        assert read(n, "id") == made.ids[n]
        np.testing.assert_allclose([read(n, a) for a in ("x", "y", "z")], made.boxes[n, :3], rtol=1e-6)
        np.testing.assert_allclose([read(n, a) for a in ("vx", "vy", "vz")], made.velocities[n], rtol=1e-6)
        spread = made.velocity_covariances[n]
        for i, j, name in ((0, 0, "vxx"), (0, 1, "vxy"), (0, 2, "vxz"), (1, 1, "vyy"), (1, 2, "vyz"), (2, 2, "vzz")):
            assert read(n, name) == pytest.approx(spread[i, j], rel=1e-5)


def test_there_are_no_velocities_without_the_cameras_motion():
    with pytest.raises(ValueError, match="no velocities"):
        velocity_cloud(tracks(moving=False), HEADER)


def test_no_tracks_are_an_empty_message():
    assert not track_array(tracks(ids=()), HEADER).detections
    assert velocity_cloud(tracks(ids=()), HEADER).width == 0


def by_kind(message):
    return {(m.ns, m.id): m for m in message.markers if m.action == Marker.ADD}


def test_markers_keep_a_tracks_id_and_go_when_it_goes():
    board = TrackMarkers()
    first = by_kind(board.update(tracks(), HEADER, 1.5))
    assert {(TRACKS, 3), (TRACK_LABELS, 3), (SPEEDS, 3), (TRACKS, 8), (TRACK_LABELS, 8)} == set(first)
    assert first[TRACK_LABELS, 3].text == "3 Car 20 m 5.0 m/s"
    assert first[TRACKS, 3].lifetime.sec == 1 and first[TRACKS, 3].lifetime.nanosec == 5 * 10**8
    assert first[TRACKS, 3].color.a == 1.0 and first[TRACKS, 8].color.a < 1.0  # which coasts
    second = board.update(tracks(ids=(8,)), HEADER, 1.0)
    gone = {(m.ns, m.id) for m in second.markers if m.action == Marker.DELETE}
    assert gone == {(TRACKS, 3), (TRACK_LABELS, 3), (SPEEDS, 3)}
    assert by_kind(second)[TRACKS, 8].color.g == pytest.approx(first[TRACKS, 8].color.g)
    assert [m.action for m in board.clear().markers] == [Marker.DELETEALL]
    assert not board.update(tracks(ids=()), HEADER, 1.0).markers


def test_an_arrow_ends_where_the_object_is_in_a_second():
    made = tracks()
    arrow = by_kind(TrackMarkers().update(made, HEADER, 1.0))[SPEEDS, 3]
    ends = np.array([[p.x, p.y, p.z] for p in arrow.points])
    np.testing.assert_allclose(ends[1] - ends[0], made.velocities[0])
    assert not [key for key in by_kind(TrackMarkers().update(tracks(moving=False), HEADER, 1.0)) if key[0] == SPEEDS]


def test_a_trail_lies_on_the_ground_while_the_camera_moves():
    """Where the object stands and the camera drives 1 m each frame there is none."""
    board = TrackMarkers()
    for k in range(6):
        pose = np.eye(4)
        pose[0, 3] = k
        message = board.update(tracks(ids=(3,), shift=-float(k)), HEADER, 1.0, pose)
    assert (TRAILS, 3) not in by_kind(message)
    board = TrackMarkers()
    for k in range(100):
        message = board.update(tracks(ids=(3,), shift=float(k)), HEADER, 1.0, np.eye(4))
    points = by_kind(message)[TRAILS, 3].points
    assert len(points) <= 61 and [p.x for p in points] == sorted(p.x for p in points) and points[-1].x == 99
    anew = board.update(replace(tracks(ids=(3,), shift=500.0), frame_began=True), HEADER, 1.0, np.eye(4))
    assert (TRAILS, 3) not in {key for key, one in by_kind(anew).items() if one.action == Marker.ADD}


def test_colours_are_stable_and_neighbours_differ():
    assert track_colour(5) == track_colour(5)
    apart = [math.dist(track_colour(i), track_colour(i + 1)) for i in range(50)]
    assert min(apart) > 60


@pytest.mark.parametrize("stands", [None, camera_up(20, -10)])
def test_an_objects_axes_are_forward_left_and_up(stands):
    boxes = np.array([[0, 0, 10, 4, 2, 1.5, 0.7]])
    corners = box3d.corners(boxes, stands)[0] - boxes[0, :3]
    (axes,) = _axes(boxes, stands)
    forward, left, up = (corners @ axes.T).T
    np.testing.assert_allclose(np.abs([forward, left, up]).max(axis=1), [2, 1, 0.75])
    assert forward[[0, 1, 4, 5]].min() > 0 and up[4:].min() > 0  # the front face, and the top
    assert np.linalg.det(axes) == pytest.approx(1)


def test_markers_of_tracks_that_lean_stand_along_their_up():
    up = camera_up(15, 6)
    found = replace(tracks(), up=up)
    made = TrackMarkers().update(found, HEADER, 0.5).markers
    for n, identity in enumerate(found.ids):
        (edges,) = (m for m in made if m.ns == TRACKS and m.id == identity)
        (label,) = (m for m in made if m.ns == TRACK_LABELS and m.id == identity)
        lines = np.array([(p.x, p.y, p.z) for p in edges.points]).reshape(-1, 2, 3)
        along = np.abs((lines[:, 1] - lines[:, 0]) @ up)
        assert np.isclose(along, found.boxes[n, 5], atol=1e-6).sum() >= 4  # the upright edges
        place = np.array([label.pose.position.x, label.pose.position.y, label.pose.position.z]) - found.boxes[n, :3]
        assert np.cross(place, up) == pytest.approx([0, 0, 0], abs=1e-9) and place @ up > found.boxes[n, 5] / 2
