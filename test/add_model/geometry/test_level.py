"""The level view: a homography that agrees with turning the world, for cameras that look down and roll."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_model.geometry.camera import Camera
from add_model.geometry.level import level_rotation, level_view

CAMERA = Camera.pinhole(400, 410, 330, 230, 640, 480)


def up_of(pitch, roll):
    """Up in the frame of a camera that looks down by `pitch` and rolls by `roll` degrees."""
    return Rotation.from_euler("zx", [roll, pitch], degrees=True).inv().apply([0.0, -1.0, 0.0])


@given(st.floats(-60, 60), st.floats(-60, 60))
def test_up_is_up_in_the_level_frame_and_nothing_else_turns(pitch, roll):
    up = up_of(pitch, roll)
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
    view = level_view(CAMERA, up_of(pitch, roll))
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
    view = level_view(CAMERA, up_of(15, 6))
    point = np.array([1.0, 0.8, 9.0])
    u, v, _ = CAMERA.project(point)
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, (round(u), round(v)), 4, (255, 255, 255), -1)
    rows, columns = np.nonzero(view.warp(image)[..., 0] > 128)
    np.testing.assert_allclose([columns.mean(), rows.mean()], view.camera.project(view.rotation @ point)[:2], atol=1.0)


def test_a_view_never_grows_beyond_twice_the_image():
    wide = Camera.pinhole(300, 300, 640, 360, 1280, 720)
    view = level_view(wide, up_of(45, 20))
    assert view.camera.width <= 2 * 1280 + 1 and view.camera.height <= 2 * 720 + 1


@pytest.mark.parametrize("up", [(0, 0, -1), (0, 1, 0), (0, 0, 0), (np.nan, 0, 0)])
def test_no_level_view_of_a_camera_that_looks_straight_down(up):
    with pytest.raises(ValueError, match=r"too far for a level view|no direction"):
        level_view(CAMERA, np.array(up, float))
