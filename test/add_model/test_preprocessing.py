"""Image and camera to the network's input: sizes, padding and the limit of pixels by closed forms."""

import numpy as np
import pytest

from add_model.geometry.camera import REFERENCE_FOCAL, Camera, reference_focal_scale
from add_model.preprocessing import MAX_PIXELS, pad_to_multiple, preprocess, resample, scaled_size, window

IMAGENET_MEAN = [123.675, 116.28, 103.53]  # of RGB, in 0..255


def camera_of(width, height, fu=360.0, fv=360.0):
    return Camera.pinhole(fu, fv, width / 2, height / 2, width, height)


def test_padding_is_imagenets_mean_colour_at_the_right_and_the_bottom():
    image = np.arange(3 * 40 * 50, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
    padded, camera = pad_to_multiple(image, camera_of(50, 40), 32)
    assert padded.shape == (64, 64, 3) and (camera.width, camera.height) == (64, 64)
    np.testing.assert_array_equal(padded[:40, :50], image)
    for outside in (padded[40:], padded[:40, 50:]):
        np.testing.assert_array_equal(np.unique(outside.reshape(-1, 3), axis=0), [np.round(IMAGENET_MEAN)])
    np.testing.assert_array_equal(camera.P, camera_of(50, 40).P)  # pixels stay where they are


def test_an_image_that_fits_is_not_padded():
    image = np.zeros((64, 96, 3), np.uint8)
    padded, camera = pad_to_multiple(image, camera_of(96, 64), 32)
    assert padded.shape == image.shape and (camera.width, camera.height) == (96, 64)


@pytest.mark.parametrize(
    ("fu", "fv", "expected"), [(360, 360, (640, 192)), (720, 360, (320, 192)), (720, 720, (320, 96))]
)
def test_every_camera_is_scaled_to_the_same_focal_length(fu, fv, expected):
    assert scaled_size(camera_of(640, 192, fu, fv), 360.0) == expected


def test_too_many_pixels_shrink_both_sides_alike():
    width, height = scaled_size(camera_of(2000, 1000), 360.0, max_pixels=500_000)
    assert (width, height) == (1000, 500)
    assert scaled_size(camera_of(1000, 500), 360.0, max_pixels=500_000) == (1000, 500)
    assert scaled_size(camera_of(3, 1, 3600, 3600), 360.0) == (1, 1)  # never nothing


def test_the_usual_limit_is_twice_a_kitti_image_and_grows_with_the_networks_focal_length():
    assert MAX_PIXELS == 2 * 640 * 192
    wide = camera_of(3000, 1000)
    image = np.zeros((1000, 3000, 3), np.uint8)
    small, large = (preprocess(image, wide, focal, 1)[0].shape for focal in (REFERENCE_FOCAL, 2 * REFERENCE_FOCAL))
    assert small[0] * small[1] == pytest.approx(MAX_PIXELS, rel=0.01)
    assert large[0] * large[1] == pytest.approx(4 * MAX_PIXELS, rel=0.01)


def test_resampling_averages_where_it_shrinks_and_interpolates_where_it_grows():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = 200
    np.testing.assert_array_equal(resample(image, 1, 4)[..., 0], np.full((4, 1), 100))
    grown = resample(image, 8, 4)[0, :, 0]
    np.testing.assert_array_equal(grown, [0, 0, 0, 50, 150, 200, 200, 200])  # pixel centres, quarter steps
    assert resample(image, 4, 4) is image


@pytest.mark.parametrize(("left", "top"), [(-2, -1), (3, 2), (0, 0), (-9, 0), (0, 9)])
def test_a_window_is_filled_where_it_leaves_the_array(left, top):
    array = np.arange(1, 31, dtype=np.float32).reshape(5, 6)
    found = window(array, left, top, 6, 5, 0)
    for row, column in np.ndindex(5, 6):
        y, x = row + top, column + left
        inside = 0 <= y < 5 and 0 <= x < 6
        assert found[row, column] == (array[y, x] if inside else 0)


def test_depth_at_the_reference_focal_length_scales_with_the_geometric_mean():
    P = np.array([[720.0, 0, 0, 0], [0, 180, 0, 0], [0, 0, 1, 0]])
    assert reference_focal_scale(P) == pytest.approx(360 / 360)
    assert reference_focal_scale(2 * P) == pytest.approx(2.0)
