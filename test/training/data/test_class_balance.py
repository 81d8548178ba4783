"""Repeat factors by hand, and what is drawn by them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.class_balance import DrawnFrames, draw, repeat_factors


def test_factors_by_hand():
    shown = [{"Car"}] * 6 + [{"Car", "Cyclist"}, {"Pedestrian"}, {"Pedestrian"}, set()]
    factors = repeat_factors(shown, 0.4)
    # Cars are in 7 of 10 frames, pedestrians in 2, cyclists in 1.
    np.testing.assert_allclose(factors, [1] * 6 + [2.0, 2**0.5, 2**0.5, 1.0])
    np.testing.assert_array_equal(repeat_factors(shown, 0.05), np.ones(10))


@given(st.lists(st.floats(0.5, 8), min_size=1, max_size=40), st.integers(0, 99))
def test_each_frame_is_drawn_in_proportion_up_to_rounding(factors, seed):
    factors = np.array(factors)
    drawn = draw(factors, np.random.default_rng(seed))
    assert len(drawn) == len(factors)
    expected = factors / factors.sum() * len(factors)
    counts = np.bincount(drawn, minlength=len(factors))
    assert (counts >= np.floor(expected - 1e-9)).all() and (counts <= np.ceil(expected + 1e-9)).all()
    np.testing.assert_array_equal(drawn, draw(factors, np.random.default_rng(seed)))


def test_over_many_epochs_the_shares_are_those_of_the_factors():
    factors = np.array([1.0, 1.0, 3.0, 2.5])
    counts = sum(np.bincount(draw(factors, np.random.default_rng([0, epoch])), minlength=4) for epoch in range(2000))
    np.testing.assert_allclose(counts / counts.sum(), factors / factors.sum(), atol=0.01)
    first = [draw(factors, np.random.default_rng([0, epoch]))[0] for epoch in range(500)]
    assert set(first) == {0, 1, 2, 3}  # their order is drawn too


def test_drawn_frames_are_those_of_the_source():
    frames = DrawnFrames(SimpleNamespace(sample=lambda i: f"frame {i}"), np.array([2, 0, 2]))
    assert [frames.sample(i) for i in range(len(frames))] == ["frame 2", "frame 0", "frame 2"]
    with pytest.raises(IndexError):
        frames.sample(3)
