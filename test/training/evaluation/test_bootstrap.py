"""Confidence intervals over frames: closed forms, and how often they cover the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.bootstrap import enough_blocks, interval, resamples, usual_block


def test_the_spread_of_a_mean_is_the_closed_form():
    """The bootstrap variance of a mean of n values is their variance (divided by n) over n."""
    values = np.random.default_rng(1).normal(3, 2, 60)
    means = np.array([weights @ values / 60 for weights in resamples(60, 4000)])
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.std() == pytest.approx(values.std() / np.sqrt(60), rel=0.04)
    low, high = interval(means)
    # The mean of 60 values is nearly normal.
    assert [low, high] == pytest.approx(values.mean() + np.array([-1.96, 1.96]) * values.std() / np.sqrt(60), abs=0.03)


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_difference_covers_the_true_one(paired):
    """95% of intervals cover the difference of two recalls, 0.1; 400 data sets of 80 frames with 1 object each.

    A right interval covers 380 of 400, give or take 4.4; percentile intervals of 80 frames are known to cover a little
    less than they say. Unpaired resampling of paired frames would cover nearly all: hits go together.
    """
    rng, covered, widths = np.random.default_rng(2), 0, []
    # The same draws for all data sets: what is at stake is chance in the data.
    draws = [np.stack(list(resamples(80, 1000, seed=seed))) for seed in (0, 0 if paired else 1)]
    for _ in range(400):
        ease = rng.uniform(size=80)
        first = ease + rng.normal(0, 0.05, 80) < 0.6
        second = (ease if paired else rng.uniform(size=80)) + rng.normal(0, 0.05, 80) < 0.7
        low, high = interval((draws[1] @ second - draws[0] @ first) / 80)
        covered += low <= 0.1 <= high
        widths.append(high - low)
    assert 364 <= covered <= 396
    # Two independent shares have a standard error of 0.075, paired ones a fraction of it.
    assert (np.mean(widths) < 0.2) == paired


@pytest.mark.parametrize("block", [1, 10, 50])
def test_blocks_give_the_closed_form_where_frames_repeat_each_other(block):
    """Variance of a mean of n values in circular blocks of b: sum over lags |k| < b of (1 - |k| / b) c(k), over n.

    c(k) is the circular autocovariance (Politis and Romano 1992). Each value stands 10 times in a row here, so that
    single frames make the interval about sqrt(10) too narrow.
    """
    values = np.repeat(np.random.default_rng(3).normal(size=100), 10)
    spread = np.std([weights @ values / 1000 for weights in resamples(1000, 3000, block)])
    centred = values - values.mean()
    lags = np.arange(1 - block, block)
    covariance = np.array([centred @ np.roll(centred, k) / 1000 for k in lags])
    assert spread == pytest.approx(np.sqrt(((1 - np.abs(lags) / block) * covariance).sum() / 1000), rel=0.05)


@given(st.integers(1, 40), st.data())
def test_each_resample_has_as_many_frames_and_whole_blocks(frames, data):
    block = data.draw(st.integers(1, frames))
    first, again = (np.stack(list(resamples(frames, 5, block, seed=4))) for _ in range(2))
    assert (first.sum(axis=1) == frames).all() and (first >= 0).all()
    np.testing.assert_array_equal(first, again)
    if block == frames:
        assert (first == 1).all()


@pytest.mark.parametrize(("frames", "block"), [(100, 10), (100, 20), (100, 50), (1000, 100), (60, 3)])
def test_intervals_of_few_blocks_cover_far_less_than_they_say(frames, block):
    """How often the interval of a mean covers the truth, 0, where each value stands for a whole block of frames.

    Of 95% that are meant, 10 blocks keep 82%, and 5 blocks 74%.
    """
    rng, covered = np.random.default_rng(5), 0
    draws = np.stack(list(resamples(frames, 400, block)))
    for _ in range(400):
        start = rng.integers(block)
        values = np.repeat(rng.normal(size=frames // block + 2), block)[start : start + frames]
        low, high = interval(draws @ values / frames)
        covered += low <= 0 <= high
    assert (covered >= 400 * 0.78) == enough_blocks(frames, block)


@given(st.integers(1, 10_000))
def test_the_usual_block_is_never_too_long_for_intervals(frames):
    block = usual_block(frames)
    assert 1 <= block <= 20 and enough_blocks(frames, block) == (frames >= 10)
    assert (usual_block(60), usual_block(390), usual_block(2000)) == (3, 19, 20)


@pytest.mark.parametrize(("frames", "block"), [(0, 1), (5, 6), (5, 0)])
def test_impossible_blocks_are_an_error(frames, block):
    with pytest.raises(ValueError, match="cannot be drawn"):
        next(resamples(frames, 1, block))


def test_an_interval_says_nothing_where_a_quantity_is_seldom_defined():
    values = np.stack([np.arange(100.0), np.where(np.arange(100) < 5, np.nan, 7), np.full(100, np.nan)], axis=1)
    values[:20, 2] = 1
    low, high = interval(values)
    np.testing.assert_allclose(low, [2.475, 7, np.nan])
    np.testing.assert_allclose(high, [96.525, 7, np.nan])


def test_nine_in_ten_resamples_must_have_a_value():
    values = np.arange(100.0)[:, None] * [1, 1] + 0
    values[:10, 0], values[:11, 1] = np.nan, np.nan
    low, high = interval(values)
    assert np.isfinite(low).tolist() == np.isfinite(high).tolist() == [True, False]
    np.testing.assert_allclose([low[0], high[0]], np.percentile(np.arange(10.0, 100), [2.5, 97.5]))
    np.testing.assert_allclose(interval(np.arange(101.0), 0.5), [25, 75])


def test_frames_are_drawn_one_by_one_where_nothing_else_is_said():
    drawn = np.array(list(resamples(50, 20)))
    np.testing.assert_array_equal(drawn, list(resamples(50, 20, block=1)))
    alone = (drawn > 0) & (np.roll(drawn, 1, axis=1) == 0) & (np.roll(drawn, -1, axis=1) == 0)
    assert alone.any()  # in blocks of two each frame has a neighbour


def test_one_resample_is_its_own_interval():
    assert [end.item() for end in interval(np.array([3.0]))] == [3.0, 3.0]


def test_blocks_by_hand():
    """A twentieth of the frames, 1 to 20; ten of them at least; past the last frame the first follow."""
    assert [usual_block(n) for n in (1, 19, 39, 40, 399, 400, 419, 420, 9999)] == [1, 1, 1, 2, 19, 20, 20, 20, 20]
    assert [enough_blocks(n, 3) for n in (29, 30, 31)] == [False, True, True]
    rng = np.random.default_rng(0)  # the seed that is used without one
    for weights in resamples(7, 20, 3):
        starts = rng.integers(0, 7, 3)  # three blocks of three, of which the last is cut to seven frames in all
        drawn = [(start + k) % 7 for start in starts for k in range(3)][:7]
        assert weights.tolist() == [drawn.count(frame) for frame in range(7)]
    assert len(list(resamples(7, 20))) == 20 and next(resamples(5, 1, 5)).tolist() == [1] * 5
    assert any(weights.max() > 1 for weights in resamples(7, 5))  # frames are drawn apart without a block
