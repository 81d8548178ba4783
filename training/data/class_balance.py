"""Frames with rare classes, drawn more often: repeat factors (Gupta et al., 'LVIS', CVPR 2019, appendix A)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.frame_sources import Frames
from training.data.sample import Sample


def repeat_factors(shown: Sequence[Collection[Hashable]], threshold: float) -> np.ndarray:
    """How much more often each frame is to be drawn than one with frequent classes alone, (N,).

    Args:
        shown: the classes in each of N frames.
        threshold: share of the frames; a class in a share f of them has the factor sqrt(threshold / f), at least 1.

    Returns:
        Of each frame the highest factor of its classes, 1 for none.
    """
    names = {name for classes in shown for name in classes}
    share = {name: sum(name in classes for classes in shown) / len(shown) for name in names}
    factor = {name: max(1.0, (threshold / share[name]) ** 0.5) for name in names}
    return np.array([max((factor[name] for name in classes), default=1.0) for classes in shown])


def draw(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many frames as there are (N,), each in proportion to its factor up to rounding (systematic sampling)."""
    ends = np.cumsum(factors) / factors.sum()
    drawn = np.searchsorted(ends, (rng.random() + np.arange(len(factors))) / len(factors), side="right")
    return rng.permutation(np.minimum(drawn, len(factors) - 1))


@dataclass(frozen=True)
class DrawnFrames:
    """Frames of a source by their index there, (N,), which may repeat."""

    source: Frames
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, index: int) -> Sample:
        """Frame `index` of these."""
        return self.source.sample(int(self.index[index]))
