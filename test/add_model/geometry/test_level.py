"""The level view: a homography that agrees with turning the world, for cameras that look down and roll."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.geometry.level import (
    boxes_turned_back,
    camera_up,
    level_rotation,
    level_view,
    levelled_boxes,
    turned_back,
)

CAMERA = Camera.pinhole(400, 410, 330, 230, 640, 480)


@given(st.floats(-60, 60), st.floats(-60, 60))
def test_up_is_up_in_the_level_frame_and_nothing_else_turns(pitch, roll):
    up = camera_up(pitch, roll)
    if -up[1] < 0.31:
        return
    rotation = level_rotation(up)
    np.testing.assert_allclose(rotation @ up, [0, -1, 0], atol=1e-9)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    # The smallest turn: by the angle between the two, about an axis that is horizontal in both.
    turn = Rotation.from_matrix(rotation).as_rotvec()
    assert np.linalg.norm(turn) == pytest.approx(np.arccos(np.clip(-up[1], -1, 1)), abs=1e-6)
    assert abs(turn[1]) < 1e-9


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (5, 0), (-12, 3), (20, 10), (20, -10)])
def test_points_fall_where_the_warped_pixels_are(pitch, roll):
    view = level_view(CAMERA, camera_up(pitch, roll))
    points = np.random.default_rng(0).uniform([-3, -2, 5], [3, 2, 30], (50, 3))
    pixels = CAMERA.project(points)
    seen = np.c_[pixels[:, :2], np.ones(50)] @ view.homography.T
    np.testing.assert_allclose(
        seen[:, :2] / seen[:, 2:], view.camera.project(points @ view.rotation.T)[:, :2], atol=1e-7
    )
    inside = (pixels[:, 0] > 0) & (pixels[:, 0] < 639) & (pixels[:, 1] > 0) & (pixels[:, 1] < 479)
    level = view.camera.project(points[inside] @ view.rotation.T)
    assert (level[:, :2] >= -0.5).all() and (level[:, :2] <= [view.camera.width, view.camera.height]).all()
    assert (view.camera.fu, view.camera.fv) == (CAMERA.fu, CAMERA.fv)


def test_an_upright_view_is_the_same_image():
    view = level_view(CAMERA, np.array([0.0, -2.0, 0.0]))
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    assert (view.camera.width, view.camera.height) == (640, 480)
    np.testing.assert_array_equal(view.warp(image), image)
    np.testing.assert_array_equal(view.camera.P, CAMERA.P)


def test_a_dot_is_warped_to_where_its_point_projects():
    view = level_view(CAMERA, camera_up(15, 6))
    point = np.array([1.0, 0.8, 9.0])
    u, v, _ = CAMERA.project(point)
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, (round(u), round(v)), 4, (255, 255, 255), -1)
    rows, columns = np.nonzero(view.warp(image)[..., 0] > 128)
    np.testing.assert_allclose([columns.mean(), rows.mean()], view.camera.project(view.rotation @ point)[:2], atol=1.0)


def test_a_view_never_grows_beyond_twice_the_image():
    wide = Camera.pinhole(300, 300, 640, 360, 1280, 720)
    view = level_view(wide, camera_up(45, 20))
    assert view.camera.width <= 2 * 1280 + 1 and view.camera.height <= 2 * 720 + 1


@pytest.mark.parametrize("up", [(0, 0, -1), (0, 1, 0), (0, 0, 0), (np.nan, 0, 0)])
def test_no_level_view_of_a_camera_that_looks_straight_down(up):
    with pytest.raises(ValueError, match=r"too far for a level view|no direction"):
        level_view(CAMERA, np.array(up, float))


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (30, 0), (0, 20), (25, -15)])
def test_up_is_where_a_camera_that_is_turned_so_has_it(pitch, roll):
    """In a frame x right, y down, z ahead: looking down turns z towards y, and rolling clockwise x towards y."""
    axes = Rotation.from_euler("x", -pitch, degrees=True) * Rotation.from_euler("z", roll, degrees=True)
    np.testing.assert_allclose(camera_up(pitch, roll), axes.inv().apply([0, -1, 0]), atol=1e-12)
    ahead, right = axes.apply([0, 0, 1]), axes.apply([1, 0, 0])
    assert ahead[1] == pytest.approx(np.sin(np.radians(pitch))) and np.sign(right[1]) == np.sign(roll)


def random_boxes(seed, count=20):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(5, 30, count)
    sides = rng.uniform(0.5, 4, (count, 3))
    return np.c_[
        depth * rng.uniform(-0.5, 0.5, count), rng.uniform(-1, 2, count), depth, sides, rng.uniform(-3, 3, count)
    ]


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (10, 3), (20, -10), (-15, 10)])
def test_boxes_of_the_level_view_come_back_corner_by_corner(pitch, roll):
    shifted = Camera(CAMERA.P + np.outer(CAMERA.P[:, :3] @ [0.06, -0.01, 0.002], [0, 0, 0, 1]), 640, 480)
    view, boxes = level_view(shifted, camera_up(pitch, roll)), random_boxes(abs(pitch))
    names, ones = np.array(["Car"] * len(boxes)), np.ones(len(boxes))
    rectangles = box3d.clip_to_image(box3d.project_boxes(boxes, view.camera), view.camera)
    found = turned_back(Detections(names, np.arange(len(boxes)) / 99, boxes, rectangles, ones), view, shifted)
    kept = np.round(found.scores * 99).astype(int)
    assert len(kept) >= 10
    corners = box3d.corners(found.boxes, found.up)
    np.testing.assert_allclose(corners + shifted.translation, box3d.corners(boxes[kept]) @ view.rotation, atol=1e-9)
    turns = Rotation.from_quat(box3d.quaternions(found.boxes, found.up)).as_matrix()
    level = Rotation.from_quat(box3d.quaternions(boxes[kept])).as_matrix()
    np.testing.assert_allclose(turns, view.rotation.T @ level, atol=1e-9)
    # An error along the viewing ray, in the level view's depth and in the camera's own.
    wrong = boxes[kept, :3] * (1 + 1 / boxes[kept, 2:3])
    np.testing.assert_allclose(found.depth_std, (wrong - boxes[kept, :3]) @ view.rotation[:, 2], atol=1e-9)
    # Each projected corner of the box that the image shows lies in its 2D box.
    pixels = shifted.project(corners)[..., :2]
    for seen, (left, top, right, bottom) in zip(pixels, found.boxes2d, strict=True):
        inside = seen[(seen[:, 0] > 0) & (seen[:, 0] < 639) & (seen[:, 1] > 0) & (seen[:, 1] < 479)]
        assert (inside >= [left - 1e-6, top - 1e-6]).all() and (inside <= [right + 1e-6, bottom + 1e-6]).all()


def test_level_boxes_have_the_axes_that_they_had():
    boxes = random_boxes(7)
    up = np.array([0.0, -1.0, 0.0])
    np.testing.assert_allclose(box3d.axes(boxes, up), box3d.axes(boxes), atol=1e-12)
    np.testing.assert_allclose(box3d.quaternions(boxes, up), box3d.quaternions(boxes), atol=1e-12)
    assert box3d.corners(boxes[:0], up).shape == (0, 8, 3) and box3d.quaternions(boxes[:0], up).shape == (0, 4)


@given(st.floats(-20, 20), st.floats(-12, 12), st.integers(0, 1000))
def test_levelled_boxes_are_the_inverse_of_turned_back(pitch, roll, seed):
    rng = np.random.default_rng(seed)
    camera = Camera(np.array([[400.0, 0, 330, -60], [0, 410, 230, 8], [0, 0, 1, 0]]), 640, 480)
    view = level_view(camera, camera_up(pitch, roll))
    boxes = np.column_stack([
        rng.uniform([-3, -1, 5], [3, 1, 40], (5, 3)), rng.uniform(1, 3, (5, 3)), rng.uniform(-np.pi, np.pi, 5)
    ])  # fmt: skip
    again = levelled_boxes(boxes_turned_back(boxes, view, camera), view, camera)
    np.testing.assert_allclose(again[:, :6], boxes[:, :6], atol=1e-9)
    np.testing.assert_allclose(box3d.wrap(again[:, 6] - boxes[:, 6]), 0, atol=1e-9)
