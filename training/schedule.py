"""Learning-rate schedules: functions from training's progress in [0, 1] to a factor on the learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """What a configuration names as model.schedule. (No dataclass itself: its subclasses have fields of their own.)"""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The factor when this share of the training is done."""


@dataclass(frozen=True)
class StepDecay(Schedule):
    """The learning rate falls by `factor` at each milestone, after a linear warm-up.

    Args:
        milestones: Shares of the training.
        factor: On the learning rate, at each of them.
        warmup_fraction: Share of the training over which the learning rate rises from a hundredth.
    """

    milestones: tuple[float, ...]
    factor: float = 0.1
    warmup_fraction: float = 0.0

    def __call__(self, progress: float) -> float:
        """See `Schedule`."""
        return _warmup(progress, self.warmup_fraction) * self.factor ** sum(progress >= m for m in self.milestones)


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
        along = max(0.0, progress - self.warmup_fraction) / max(1e-9, 1 - self.warmup_fraction)
        cosine = self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, along))) / 2
        return cosine * _warmup(progress, self.warmup_fraction)


def _warmup(progress: float, fraction: float) -> float:
    return min(1.0, 0.01 + 0.99 * progress / fraction) if fraction > 0 else 1.0
