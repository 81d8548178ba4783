"""Learning-rate schedules: functions from training's progress in [0, 1] to a factor on the base rate."""

from __future__ import annotations

import math
from dataclasses import dataclass


def _warm_up(progress: float, share: float) -> float:
    return min(1.0, 0.01 + 0.99 * progress / share) if share > 0 else 1.0


@dataclass(frozen=True)
class StepDecay:
    """The rate falls by `factor` at each milestone (shares of the training), after a linear warm-up."""

    milestones: tuple[float, ...]
    factor: float = 0.1
    warm_up: float = 0.0

    def __call__(self, progress: float) -> float:
        return _warm_up(progress, self.warm_up) * self.factor ** sum(progress >= m for m in self.milestones)


@dataclass(frozen=True)
class Cosine:
    """The rate falls along half a cosine to `final`, after a linear warm-up."""

    warm_up: float = 0.05
    final: float = 0.01

    def __call__(self, progress: float) -> float:
        along = max(0.0, progress - self.warm_up) / max(1e-9, 1 - self.warm_up)
        cosine = self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, along))) / 2
        return cosine * _warm_up(progress, self.warm_up)
