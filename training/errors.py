"""What ends a training, in one sentence for the user."""

import math


class TrainingError(RuntimeError):
    """A training that can't start or go on. The message says what, where, and how to mend it."""


class DataSetError(ValueError):
    """A data set that cannot be used. `problems` maps each kind of problem to all of its files."""

    def __init__(self, message: str, problems: dict[str, list[str]] | None = None):
        super().__init__(message)
        self.problems = problems or {}


def require_share(option: str, value: float) -> None:
    """Raises TrainingError where an option's value is no share or probability."""
    if not 0 <= value <= 1:
        raise TrainingError(f"{option} {value}: give a share from 0 to 1")


def require_not_negative(option: str, value: float) -> None:
    """Raises TrainingError where an option's value is negative or not finite."""
    if not 0 <= value < math.inf:
        raise TrainingError(f"{option} {value}: give a number that is not negative")
