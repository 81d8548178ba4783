"""Random numbers that depend on seed, epoch and frame alone: never on the number, order or speed of workers."""

from __future__ import annotations

import numpy as np


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of frame `index` in `epoch`; streams of different arguments are independent.

    Raises ValueError where one of them is negative.
    """
    return np.random.default_rng(np.random.SeedSequence((seed, epoch, index)))
