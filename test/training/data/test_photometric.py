"""Colours as MonoDETR's code changes them: each kind by itself against arithmetic, and how often each happens."""

import colorsys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from add_model.geometry.camera import Camera
from training.data.augmentation import Augmentation
from training.data.photometric import ColourChange, PhotometricDistort
from training.data.sample import Objects, Sample

STILL = ColourChange(0.0, 1.0, True, 1.0, 0.0, (0, 1, 2))
IMAGE = np.random.default_rng(0).integers(60, 120, (6, 7, 3), np.uint8)


def test_no_change_changes_nothing():
    np.testing.assert_array_equal(STILL(IMAGE), IMAGE)


@pytest.mark.parametrize("first", [True, False])
def test_brightness_is_added_before_contrast_multiplies(first):
    changed = replace(STILL, brightness=20.5, contrast=1.25, contrast_first=first)(IMAGE)
    np.testing.assert_array_equal(changed, ((IMAGE + 20.5) * 1.25).astype(np.uint8))


def test_values_beyond_the_range_are_cut():
    assert (replace(STILL, brightness=300.0)(IMAGE) == 255).all()
    assert (replace(STILL, brightness=-300.0)(IMAGE) == 0).all()


def test_channels_change_places():
    np.testing.assert_array_equal(replace(STILL, order=(2, 0, 1))(IMAGE), IMAGE[..., [2, 0, 1]])


def test_saturation_and_hue_are_those_of_hsv():
    changed = replace(STILL, saturation=0.6, hue=-15.0)(IMAGE)
    for before, after in zip(IMAGE.reshape(-1, 3), changed.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(before / 255))
        wanted = np.array(colorsys.hsv_to_rgb((h - 15 / 360) % 1, 0.6 * s, v)) * 255
        assert np.abs(after - wanted).max() <= 1.01  # cut, not rounded


def test_contrast_before_or_after_only_matters_where_nothing_is_linear():
    change = replace(STILL, contrast=1.3, saturation=1.4, hue=12.0)
    before, after = (replace(change, contrast_first=first)(IMAGE).astype(int) for first in (True, False))
    assert np.abs(before - after).max() <= 1


def test_each_kind_happens_to_half_of_the_frames_within_its_range():
    rng = np.random.default_rng(0)
    changes = [PhotometricDistort().draw(rng) for _ in range(2000)]
    for name, still, low, high in (
        ("brightness", 0.0, -32, 32),
        ("contrast", 1.0, 0.5, 1.5),
        ("saturation", 1.0, 0.5, 1.5),
        ("hue", 0.0, -18, 18),
    ):
        values = np.array([getattr(change, name) for change in changes])
        drawn = values[values != still]
        assert len(drawn) / 2000 == pytest.approx(0.5, abs=0.04), name
        assert low <= drawn.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < drawn.max() <= high
    orders = Counter(change.order for change in changes)
    assert len(orders) == 6 and orders[(0, 1, 2)] / 2000 == pytest.approx(7 / 12, abs=0.04)
    assert np.mean([change.contrast_first for change in changes]) == pytest.approx(0.5, abs=0.04)
    assert all(PhotometricDistort(permute=False).draw(rng).order == (0, 1, 2) for _ in range(50))


def test_a_view_takes_it_instead_of_the_jitter():
    camera = Camera(np.array([[100.0, 0, 32, 0], [0, 100, 16, 0], [0, 0, 1, 0]]), 64, 32)
    image = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    sample = Sample("0", image, camera, Objects.empty())
    distort = PhotometricDistort()
    view = Augmentation(0.0, True, (1.0, 1.0), (64, 32), distort=distort)
    seen = view(sample, np.random.default_rng(5), focal=100.0).image
    np.testing.assert_array_equal(seen, distort.draw(np.random.default_rng(5))(image))
