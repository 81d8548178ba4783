"""Confidence intervals by the bootstrap over frames: percentile intervals (Efron and Tibshirani 1993, chapter 13).

A resample draws frames with replacement, as many as there are; what is measured is a function of how often each frame
was drawn. Frames that follow each other in a drive are correlated, which makes the intervals of single frames too
narrow; blocks of consecutive frames, drawn whole, correct that (circular block bootstrap, Politis and Romano 1992).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
LEAST_BLOCKS = 10  # in a set: fewer differ too little between resamples, and one block would give no spread at all
_LEAST_SHARE = 0.9  # of the resamples in which a quantity must be defined


def usual_block(frames: int) -> int:
    """A twentieth of the frames, 1 to 20: twice the blocks that are needed, and two seconds of a camera at 10 Hz."""
    return min(20, max(1, frames // 20))


def enough_blocks(frames: int, block: int) -> bool:
    """Whether there are blocks enough for intervals that are not too narrow."""
    return frames >= LEAST_BLOCKS * block


def resamples(frames: int, count: int, block: int = 1, seed: int = 0) -> Iterator[np.ndarray]:
    """Draw frames with replacement.

    Args:
        frames: how many there are, F.
        count: how many resamples.
        block: how many consecutive frames are drawn together; past the last frame the first follow.
        seed: of the draws.

    Returns:
        For each resample how often each frame was drawn: (F,) whole numbers of sum F.

    Raises:
        ValueError: where there is no frame, or the block is not 1 to F.
    """
    if not 1 <= block <= frames:
        raise ValueError(f"blocks of {block} frames cannot be drawn from {frames} frame(s)")
    rng = np.random.default_rng(seed)
    for _ in range(count):
        starts = rng.integers(0, frames, -(-frames // block))
        drawn = (starts[:, None] + np.arange(block)).reshape(-1)[:frames] % frames
        yield np.bincount(drawn, minlength=frames)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of resampled values.

    Args:
        values: (B, ...) of B resamples, NaN where one has none.
        level: of confidence.

    Returns:
        Lower and upper end (...); NaN where fewer than nine in ten resamples have a value, since an interval of the
        rest would be too narrow.
    """
    values = np.asarray(values, dtype=float)
    enough = (~np.isnan(values)).sum(axis=0) >= max(1, _LEAST_SHARE * len(values))
    low, high = np.nanpercentile(np.where(enough, values, 0.0), [50 * (1 - level), 50 * (1 + level)], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)
