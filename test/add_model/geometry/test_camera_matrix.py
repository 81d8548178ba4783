"""Cameras of any projection matrix: lifting against a linear solve, and what a camera refuses."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_model.geometry.camera import REFERENCE_FOCAL, Camera, lift, own_projection, project, reference_focal_scale


def reals(low, high):
    return st.floats(low, high, allow_nan=False, width=64)


@st.composite
def turned_cameras(draw):
    """K [R | t] with skew and any rotation, and a point at least a metre before it."""
    K = np.array([[draw(reals(200, 900)), draw(reals(-9, 9)), 320], [0, draw(reals(200, 900)), 240], [0, 0, 1]])
    turn = Rotation.from_rotvec([draw(reals(-3, 3)) for _ in range(3)]).as_matrix()
    shift = np.array([draw(reals(-2, 2)) for _ in range(3)])
    inside = np.array([draw(reals(-5, 5)), draw(reals(-5, 5)), draw(reals(1, 50))])
    return K @ np.column_stack([turn, shift]), turn.T @ (inside - shift), inside[2]


@given(turned_cameras())
def test_lifting_any_projection_matrix_is_a_linear_solve(case):
    P, point, depth = case
    u, v, found_depth = project(P, *point)
    assert found_depth == pytest.approx(depth)
    lifted = np.array(lift(P, u, v, depth))
    np.testing.assert_allclose(lifted, point, atol=1e-6)
    np.testing.assert_allclose(lifted, np.linalg.solve(P[:, :3], depth * np.array([u, v, 1]) - P[:, 3]), atol=1e-6)
    tensors = lift(
        torch.from_numpy(P)[None, None], *(torch.full((1, 2), float(x), dtype=torch.double) for x in (u, v, depth))
    )
    np.testing.assert_allclose(torch.stack(tensors, -1)[0, 1], lifted, atol=1e-8)


def test_own_projection_drops_the_fourth_column_of_arrays_and_tensors():
    P = np.arange(24.0).reshape(2, 3, 4)
    expected = P.copy()
    expected[..., 3] = 0
    np.testing.assert_array_equal(own_projection(P), expected)
    np.testing.assert_array_equal(own_projection(torch.from_numpy(P)), expected)


def test_pinhole_is_k_and_a_zero_column():
    expected = [[500, 0, 320, 0], [0, 510, 240, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(Camera.pinhole(500, 510, 320, 240, 640, 480).P, expected)


def with_focal(fu, fv):
    return np.array([[fu, 0, 320.0, 1], [0, fv, 240, 2], [0, 0, 1, 0.1]])


@pytest.mark.parametrize(("fu", "fv"), [(0.5, 0.5), (1.0, 1.0), (0.5, 500), (500, 0.5)])
def test_short_focal_lengths_are_cameras_too(fu, fv):
    assert (Camera(with_focal(fu, fv), 64, 48).fu, Camera(with_focal(fu, fv), 64, 48).fv) == (fu, fv)


SINGULAR = [np.vstack([with_focal(500, 500)[:2], row]) for row in (np.zeros(4), with_focal(500, 500)[0] / 500)]


@pytest.mark.parametrize(
    "P", [with_focal(0, 500), with_focal(-1, 500), with_focal(500, 0), with_focal(500, -1), *SINGULAR]
)
def test_what_does_not_project_is_not_calibrated(P):
    with pytest.raises(ValueError, match="not calibrated: focal lengths"):
        Camera(P, 64, 48)


def test_the_refusal_names_both_focal_lengths():
    with pytest.raises(ValueError, match=r"focal lengths 0, 510$"):
        Camera(np.array([[0.0, 1, 2, 3], [4, 510, 6, 7], [0, 0, 1, 0]]), 64, 48)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 5)])
def test_an_image_has_a_pixel_at_least(size):
    with pytest.raises(ValueError, match="size must be positive"):
        Camera(with_focal(500, 500), *size)
    assert Camera(with_focal(500, 500), 1, 1).width == 1


def test_a_camera_keeps_its_own_copy_of_the_matrix():
    P = with_focal(500, 500)
    camera = Camera(P, 64, 48)
    P[0, 0] = 1
    assert camera.fu == 500
    with pytest.raises(ValueError, match="read-only"):
        camera.P[0, 0] = 1


def test_points_of_any_shape_are_projected_and_lifted_row_by_row():
    camera = Camera(with_focal(500, 510), 640, 480)
    points = np.random.default_rng(0).uniform(1, 9, (2, 5, 3))
    seen = camera.project(points)
    back = camera.lift(seen)
    assert seen.shape == back.shape == (2, 5, 3)
    for index in np.ndindex(2, 5):
        np.testing.assert_array_equal(seen[index], camera.project(points[index]))
        np.testing.assert_allclose(back[index], points[index])


def test_depth_is_scaled_by_the_geometric_mean_of_the_focal_lengths():
    assert REFERENCE_FOCAL == 360.0
    P = np.array([[720.0, 5, 6, 7], [8, 180, 9, 10], [0, 0, 1, 0]])
    assert reference_focal_scale(P) == pytest.approx(1.0)
    assert reference_focal_scale(4 * P) == pytest.approx(4.0)


def test_cameras_are_values_of_their_own():
    camera = Camera(with_focal(500, 500), 64, 48)
    assert camera != Camera(with_focal(500, 500), 64, 48) and isinstance(hash(camera), int)
    with pytest.raises(FrozenInstanceError):
        camera.width = 5
