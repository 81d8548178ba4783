"""The camera against plain matrix algebra and against OpenCV's own resampling."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from add_model.geometry.camera import Camera, lift, project
from add_model.preprocessing import pad_to_multiple, resample, scaled_size, window


def reals(low, high):
    return st.floats(low, high, allow_nan=False, width=64)


@st.composite
def cameras(draw):
    """Any pinhole camera, with skew and a full fourth column."""
    fu, fv = draw(reals(150, 2500)), draw(reals(150, 2500))
    width, height = draw(st.integers(64, 2000)), draw(st.integers(64, 1500))
    P = np.array(
        [
            [fu, draw(reals(-5, 5)), width * draw(reals(0.2, 0.8)), draw(reals(-400, 400))],
            [0, fv, height * draw(reals(0.2, 0.8)), draw(reals(-50, 50))],
            [0, 0, 1, draw(reals(-0.5, 0.5))],
        ]
    )
    return Camera(P, width, height)


points = st.tuples(reals(-30, 30), reals(-5, 5), reals(1, 80)).map(np.array)


@given(cameras(), points)
def test_projection_is_the_homogeneous_product(camera, point):
    homogeneous = camera.P @ np.append(point, 1)
    np.testing.assert_allclose(
        camera.project(point), [*(homogeneous[:2] / homogeneous[2]), homogeneous[2]], rtol=1e-12, atol=1e-9
    )


@given(cameras(), points)
def test_lifting_inverts_projection(camera, point):
    np.testing.assert_allclose(camera.lift(camera.project(point)), point, atol=1e-8)


@given(cameras(), points)
def test_lifting_a_kitti_camera_is_the_published_closed_form(camera, point):
    P = camera.P.copy()
    P[0, 1] = 0
    u, v, depth = Camera(P, camera.width, camera.height).project(point)
    z = depth - P[2, 3]
    x = ((u - P[0, 2]) * z + u * P[2, 3] - P[0, 3]) / P[0, 0]
    y = ((v - P[1, 2]) * z + v * P[2, 3] - P[1, 3]) / P[1, 1]
    np.testing.assert_allclose(Camera(P, camera.width, camera.height).lift([u, v, depth]), [x, y, z], atol=1e-8)


@given(cameras(), points, st.integers(16, 3000), st.integers(16, 3000))
def test_resize_moves_pixel_centres_as_opencv_does(camera, point, width, height):
    u, v, depth = camera.project(point)
    moved = camera.resize(width, height).project(point)
    expected = [(u + 0.5) * width / camera.width - 0.5, (v + 0.5) * height / camera.height - 0.5, depth]
    np.testing.assert_allclose(moved, expected, rtol=1e-9, atol=1e-6)


@given(cameras(), points, st.integers(-50, 50), st.integers(-50, 50))
def test_crop_shifts(camera, point, left, top):
    moved = camera.crop(left, top, 30, 20).project(point)
    np.testing.assert_allclose(moved, camera.project(point) - [left, top, 0], atol=1e-6)


@given(cameras(), points)
def test_flip_mirrors_the_image_of_the_mirrored_world(camera, point):
    u, v, depth = camera.project(point)
    flipped = camera.flip()
    np.testing.assert_allclose(
        flipped.project(point * [-1, 1, 1]), [camera.width - 1 - u, v, depth], rtol=1e-9, atol=1e-6
    )
    np.testing.assert_allclose(flipped.flip().P, camera.P, atol=1e-9)
    assert flipped.fu > 0


@given(cameras(), points)
def test_own_frame_differs_by_the_translation(camera, point):
    np.testing.assert_allclose(
        camera.own_frame().project(point + camera.translation), camera.project(point), rtol=1e-9, atol=1e-6
    )


@given(cameras(), points)
def test_torch_computes_the_same(camera, point):
    P = torch.from_numpy(camera.P.copy())
    uvd = project(P, *torch.from_numpy(point))
    np.testing.assert_allclose(torch.stack(uvd).numpy(), camera.project(point), rtol=1e-9)
    np.testing.assert_allclose(torch.stack(lift(P, *uvd)).numpy(), point, atol=1e-8)


@pytest.mark.parametrize(
    ("P", "size", "word"),
    [
        (np.eye(3), (10, 10), "3x4"),
        (np.zeros((3, 4)), (10, 10), "calibrated"),
        (np.full((3, 4), np.nan), (10, 10), "finite"),
        (np.eye(3, 4) * 100, (0, 10), "size"),
    ],
)
def test_unusable_cameras_are_refused(P, size, word):
    with pytest.raises(ValueError, match=word):
        Camera(P, *size)


def _dot(width, height, u, v):
    """An image with a soft blob at (u, v)."""
    y, x = np.mgrid[:height, :width]
    blob = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 6.0**2))
    return np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)


def _centroid(image):
    weight = image[..., 0].astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()


@given(reals(100, 200), reals(60, 90), reals(0.4, 2.0))
def test_pixels_land_where_the_resampled_camera_says(u, v, zoom):
    camera = Camera.pinhole(300, 300, 150, 75, 300, 150)
    point = camera.lift([u, v, 10.0])
    width, height = scaled_size(camera, 300 * zoom)
    seen = camera.resize(width, height)
    image, seen = pad_to_multiple(resample(_dot(300, 150, u, v), width, height), seen)
    assert image.shape[:2] == (seen.height, seen.width)
    assert seen.height % 32 == seen.width % 32 == 0
    image[height:] = image[:, width:] = 0  # the padding's own colour
    np.testing.assert_allclose(_centroid(image), seen.project(point)[:2], atol=0.35)


@given(st.integers(-80, 80), st.integers(-60, 60), st.integers(1, 120), st.integers(1, 90))
def test_windows_copy_what_lies_inside(left, top, width, height):
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    seen = window(image, left, top, width, height, (124, 116, 104))
    assert seen.shape == (height, width, 3)
    padded = cv2.copyMakeBorder(image, 200, 200, 200, 200, cv2.BORDER_CONSTANT, value=(124, 116, 104))
    np.testing.assert_array_equal(seen, padded[200 + top :, 200 + left :][:height, :width])


def test_scaling_respects_the_pixel_budget():
    camera = Camera.pinhole(500, 500, 640, 360, 1280, 720)
    assert scaled_size(camera, 360) == (922, 518)
    width, height = scaled_size(camera, 360, max_pixels=100_000)
    assert width * height <= 101_000
    assert abs(width / height - 1280 / 720) < 0.01
