"""3D boxes against rotation matrices, scipy's quaternions and brute-force projection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_model.geometry import boxes as box3d
from add_model.geometry.boxes import image_iou
from add_model.geometry.camera import Camera


def reals(low, high):
    return st.floats(low, high, allow_nan=False, width=64)


some_boxes = st.lists(
    st.tuples(reals(-30, 30), reals(-3, 3), reals(-10, 80), reals(0.3, 12), reals(0.3, 3), reals(0.3, 4), reals(-7, 7)),
    min_size=1,
    max_size=5,
).map(np.array)
CAMERA = Camera(np.array([[700, 0, 600, 45], [0, 710, 180, -0.3], [0, 0, 1, 0.005]]), 1242, 375)


def object_axes(angle):
    """Columns: forward, left, up of an object with this rotation_y, from KITTI's definition alone."""
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return turn @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


@given(some_boxes)
def test_kitti_round_trip(boxes):
    np.testing.assert_allclose(box3d.from_kitti(*box3d.to_kitti(boxes)), boxes, atol=1e-12)


@given(some_boxes, st.lists(st.tuples(*[reals(-1.3, 1.3)] * 3), min_size=1, max_size=20), reals(0, 0.5))
def test_points_inside_are_those_inside_in_the_boxs_own_axes(boxes, places, margin):
    """Points are made in each box's axes, in shares of its half sides: inside is where all are at most 1."""
    shares = np.array(places)
    shares = shares[np.abs(np.abs(shares) - 1).min(axis=1) > 1e-6]
    counts = []
    for box in boxes:
        half = box[3:6] / 2 + margin  # forward, left, up
        points = box[:3] + (shares * half) @ object_axes(box[6]).T
        inside = (np.abs(shares) < 1).all(axis=1)
        np.testing.assert_array_equal(box3d.contains(box, points, margin), inside)
        counts.append(box3d.count_inside(boxes, points, margin)[len(counts)] == inside.sum())
    assert all(counts)


def test_a_kitti_label_by_hand():
    box = box3d.from_kitti([1.84, 1.47, 8.41], [1.89, 0.48, 1.20], [0.01])[0]
    np.testing.assert_allclose(box, [1.84, 1.47 - 0.945, 8.41, 1.20, 0.48, 1.89, 0.01])
    assert box3d.alpha(box[None])[0] == pytest.approx(-0.20, abs=0.01)  # as the same label says


@given(some_boxes)
def test_quaternions_turn_object_axes_into_the_optical_frame(boxes):
    quaternions = box3d.quaternions(boxes)
    matrices = Rotation.from_quat(quaternions).as_matrix()
    np.testing.assert_allclose(matrices, [object_axes(box[6]) for box in boxes], atol=1e-9)
    recovered = box3d.rotation_y(quaternions)
    np.testing.assert_allclose(box3d.wrap(recovered - boxes[:, 6]), 0, atol=1e-9)
    np.testing.assert_allclose(box3d.rotation_y(-quaternions), recovered, atol=1e-9)


@given(some_boxes)
def test_corners_are_centre_plus_half_sizes_along_the_axes(boxes):
    for box, found in zip(boxes, box3d.corners(boxes), strict=True):
        forward, left, up = object_axes(box[6]).T * (box[3:6] / 2)[:, None]
        signs = [(f, s, u) for f in (1, -1) for s in (1, -1) for u in (1, -1)]
        expected = [box[:3] + f * forward + s * left + u * up for f, s, u in signs]
        assert {tuple(np.round(c, 6) + 0.0) for c in found} == {tuple(np.round(c, 6) + 0.0) for c in expected}
        assert (found[:4, 1] > found[4:, 1]).all()  # the first four are the bottom: y points down
        assert ((found[[0, 1, 4, 5]] - box[:3]) @ forward > 0).all()  # the front face


@given(some_boxes)
def test_every_edge_has_the_length_of_a_side(boxes):
    ends = box3d.corners(boxes)[:, box3d.EDGES]
    lengths = np.sort(np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=2), axis=1)
    np.testing.assert_allclose(lengths, np.sort(np.repeat(boxes[:, 3:6], 4, axis=1), axis=1), atol=1e-9)


@given(some_boxes)
def test_flip_mirrors_corners_and_projection(boxes):
    mirrored = box3d.corners(box3d.flip(boxes))
    for before, after in zip(box3d.corners(boxes) * [-1, 1, 1], mirrored, strict=True):
        distances = np.linalg.norm(before[:, None] - after[None], axis=2)
        assert distances.min(axis=1).max() < 1e-9
    np.testing.assert_allclose(box3d.wrap(box3d.flip(box3d.flip(boxes)) - boxes), 0, atol=1e-9)
    front = boxes[boxes[:, 2] > 15]
    if len(front):
        here, there = box3d.project_boxes(front, CAMERA), box3d.project_boxes(box3d.flip(front), CAMERA.flip())
        np.testing.assert_allclose(there[:, [2, 0]], CAMERA.width - 1 - here[:, [0, 2]], atol=1e-4)


@given(some_boxes)
def test_projected_rectangles_enclose_what_is_in_front(boxes):
    """Points sampled all over each box's edges: those in front of the camera lie in the rectangle and touch it."""
    share = np.linspace(0, 1, 401)[:, None]
    for box, rectangle in zip(boxes, box3d.project_boxes(boxes, CAMERA), strict=True):
        a, b = np.moveaxis(box3d.corners(box[None])[0][box3d.EDGES], 1, 0)
        points = (a[:, None] * (1 - share) + b[:, None] * share).reshape(-1, 3)
        uvd = CAMERA.project(points)
        uvd = uvd[uvd[:, 2] >= 0.01]
        if not len(uvd):
            continue
        assert (uvd[:, :2] >= rectangle[:2] - 1e-6).all()
        assert (uvd[:, :2] <= rectangle[2:] + 1e-6).all()
        if (CAMERA.project(box3d.corners(box[None])[0])[:, 2] > 0.5).all():
            np.testing.assert_allclose(rectangle, [*uvd[:, :2].min(0), *uvd[:, :2].max(0)], atol=1e-4)


def test_boxes_behind_the_camera_have_no_rectangle_and_none_is_fine():
    behind = np.array([[0, 0, -10, 4, 2, 1.5, 0.3]])
    assert np.isnan(box3d.project_boxes(behind, CAMERA)).all()
    assert box3d.project_boxes(np.empty((0, 7)), CAMERA).shape == (0, 4)
    assert box3d.corners(np.empty((0, 7))).shape == (0, 8, 3)
    assert box3d.quaternions(np.empty((0, 7))).shape == (0, 4)


@given(reals(-100, 100))
def test_wrap_keeps_the_direction(angle):
    wrapped = box3d.wrap(angle)
    assert -np.pi <= wrapped < np.pi
    assert np.exp(1j * wrapped) == pytest.approx(np.exp(1j * angle), abs=1e-9)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_box_that_reaches_behind_the_camera_is_cut_a_centimetre_before_it(offset):
    """From z = -1 to z = 3, x from 1 to 2, y from -0.5 to 0.5: its sides leave the picture at a depth of 1 cm."""
    box = np.array([[1.5, 0, 1, 4, 1, 1, np.pi / 2]])
    camera = Camera(np.array([[500, 0, 320, 0], [0, 500, 240, 0], [0, 0, 1, offset]], float), 640, 480)
    near, far = 0.01, 3 + offset
    u = lambda x, depth: (500 * x + 320 * (depth - offset)) / depth  # noqa: E731
    v = lambda y, depth: (500 * y + 240 * (depth - offset)) / depth  # noqa: E731
    found = box3d.project_boxes(box, camera)[0]
    assert np.isfinite(found).all()
    corners = [(u(x, d), v(y, d)) for x in (1, 2) for y in (-0.5, 0.5) for d in (near, far)]
    expected = [*np.min(corners, axis=0), *np.max(corners, axis=0)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_quaternions_have_length_one():
    turns = np.linspace(-np.pi, np.pi, 17)
    boxes = np.zeros((17, 7))
    boxes[:, 6] = turns
    np.testing.assert_allclose(np.linalg.norm(box3d.quaternions(boxes), axis=1), 1)


def test_image_iou_is_intersection_over_union():
    a = np.array([[0, 0, 10, 10], [np.nan] * 4])
    b = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]], float)
    np.testing.assert_allclose(image_iou(a, b), [[50 / 150, 0, 1], [0, 0, 0]])


@given(st.tuples(*[reals(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 1e-3), reals(0.1, 10))
def test_a_quaternion_of_any_length_is_scipys_rotation(quaternion, length):
    expected = Rotation.from_quat(quaternion)
    found = box3d.rotation_matrix(length * np.array(quaternion))
    np.testing.assert_allclose(found, expected.as_matrix(), atol=1e-12)


@given(reals(-3.1, 3.1), reals(-2, 2), reals(0.1, 10))
def test_the_heading_of_a_forward_axis_is_rotation_y_whatever_its_slope(angle, slope, length):
    forward = object_axes(angle)[:, 0] + [0, slope, 0]
    assert box3d.heading_of(length * forward) == pytest.approx(angle, abs=1e-9)
