"""Which labelled objects count as easy, moderate and hard, by the rules of KITTI's object benchmark."""

from __future__ import annotations

import numpy as np

from training.evaluation.table_rows import Rows

DIFFICULTIES = ("easy", "moderate", "hard")
MIN_HEIGHT = (40, 25, 25)  # pixels
MAX_OCCLUSION = (0, 1, 2)
MAX_TRUNCATION = (0.15, 0.3, 0.5)


def objects_that_count(code: int, truths: Rows) -> np.ndarray:
    """How many objects (3, F) of a class count in each frame, for easy, moderate, hard."""
    rows = [counted(truths, code, level) for level in range(len(DIFFICULTIES))]
    return np.stack([np.bincount(truths.frame[mask], minlength=truths.frames) for mask in rows])


def counted(truths: Rows, code: int, level: int) -> np.ndarray:
    """The rows of a class that are not too hard."""
    return (truths.code == code) & ~np.any(list(_too_hard(truths, level).values()), axis=0)


def _too_hard(truths: Rows, level: int) -> dict[str, np.ndarray]:
    """Reason -> the rows that don't count at a difficulty for it."""
    height = truths["bottom"] - truths["top"]
    return {
        "without a 2D box": ~(height > 0),
        f"at most {MIN_HEIGHT[level]} pixels high": height <= MIN_HEIGHT[level],
        "occluded beyond the limit": truths["occluded"] > MAX_OCCLUSION[level],
        "truncated beyond the limit": truths["truncated"] > MAX_TRUNCATION[level],
    }


def left_out_by_reason(code: int, truths: Rows) -> dict[str, list[int]]:
    """Reason -> how many objects of a class don't count for it, for easy, moderate and hard."""
    own, counts = truths[truths.code == code], {}
    for level in range(len(DIFFICULTIES)):
        rest = np.ones(len(own), dtype=bool)
        for reason, rows in _too_hard(own, level).items():
            if (rest & rows).any():
                counts.setdefault(reason, [0] * len(DIFFICULTIES))[level] = int((rest & rows).sum())
            rest &= ~rows
    return counts
