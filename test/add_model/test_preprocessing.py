"""Image and camera to the network's input: sizes, padding and the limit of pixels by closed forms."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from add_model.candidates import Candidates
from add_model.classes import KITTI_CLASSES
from add_model.geometry.camera import REFERENCE_FOCAL, Camera, reference_focal_scale
from add_model.preprocessing import (
    MAX_PIXELS,
    half_is_enough,
    half_size,
    pad_to_multiple,
    postprocess,
    preprocess,
    resample,
    scaled_size,
    window,
)

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


@pytest.mark.parametrize(("columns", "rows"), [(12, 4), (4, 12)])
def test_shrinking_gives_the_means_of_blocks(columns, rows):
    image = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    halved = image.reshape(rows // 2, 2, columns // 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resample(image, columns // 2, rows // 2), halved, atol=0.51)
    # One axis shrinks while the other grows: means along the one, values kept at the pixel centres of the other.
    mixed = resample(image, columns // 2, 3 * rows)
    assert mixed.shape == (3 * rows, columns // 2, 3)
    np.testing.assert_allclose(mixed[1::3], image.reshape(rows, columns // 2, 2, 3).mean(2), atol=0.51)
    mixed = resample(image, 3 * columns, rows // 2)
    np.testing.assert_allclose(mixed[:, 1::3], image.reshape(rows // 2, 2, columns, 3).mean(1), atol=0.51)


@given(st.integers(8, 90), st.integers(8, 90), st.integers(2, 120), st.integers(2, 120))
def test_a_plane_stays_the_plane_at_the_new_pixel_centres(columns, rows, width, height):
    """Means and linear interpolation both keep a linear image, apart from the half pixel beyond the outer centres."""
    u, v = np.meshgrid(np.arange(columns), np.arange(rows))
    image = np.repeat((30 + 2 * u + 0.5 * v).astype(np.float32)[..., None], 3, axis=2)
    found = resample(image, width, height)
    x, y = ((np.arange(new) + 0.5) * old / new - 0.5 for new, old in ((width, columns), (height, rows)))
    wanted = 30 + 2 * x + 0.5 * y[:, None]
    inside = np.ix_((y >= 0.5) & (y <= rows - 1.5), (x >= 0.5) & (x <= columns - 1.5))
    near = 0.05 * (2 * max(1, columns / width) + 0.5 * max(1, rows / height))  # a twentieth of a pixel, the larger one
    np.testing.assert_allclose(found[..., 0][inside], wanted[inside], atol=near)


@pytest.mark.parametrize("ratio", [2.0, 2.6, 3.4, 6.3])
def test_stripes_finer_than_the_new_pixels_become_grey(ratio):
    """Linear interpolation alone would pick stripes: from a ratio of 2 on blocks are averaged before."""
    image = np.zeros((4, 240, 3), np.uint8)
    image[:, ::2] = 200
    found = resample(image, round(240 / ratio), 4)
    np.testing.assert_array_equal(found, 100)


def test_a_narrow_image_keeps_a_pixel_along_each_side():
    assert scaled_size(camera_of(1000, 1, 1000, 1000), 100.0) == (100, 1)
    assert scaled_size(camera_of(1, 1000, 1000, 1000), 100.0) == (1, 100)


@pytest.mark.parametrize(("left", "top", "width", "height"), [(1, 1, 3, 2), (4, 3, 3, 4), (6, 0, 2, 2), (0, 5, 2, 2)])
@pytest.mark.parametrize("channels", [None, 3])
def test_windows_of_other_sizes_and_colours(left, top, width, height, channels):
    array = np.random.default_rng(1).integers(1, 200, (5, 6) if channels is None else (5, 6, 3), np.uint8)
    fill = 7 if channels is None else (250, 240, 230)
    found = window(array, left, top, width, height, fill)
    assert found.shape[:2] == (height, width) and found.flags.c_contiguous
    for row, column in np.ndindex(height, width):
        y, x = row + top, column + left
        np.testing.assert_array_equal(found[row, column], array[y, x] if y < 5 and x < 6 else fill)


def test_what_was_found_on_the_canvas_is_given_in_the_image():
    """Twice as wide and 1.5 times as high a pixel grid; what lies outside the image or is no number is left out."""
    camera = Camera.pinhole(720, 540, 320, 150, 640, 300)
    seen = camera.resize(320, 200).crop(0, 0, 320, 224)
    boxes2d = np.array(
        [[10.0, 20, 50, 60], [9, 9, 19, 19], [10, 210, 50, 220], [300, 100, 400, 150], [400, 0, 500, 9], [1, 1, 9, 9]]
    )
    boxes = np.array([[10.0 * k, 1, 20, 4, 2, 1.5, 0.1] for k in range(6)])
    boxes[5, 2] = np.nan
    scores = np.array([0.2, 0.9, 0.8, 0.5, 0.6, 0.7])
    labels, std = np.array([0, 1, 0, 2, 0, 0]), np.arange(6.0)
    found = postprocess(Candidates(scores, labels, boxes, boxes2d, std), KITTI_CLASSES, camera, seen)
    assert found.names.tolist() == ["Pedestrian", "Cyclist", "Car"] and found.depth_std.tolist() == [1, 3, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.2])
    np.testing.assert_array_equal(found.boxes, boxes[[1, 3, 0]])
    wanted = [
        [9.5 * 2 - 0.5, 9.5 * 1.5 - 0.5, 19.5 * 2 - 0.5, 19.5 * 1.5 - 0.5],
        [300.5 * 2 - 0.5, 100.5 * 1.5 - 0.5, 639, 150.5 * 1.5 - 0.5],
        [10.5 * 2 - 0.5, 20.5 * 1.5 - 0.5, 50.5 * 2 - 0.5, 60.5 * 1.5 - 0.5],
    ]
    np.testing.assert_allclose(found.boxes2d, wanted)
    none = Candidates(*(values[:0] for values in (scores, labels, boxes, boxes2d, std)))
    assert len(postprocess(none, KITTI_CLASSES, camera, seen)) == 0


def test_one_object_is_found_once_unless_nothing_is_suppressed():
    camera = camera_of(640, 192)
    box = np.array([[0.0, 1, 20, 4, 2, 1.5, 0.1]] * 2)
    twice = Candidates(np.array([0.3, 0.6]), np.zeros(2, int), box, np.array([[9.0, 9, 99, 99]] * 2), np.ones(2))
    assert postprocess(twice, KITTI_CLASSES, camera, camera).scores.tolist() == pytest.approx([0.6])
    assert len(postprocess(twice, KITTI_CLASSES, camera, camera, None)) == 2


# --- images decoded at half their size --------------------------------------------------------------------------------


def spot(canvas):
    """(u, v) of the bright spot on a dark canvas: its centre of mass."""
    light = np.clip(canvas[..., 0].astype(float) - 12, 0, None)
    v, u = np.indices(light.shape)
    return np.array([(light * u).sum(), (light * v).sum()]) / light.sum()


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1919, 1079), (1242, 375), (1241, 376)])
@pytest.mark.parametrize("place", [(0.04, 0.06), (0.97, 0.94)])
@pytest.mark.parametrize("share", [0.5, 0.14])  # of the pixels in each direction
def test_half_an_image_shows_everything_where_the_whole_one_does(width, height, place, share):
    """A spot at a known place, as JPEG: a scale that is not 2 exactly shifts it by 0.3 pixels at an odd side's end."""
    camera, focal = camera_of(width, height, width * 0.6, width * 0.59), share * width * 0.59
    target = np.array(place) * (width, height) + 0.3
    v, u = np.mgrid[:height, :width]
    light = 255 * np.exp(-((u - target[0]) ** 2 + (v - target[1]) ** 2) / (2 * 6.0**2))
    jpeg = cv2.imencode(".jpg", light.round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    half = cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_COLOR_2)
    assert half.shape[1::-1] == half_size(camera) == (-(-width // 2), -(-height // 2))
    canvas, seen = preprocess(half, camera, focal, 1)
    whole, same = preprocess(np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=2), camera, focal, 1)
    assert whole.shape == canvas.shape and np.array_equal(same.P, seen.P)
    assert np.abs(whole.astype(int) - canvas).max() <= 12
    point = camera.lift(np.r_[target, 20.0])
    np.testing.assert_allclose(spot(canvas), seen.project(point)[:2], atol=0.03)
    # And back: what is found there stands where it is in the whole image.
    found = Candidates(np.ones(1), np.zeros(1, int), np.array([[0, 1, 20, 1, 1, 1, 0.0]]), box_at(canvas), np.ones(1))
    answer = postprocess(found, KITTI_CLASSES, camera, seen).boxes2d[0]
    np.testing.assert_allclose((answer[:2] + answer[2:]) / 2, target, atol=0.03 * camera.fu / seen.fu)


def box_at(canvas):
    return np.r_[spot(canvas) - 1, spot(canvas) + 1][None]


@given(st.integers(2, 3000), st.integers(2, 2000), st.floats(100, 3000))
def test_half_is_enough_where_resampling_halves_anyway(width, height, focal):
    camera = camera_of(width, height, focal, focal)
    small = scaled_size(camera, REFERENCE_FOCAL, MAX_PIXELS)
    assert half_is_enough(camera, REFERENCE_FOCAL) == (small[0] <= width / 2 and small[1] <= height / 2)


def test_half_is_enough_by_the_networks_focal_length_and_limit_of_pixels():
    camera = camera_of(1920, 1080, 1115, 1115)
    assert half_is_enough(camera, 360) and not half_is_enough(camera, 720)
    narrow = camera_of(1920, 1080, 700, 700)  # at 360 pixels the network would see 987x555
    assert half_is_enough(narrow, 360) and not half_is_enough(narrow, 360, max_pixels=1_000_000)
