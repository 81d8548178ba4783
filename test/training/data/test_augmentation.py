"""Augmentation keeps image, camera, labels and depth map on the same geometry."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data import augmentation as augment
from training.data.augmentation import Augmentation, RandomCrop
from training.data.depth_sources import object_depth
from training.data.kitti.dataset import KittiFolder
from training.data.rng import generator
from training.data.sample import Objects, Sample

seeds = st.integers(0, 2**32 - 1)


def random_sample(seed: int) -> Sample:
    """A camera with a fourth column and skew, boxes in front of it with their projections, a random depth map."""
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers((60, 20), (130, 50)))
    focal = rng.uniform(40, 120, 2)
    P = np.array([[focal[0], rng.uniform(-1, 1), width * rng.uniform(0.3, 0.7), rng.uniform(-40, 40)],
                  [0, focal[1], height * rng.uniform(0.3, 0.7), rng.uniform(-5, 5)],
                  [0, 0, 1, rng.uniform(-0.02, 0.02)]])  # fmt: skip
    camera, n = Camera(P, width, height), int(rng.integers(1, 6))
    boxes = np.column_stack(
        [rng.uniform(-8, 8, n), rng.uniform(-2, 2, n), rng.uniform(5, 40, n), *rng.uniform(0.5, 4, (3, n))]
    )
    boxes = np.column_stack([boxes, rng.uniform(-np.pi, np.pi, n)])
    whole = box3d.project_boxes(boxes, camera)
    inside = (whole[:, 2:] > 0).all(axis=1) & (whole[:, :2] < [width - 1, height - 1]).all(axis=1)
    boxes, whole = boxes[inside], whole[inside]
    clipped = box3d.clip_to_image(whole, camera)
    truncated = 1 - area(clipped) / area(whole)
    names = np.array(["Car"] * len(boxes), dtype="U10")
    objects = Objects(names, boxes, clipped, truncated, np.zeros(len(boxes), dtype=int))
    depth = rng.uniform(1, 80, (height, width)).astype(np.float32) * (rng.random((height, width)) < 0.7)
    return Sample("000007", rng.integers(0, 256, (height, width, 3), np.uint8), camera, objects, depth)


def area(rectangles: np.ndarray) -> np.ndarray:
    return (rectangles[:, 2] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 1])


def labelled_corners(sample: Sample) -> np.ndarray:
    return sample.camera.project(box3d.corners(sample.objects.boxes))


@given(seeds)
def test_flipped_labels_project_where_the_mirrored_image_shows_them(seed):
    sample = random_sample(seed)
    flipped = augment.flip(sample)
    before, after = labelled_corners(sample), labelled_corners(flipped)
    # Mirroring swaps the left and right corners of a box, whose front stays its front.
    before = before[:, [1, 0, 3, 2, 5, 4, 7, 6]]
    np.testing.assert_allclose(after[..., 0], sample.camera.width - 1 - before[..., 0], atol=1e-6)
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-6)
    np.testing.assert_allclose(
        flipped.objects.boxes2d,
        box3d.clip_to_image(box3d.project_boxes(flipped.objects.boxes, flipped.camera), flipped.camera),
        atol=1e-6,
    )
    np.testing.assert_array_equal(flipped.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(flipped.depth, sample.depth[:, ::-1])
    turn = np.abs(box3d.wrap(box3d.alpha(flipped.objects.boxes) - (np.pi - box3d.alpha(sample.objects.boxes))))
    np.testing.assert_allclose(turn, 0, atol=1e-9)


@given(seeds)
def test_flipping_twice_changes_nothing(seed):
    sample = random_sample(seed)
    twice = augment.flip(augment.flip(sample))
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.depth, sample.depth)
    np.testing.assert_allclose(twice.camera.P, sample.camera.P, atol=1e-9)
    np.testing.assert_allclose(twice.objects.boxes, sample.objects.boxes, atol=1e-9)
    np.testing.assert_allclose(twice.objects.boxes2d, sample.objects.boxes2d, atol=1e-9)


@given(seeds, st.integers(-40, 60), st.integers(-20, 25), st.integers(20, 120), st.integers(8, 60))
def test_cropped_labels_move_with_the_pixels(seed, left, top, width, height):
    sample = random_sample(seed)
    cropped = augment.crop(sample, left, top, width, height)
    assert cropped.image.shape == (height, width, 3) and cropped.depth.shape == (height, width)
    before = sample.camera.project(box3d.corners(cropped.objects.boxes))
    np.testing.assert_allclose(labelled_corners(cropped), before - [left, top, 0], atol=1e-6)
    for v, u in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
        x, y = u + left, v + top
        if 0 <= x < sample.camera.width and 0 <= y < sample.camera.height:
            assert (cropped.image[v, u] == sample.image[y, x]).all() and cropped.depth[v, u] == sample.depth[y, x]
        else:
            assert tuple(cropped.image[v, u]) == augment.PADDING and cropped.depth[v, u] == 0


@given(seeds, st.integers(-40, 60), st.integers(-20, 25), st.integers(20, 120), st.integers(8, 60))
def test_cropped_labels_are_clipped_dropped_and_truncated(seed, left, top, width, height):
    sample = random_sample(seed)
    cropped = augment.crop(sample, left, top, width, height)
    kept = []
    for i in range(len(sample.objects)):
        whole = box3d.project_boxes(sample.objects.boxes[i : i + 1], sample.camera)[0]
        x0, y0, x1, y1 = sample.objects.boxes2d[i]
        window = [max(x0, left), max(y0, top), min(x1, left + width - 1), min(y1, top + height - 1)]
        if window[0] >= window[2] or window[1] >= window[3]:
            continue
        kept.append(i)
        row = len(kept) - 1
        np.testing.assert_allclose(cropped.objects.boxes2d[row], np.array(window) - [left, top] * 2, atol=1e-9)
        outside = 1 - area(np.array([window]))[0] / area(whole[None])[0]
        assert cropped.objects.truncated[row] == pytest.approx(outside, abs=1e-6)
    np.testing.assert_array_equal(cropped.objects.boxes, sample.objects.boxes[kept])


def test_dont_care_regions_are_cropped_like_all_others():
    sample = random_sample(1)
    region = Objects(
        np.array(["DontCare", "DontCare"]),
        np.full((2, 7), np.nan),
        np.array([[10.0, 5, 20, 15], [40, 5, 50, 15]]),
        np.array([-1.0, -1]),
        np.array([-1, -1]),
    )
    cropped = augment.crop(augment.flip(augment.flip(replace(sample, objects=region))), 15, 0, 20, 20).objects
    np.testing.assert_allclose(cropped.boxes2d, [[0, 5, 5, 15]])
    assert cropped.truncated.tolist() == [-1]


@given(seeds, st.integers(10, 250), st.integers(5, 100))
def test_resized_labels_follow_the_camera(seed, width, height):
    sample = random_sample(seed)
    resized = augment.resize(sample, width, height)
    assert resized.image.shape == (height, width, 3) and resized.depth.shape == (height, width)
    scale = np.array([width / sample.camera.width, height / sample.camera.height])
    before, after = labelled_corners(sample), labelled_corners(resized)
    np.testing.assert_allclose(after[..., :2], (before[..., :2] + 0.5) * scale - 0.5, atol=1e-6)
    np.testing.assert_allclose(after[..., 2], before[..., 2], atol=1e-9)
    np.testing.assert_array_equal(resized.objects.boxes, sample.objects.boxes)
    np.testing.assert_allclose(resized.objects.boxes2d, (sample.objects.boxes2d + 0.5) * np.tile(scale, 2) - 0.5)


def test_a_resized_depth_pixel_comes_from_the_nearest_known_pixel_of_its_area():
    for seed in range(6):
        sample = random_sample(seed)
        rows, columns = sample.depth.shape
        rng = np.random.default_rng(seed)
        width, height = (int(side) for side in rng.integers((12, 6), (160, 60)))
        resized = augment.resize(sample, width, height).depth
        for v in range(height):
            for u in range(width):
                # The centre of the target pixel in the source, and every source pixel whose centre is in its area.
                x, y = (u + 0.5) * columns / width - 0.5, (v + 0.5) * rows / height - 0.5
                under = sample.depth[int(y + 0.5), int(x + 0.5)]
                if under > 0:
                    assert resized[v, u] == under
                    continue
                area_v = [i for i in range(rows) if int((i + 0.5) * height / rows) == v]
                area_u = [j for j in range(columns) if int((j + 0.5) * width / columns) == u]
                known = [(np.hypot(i - y, j - x), sample.depth[i, j]) for i in area_v for j in area_u]
                known = [(off, depth) for off, depth in known if depth > 0]
                nearest = min(known)[0] if known else None
                allowed = [depth for off, depth in known if off < nearest + 1e-9] or [0]
                assert resized[v, u] in allowed


@given(seeds)
def test_depth_pixels_lift_to_the_points_they_were_made_of(seed):
    """The mirrored, cropped point of each pixel is the pixel's own point: exactly, in the frame of P."""
    sample = random_sample(seed)
    changed = augment.crop(augment.flip(sample), 7, -3, 50, 30)
    v, u = np.nonzero(changed.depth)
    points = changed.camera.lift(np.column_stack([u, v, changed.depth[v, u]]))
    x, y = sample.camera.width - 1 - (u + 7), v - 3
    source = sample.camera.lift(np.column_stack([x, y, sample.depth[y, x]]))
    np.testing.assert_allclose(points, source * [-1, 1, 1], atol=1e-6)


@given(seeds)
def test_zooming_scales_the_focal_length_and_leaves_metres(seed):
    sample = random_sample(seed)
    view = Augmentation(0.0, color_jitter=False, scale_range=(0.7, 1.6), size=(64, 32))
    zoomed = view(sample, np.random.default_rng(seed), sample.camera.fv)
    assert zoomed.image.shape == (32, 64, 3) and zoomed.depth.shape == (32, 64)
    ratio = zoomed.camera.fv / sample.camera.fv
    assert 0.6 < ratio < 1.8
    assert zoomed.camera.fu == pytest.approx(zoomed.camera.fv, rel=0.1), "pixels are square, but for whole ones"
    kept = np.isin(sample.objects.boxes[:, 0], zoomed.objects.boxes[:, 0])
    np.testing.assert_array_equal(zoomed.objects.boxes, sample.objects.boxes[kept])
    assert set(np.unique(zoomed.depth)) <= {0, *np.unique(sample.depth)}
    # Wherever a label projects to, it is the same world point, so depth stays.
    np.testing.assert_allclose(
        labelled_corners(zoomed)[..., 2], sample.camera.project(box3d.corners(zoomed.objects.boxes))[..., 2], atol=1e-9
    )


def test_zooms_cover_their_range_evenly_in_their_logarithm():
    sample, view = random_sample(5), Augmentation(0.0, color_jitter=False, scale_range=(0.5, 2.0), size=(64, 32))
    rng, own = np.random.default_rng(0), sample.camera.fv
    zooms = np.array([np.log2(view(sample, rng, own).camera.fv / own) for _ in range(300)])
    assert -1.1 < zooms.min() < -0.9 and 0.9 < zooms.max() < 1.1
    assert abs(np.median(zooms)) < 0.15


@pytest.mark.parametrize("seed", range(12))
def test_a_marker_lands_where_the_camera_says(seed):
    """A blob rendered at a world point's projection is found at its projection after a chain of changes."""
    rng = np.random.default_rng(seed)
    width, height = 240, 120
    camera = Camera(np.array([[150, 0.3, 118, 30], [0, 152, 61, -8], [0, 0, 1, 0.01]]), width, height)
    centre = np.array([width, height]) * rng.uniform(0.42, 0.58, 2)
    point = camera.lift(np.array([*centre, 12.0]))
    v, u = np.mgrid[:height, :width]
    blob = 255 * np.exp(-((u - centre[0]) ** 2 + (v - centre[1]) ** 2) / (2 * 3.0**2))
    image = np.repeat(np.rint(blob)[..., None], 3, axis=2).astype(np.uint8)
    sample = Augmentation(0.0, color_jitter=False, scale_range=(0.9, 1.1), size=(200, 100))(
        Sample("0", image, camera), rng, camera.fv
    )
    if seed % 2:
        sample, point = augment.flip(sample), point * [-1, 1, 1]
    weight = sample.image[..., 0].astype(float)
    v, u = np.mgrid[: weight.shape[0], : weight.shape[1]]
    found = np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()
    np.testing.assert_allclose(found, sample.camera.project(point)[:2], atol=0.03)


@pytest.mark.parametrize("size", [(320, 96), (160, 96), (400, 60), (100, 160)])
def test_the_resized_depth_map_is_that_of_the_resized_camera(size):
    """Painting boxes and resizing commute, but for pixels that see an edge, a steep face or the horizon of one."""
    camera = Camera(np.array([[150, 0, 118, 30], [0, 152, 61, -8], [0, 0, 1, 0.01]]), 240, 120)
    boxes = np.array([[0, 0.5, 10, 4, 2, 1.5, 0.0], [-4, 0, 18, 4, 2, 1.6, np.pi / 2]])
    objects = Objects(
        np.array(["Car", "Car"]), boxes, box3d.project_boxes(boxes, camera), np.zeros(2), np.zeros(2, int)
    )
    sample = Sample("0", np.zeros((120, 240, 3), np.uint8), camera, objects, object_depth(objects, camera))
    resized = augment.resize(sample, *size)
    direct = object_depth(objects, resized.camera)
    agree = np.isclose(resized.depth, direct, rtol=1e-3)
    assert agree.mean() > 0.97 and (agree & (direct > 0)).sum() > 0.85 * (direct > 0).sum()


def test_photometric_changes_colours_within_bounds_and_by_its_generator_alone():
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    kept = image.copy()
    first, again = (augment.color_jitter(image, generator(1, 2, 3)) for _ in range(2))
    other = augment.color_jitter(image, generator(1, 2, 4))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, kept)
    assert first.shape == image.shape and first.dtype == np.uint8
    assert (first != other).mean() > 0.5 and (first != image).mean() > 0.5


def test_photometric_that_draws_no_change_is_the_identity():
    class Still:
        """A generator whose numbers are all 0, and whose noise is drawn as ever."""

        integers = np.random.default_rng(0).integers

        def uniform(self, low, high, size=None):
            return np.zeros(size or ())

    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    np.testing.assert_array_equal(augment.color_jitter(image, Still()), image)


def test_photometric_covers_brightness_contrast_saturation_and_hue():
    grey, red = np.full((16, 16, 3), 128, np.uint8), np.full((16, 16, 3), (200, 60, 60), np.uint8)
    steps = np.tile(np.repeat(np.uint8([64, 192]), 8)[None, :, None], (16, 1, 3))
    rngs = [np.random.default_rng(seed) for seed in range(200)]
    means = [augment.color_jitter(grey, rng).mean() for rng in rngs]
    assert 80 < min(means) < 110 and 145 < max(means) < 180
    spans = [np.ptp(augment.color_jitter(steps, rng).mean(axis=(0, 2))) for rng in rngs]
    assert min(spans) < 110 and max(spans) > 145
    reds = np.uint8([augment.color_jitter(red, rng).mean(axis=(0, 1)) for rng in rngs])
    hue, saturation, _ = np.moveaxis(cv2.cvtColor(reds[None], cv2.COLOR_RGB2HSV)[0].astype(int), 1, 0)
    hue = (2 * hue + 180) % 360 - 180
    assert -20 < hue.min() < -4 and 4 < hue.max() < 20
    assert np.ptp(saturation) > 40


def test_a_grey_image_stays_grey_but_for_noise():
    grey = np.repeat(np.random.default_rng(0).integers(40, 200, (40, 60, 1), np.uint8), 3, axis=2)
    for seed in range(10):
        changed = augment.color_jitter(grey, np.random.default_rng(seed)).astype(int)
        assert np.ptp(changed, axis=2).mean() < 9


def test_generators_depend_on_their_three_numbers_alone():
    draws = {key: generator(*key).random(4).tobytes() for key in np.ndindex(4, 5, 6)}
    assert len(set(draws.values())) == len(draws), "all streams differ"
    assert all(generator(*key).random(4).tobytes() == value for key, value in reversed(draws.items()))
    with pytest.raises(ValueError):
        generator(-1, 0, 0)


def test_real_frames_keep_their_geometry(kitti_mini):
    frames, view = KittiFolder(kitti_mini, depth="object"), Augmentation(0.0, size=(640, 192))
    for index in range(0, len(frames), 17):
        sample = frames.sample(index)
        rng = generator(0, 0, index)
        changed = augment.flip(view(sample, rng))
        solid = changed.objects[~np.isnan(changed.objects.boxes[:, 0])]
        # The way back: which label it was, and where its corners are in the real image.
        warp = changed.camera.flip().P[:, :3] @ np.linalg.inv(sample.camera.P[:, :3])
        for box in box3d.flip(solid.boxes):
            assert np.isclose(sample.objects.boxes, box, atol=1e-9).all(axis=1).any()
            corners = box3d.corners(box[None])[0]
            before = np.column_stack([sample.camera.project(corners)[:, :2], np.ones(8)])
            expected = before @ warp.T
            mirrored = corners * [-1, 1, 1]
            found = changed.camera.project(mirrored)
            np.testing.assert_allclose(found[:, 0], 639 - expected[:, 0], atol=1e-4)
            np.testing.assert_allclose(found[:, 1], expected[:, 1], atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_a_published_crop_maps_pixels_as_the_published_affine_transform(seed):
    """The crop of factor f around a shifted centre fills a view whose zoom is that of the whole image."""
    camera = Camera(np.array([[720.0, 0, 600, 40], [0, 720, 180, 0], [0, 0, 1, 0.003]]), 1242, 375)
    sample, zoom, size = Sample("0", np.zeros((375, 1242, 3), np.uint8), camera), 0.5, (640, 192)
    crop = RandomCrop(prob=1.0)
    view = Augmentation(0.0, False, size=size, crop=crop)(sample, np.random.default_rng(seed), zoom * 720)
    # The draws of the flip, of the crop or not, of the factor and of the two shifts.
    rng = np.random.default_rng(seed)
    rng.random(), rng.random()
    factor = np.clip(1 + 0.4 * rng.standard_normal(), 0.6, 1.4)
    shift = np.clip(0.1 * rng.standard_normal(2), -0.2, 0.2)
    centre = np.array([1242, 375]) * (0.5 + shift)
    points = camera.lift(np.array([[300.0, 100, 20], [900, 250, 8], [640, 180, 50]]))
    pixels = camera.project(points)[:, :2] + 0.5
    expected = (pixels - centre) * zoom / factor + np.array(size) / 2 - 0.5
    np.testing.assert_allclose(view.camera.project(points)[:, :2], expected, atol=1.1)  # sizes and places are rounded
    assert not view.trains_3d
    # The published depth target is the depth times the factor, metres: ours is that at the focal length of whole views.
    assert view.camera.fu == pytest.approx(360 / factor, rel=2e-3)


def test_a_share_of_the_frames_is_cropped_and_the_others_are_whole():
    sample = random_sample(5)
    augmentation = Augmentation(0.0, False, size=(64, 32), crop=RandomCrop(prob=0.3))
    rng = np.random.default_rng(0)
    views = [augmentation(sample, rng, sample.camera.fv) for _ in range(400)]
    cropped = [not view.trains_3d for view in views]
    assert 0.22 < np.mean(cropped) < 0.38
    ratios = np.array([view.camera.fv / sample.camera.fv for view in views])
    whole = ratios[~np.array(cropped)]
    assert np.ptp(whole) == 0 and whole[0] == pytest.approx(1, abs=0.05)
    assert 1 / 1.4 * 0.97 < ratios.min() < 0.85 and 1.3 < ratios.max() < augmentation.max_scale * 1.03
    taught = replace(augmentation, crop=RandomCrop(prob=1.0, train_3d=True))
    assert taught(sample, rng, sample.camera.fv).trains_3d
