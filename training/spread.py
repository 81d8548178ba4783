"""Which of many frames are looked at or shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spread(total: int, count: int) -> list[int]:
    """`count` of the indices 0 ... total - 1 at even steps, with both ends; all where there are fewer."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def ranked_and_spread(ranking: Sequence[int], total: int, count: int) -> list[int]:
    """`count` of the indices 0 ... total - 1, in order: half are the first of a ranking, the others at even steps.

    Those that are both leave places for the next in the ranking, and where it ends, for others at even steps.

    Args:
        ranking: of all indices, or of those that matter.
        total: how many indices there are; all are given where they are no more than `count`.
        count: how many to give.
    """
    chosen = set(ranking[: -(-count // 2)])
    chosen.update(spread(total, count - len(chosen)))
    for index in ranking:
        if len(chosen) < count:
            chosen.add(index)
    rest = [index for index in range(total) if index not in chosen]
    return sorted(chosen.union(rest[i] for i in spread(len(rest), count - len(chosen))))
