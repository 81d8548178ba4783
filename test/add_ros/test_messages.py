"""Detections to vision_msgs and RViz markers."""

import dataclasses

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from support.own_classes import WAREHOUSE
from visualization_msgs.msg import Marker

from add_model.classes import KITTI_CLASSES
from add_model.colours import PALETTE, class_colour
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.level import camera_up
from add_model.pose_covariance import pose_covariances
from add_ros.markers import BOXES, LABELS, MarkerPublisher
from add_ros.messages import detection_array, label_info, transformed

HEADER = Header(stamp=Time(sec=7, nanosec=8), frame_id="camera_optical_frame")


def some(count: int, seed: int = 0) -> Detections:
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        [rng.uniform(-20, 20, count), rng.uniform(-1, 2, count), rng.uniform(3, 60, count)]
        + [rng.uniform(0.5, 5, count) for _ in range(3)]
        + [rng.uniform(-np.pi, np.pi, count)]
    )
    names = rng.choice(["Car", "Pedestrian", "Cyclist", "Tram"], count)
    return Detections(names, rng.random(count), boxes, np.zeros((count, 4)), rng.uniform(0.1, 5, count))


def vector(message) -> np.ndarray:
    return np.array([message.x, message.y, message.z])


def rotation(quaternion) -> Rotation:
    return Rotation.from_quat([quaternion.x, quaternion.y, quaternion.z, quaternion.w])


def test_messages_carry_every_field():
    found = some(20)
    message = detection_array(found, HEADER)
    assert message.header == HEADER and len(message.detections) == 20
    for i, detection in enumerate(message.detections):
        assert detection.header == HEADER and detection.id == ""
        (result,) = detection.results
        assert (result.hypothesis.class_id, result.hypothesis.score) == (found.names[i], found.scores[i])
        np.testing.assert_array_equal(vector(detection.bbox.center.position), found.boxes[i, :3])
        np.testing.assert_array_equal(vector(detection.bbox.size), found.boxes[i, 3:6])
        assert result.pose.pose == detection.bbox.center


def test_size_and_quaternion_span_the_corners_of_the_box():
    """The eight corners that a receiver computes from the message are those of the detection."""
    found = some(50, seed=1)
    for detection, corners in zip(detection_array(found, HEADER).detections, box3d.corners(found.boxes), strict=True):
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
        turned = rotation(detection.bbox.center.orientation).apply(0.5 * signs * vector(detection.bbox.size))
        received = turned + vector(detection.bbox.center.position)
        distances = np.linalg.norm(received[:, None] - corners, axis=2)
        assert distances.min(axis=1).max() < 1e-9 and len(set(distances.argmin(axis=1))) == 8
        forward = rotation(detection.bbox.center.orientation).apply([1, 0, 0])
        np.testing.assert_allclose(
            corners[[0, 1, 4, 5]].mean(axis=0) - corners.mean(axis=0),
            forward * vector(detection.bbox.size)[0] / 2,
            atol=1e-9,
        )
        np.testing.assert_allclose(rotation(detection.bbox.center.orientation).apply([0, 0, 1]), [0, -1, 0], atol=1e-9)


def test_covariance_of_the_pose_is_in_the_message():
    found = some(5, seed=2)
    for detection, covariance in zip(detection_array(found, HEADER).detections, pose_covariances(found), strict=True):
        np.testing.assert_array_equal(np.reshape(detection.results[0].pose.covariance, (6, 6)), covariance)


def test_no_detections_give_an_empty_message():
    message = detection_array(Detections.empty(), HEADER)
    assert message.header == HEADER and len(message.detections) == 0


def test_label_info_lists_the_classes():
    message = label_info(KITTI_CLASSES, 0.25)
    assert [(c.class_id, c.class_name) for c in message.class_map] == [(0, "Car"), (1, "Pedestrian"), (2, "Cyclist")]
    assert message.threshold == 0.25
    assert [c.class_name for c in label_info(WAREHOUSE, 0.0).class_map] == ["Forklift", "pallet"]


def test_transformed_moves_boxes_and_covariances_as_rigid_bodies():
    turn, shift = Rotation.from_euler("xyz", [0.3, -1.1, 2.0]), np.array([1.0, -2.0, 0.5])
    x, y, z, w = turn.as_quat()
    transform = TransformStamped(
        header=Header(frame_id="base_link"),
        transform=Transform(
            translation=Vector3(x=shift[0], y=shift[1], z=shift[2]), rotation=Quaternion(x=x, y=y, z=z, w=w)
        ),
    )
    before = detection_array(some(10, seed=4), HEADER)
    after = transformed(before, transform)
    assert (after.header.frame_id, after.header.stamp) == ("base_link", HEADER.stamp)
    for old, new in zip(before.detections, after.detections, strict=True):
        assert new.header.frame_id == "base_link" and new.results[0].hypothesis == old.results[0].hypothesis
        tip = rotation(old.bbox.center.orientation).apply(vector(old.bbox.size)) + vector(old.bbox.center.position)
        moved = rotation(new.bbox.center.orientation).apply(vector(new.bbox.size)) + vector(new.bbox.center.position)
        np.testing.assert_allclose(moved, turn.apply(tip) + shift, atol=1e-9)
        was, now = (np.reshape(d.results[0].pose.covariance, (6, 6)) for d in (old, new))
        ray = vector(old.bbox.center.position)
        for block in (slice(0, 3), slice(3, 6)):
            moved_variance = turn.apply(ray) @ now[block, block] @ turn.apply(ray)
            np.testing.assert_allclose(moved_variance, ray @ was[block, block] @ ray)


def shown(board: dict, message) -> dict:
    """What RViz shows after a MarkerArray, by (namespace, id)."""
    for marker in message.markers:
        if marker.action == Marker.DELETEALL:
            board = {}
        elif marker.action == Marker.DELETE:
            del board[marker.ns, marker.id]
        else:
            board = board | {(marker.ns, marker.id): marker}
    return board


def test_the_display_shows_the_latest_frame_and_nothing_else():
    markers, board = MarkerPublisher(), {}
    for count in (3, 5, 0, 0, 2, 1):
        board = shown(board, markers.update(some(count, seed=count), HEADER, 0.5))
        assert set(board) == {(ns, i) for ns in (BOXES, LABELS) for i in range(count)}
    assert shown(board, markers.clear()) == {}
    assert [m.action for m in markers.update(Detections.empty(), HEADER, 0.5).markers] == []


def test_markers_draw_the_box_and_name_it():
    found = some(2, seed=6)
    message = MarkerPublisher().update(found, HEADER, 1.25)
    by_key = {(m.ns, m.id): m for m in message.markers}
    for i, corners in enumerate(box3d.corners(found.boxes)):
        edges, label = by_key[BOXES, i], by_key[LABELS, i]
        for marker in (edges, label):
            assert marker.header == HEADER and (marker.lifetime.sec, marker.lifetime.nanosec) == (1, 250_000_000)
            assert marker.pose.orientation.w == 1.0
        assert edges.type == Marker.LINE_LIST and edges.scale.x > 0 and len(edges.colors) == len(edges.points)
        points = np.array([vector(p) for p in edges.points]).reshape(-1, 2, 3)
        lengths = sorted(np.linalg.norm(points[:12, 0] - points[:12, 1], axis=1))
        np.testing.assert_allclose(lengths, sorted(4 * list(found.boxes[i, 3:6])))
        front = corners[[0, 1, 4, 5]].mean(axis=0)
        np.testing.assert_allclose(points[12:].mean(axis=1), [front, front])
        assert label.type == Marker.TEXT_VIEW_FACING
        distance = np.linalg.norm(found.boxes[i, :3])
        assert label.text == f"{found.names[i]} {100 * found.scores[i]:.0f}% {distance:.0f} m"
        assert label.pose.position.y < corners[:, 1].min()


def test_texts_of_boxes_that_lean_stand_along_their_up():
    up = camera_up(15, 6)
    found = dataclasses.replace(some(3, seed=2), up=up)
    labels = [m for m in MarkerPublisher().update(found, HEADER, 1.0).markers if m.ns == LABELS]
    for box, label in zip(found.boxes, labels, strict=True):
        place = vector(label.pose.position) - box[:3]
        assert np.cross(place, up) == pytest.approx([0, 0, 0], abs=1e-9) and place @ up > box[5] / 2


def colours_of(message) -> list[tuple[int, int, int]]:
    bodies = [marker.color for marker in message.markers if marker.ns == BOXES]
    return [tuple(round(255 * channel) for channel in (c.r, c.g, c.b)) for c in bodies]


def test_markers_have_the_colours_of_the_classes():
    found = dataclasses.replace(some(4), names=np.array(["pallet", "forklift", "Car", "Tram"]))
    own, without = MarkerPublisher().update(found, HEADER, 1.0, WAREHOUSE), MarkerPublisher().update(found, HEADER, 1.0)
    assert colours_of(own)[:3] == [(10, 200, 30), PALETTE[0], (86, 180, 233)]
    assert colours_of(without) == [class_colour(name) for name in found.names]
    assert colours_of(MarkerPublisher((1, 2, 3)).update(found, HEADER, 1.0, WAREHOUSE)) == [(1, 2, 3)] * 4


def test_texts_are_small_in_the_image_at_any_distance():
    """Letters are about 0.6 times as wide as high; KITTI's focal length is 0.58 times the image's width."""
    names = np.array(["Pedestrian"] * 4)
    boxes = np.array([[0, 0, z, 0.8, 0.6, 1.7, 0] for z in (5.0, 15.0, 40.0, 70.0)])
    found = Detections(names, np.full(4, 0.99), boxes, np.zeros((4, 4)), np.ones(4))
    labels = [m for m in MarkerPublisher().update(found, HEADER, 1.0).markers if m.ns == LABELS]
    for label, z in zip(labels, boxes[:, 2], strict=True):
        width = 0.58 * 0.6 * label.scale.z * len(label.text) / z  # share of the image's
        assert width < 0.25 and 0.15 <= label.scale.z <= 0.9


@pytest.mark.parametrize("lifetime", [0.05, 1.0, 59.999])
def test_marker_lifetimes_are_finite(lifetime):
    (first, *_) = MarkerPublisher().update(some(1), HEADER, lifetime).markers
    assert first.lifetime.sec + 1e-9 * first.lifetime.nanosec == pytest.approx(lifetime, abs=1e-6)
