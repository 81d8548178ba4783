"""What ends a training, in one sentence for the user."""


class TrainingError(RuntimeError):
    """A training that can't start or go on. The message says what, where, and how to mend it."""


class DataSetError(ValueError):
    """A data set that cannot be used. `problems` maps each kind of problem to all of its files."""

    def __init__(self, message: str, problems: dict[str, list[str]] | None = None):
        super().__init__(message)
        self.problems = problems or {}
