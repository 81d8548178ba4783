"""Learning-rate schedules: functions from training's progress in [0, 1] to a factor on the learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from training.errors import require_share


class Schedule(ABC):
    """What a configuration names as model.schedule. (No dataclass itself: its subclasses have fields of their own.)"""

    def __post_init__(self) -> None:
        """Raise TrainingError where a share of the training is none, such as an epoch's number."""
        for share in getattr(self, "milestones", ()):
            require_share("model.schedule.milestones", share)
        require_share("model.schedule.warmup_fraction", getattr(self, "warmup_fraction", 0.0))

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The factor when this share of the training is done."""

    def momentum(self, progress: float) -> float | None:
        """Adam's first beta when this share of the training is done; None leaves it as it is."""
        return None


@dataclass(frozen=True)
class StepDecay(Schedule):
    """The learning rate falls by `factor` at each milestone, after a linear warm-up.

    Args:
        milestones: Shares of the training.
        factor: On the learning rate, at each of them.
        warmup_fraction: Share of the training over which the learning rate rises from a hundredth.
        warmup: Along what it rises.
    """

    milestones: tuple[float, ...]
    factor: float = 0.1
    warmup_fraction: float = 0.0
    warmup: Literal["line", "cosine"] = "line"

    def __call__(self, progress: float) -> float:
        """See `Schedule`."""
        rise = _warmup(progress, self.warmup_fraction, cosine=self.warmup == "cosine")
        return rise * self.factor ** sum(progress >= m for m in self.milestones)


@dataclass(frozen=True)
class Cosine(Schedule):
    """The learning rate falls along half a cosine, after a linear warm-up.

    Args:
        warmup_fraction: Share of the training over which the learning rate rises from a hundredth.
        final: The factor at the end.
    """

    warmup_fraction: float = 0.05
    final: float = 0.01

    def __call__(self, progress: float) -> float:
        """See `Schedule`."""
        fall = _along_cosine(1.0, self.final, _after(progress, self.warmup_fraction))
        return fall * _warmup(progress, self.warmup_fraction)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """The learning rate rises and falls along half cosines, and momentum against it (Smith, 2018; as fastai has it).

    Args:
        warmup_fraction: Share of the training over which the learning rate rises.
        start: The factor at the start.
        final: The factor at the end.
        momenta: Adam's first beta at the start and the end, and where the learning rate is highest.
    """

    warmup_fraction: float = 0.4
    start: float = 0.1
    final: float = 1e-5
    momenta: tuple[float, float] = (0.95, 0.85)

    def __call__(self, progress: float) -> float:
        """See `Schedule`."""
        return self._between(progress, self.start, 1.0, self.final)

    def momentum(self, progress: float) -> float:
        """See `Schedule`."""
        return self._between(progress, self.momenta[0], self.momenta[1], self.momenta[0])

    def _between(self, progress: float, first: float, middle: float, last: float) -> float:
        if progress < self.warmup_fraction:
            return _along_cosine(first, middle, progress / self.warmup_fraction)
        return _along_cosine(middle, last, _after(progress, self.warmup_fraction))


def _after(progress: float, fraction: float) -> float:
    """The share that is done of what follows this share of the training."""
    return min(1.0, max(0.0, progress - fraction) / max(1e-9, 1 - fraction))


def _along_cosine(start: float, end: float, along: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * along)) / 2


def _warmup(progress: float, fraction: float, cosine: bool = False) -> float:
    if cosine and progress < fraction:
        return _along_cosine(0.01, 1.0, progress / fraction)
    return min(1.0, 0.01 + 0.99 * progress / fraction) if fraction > 0 else 1.0
