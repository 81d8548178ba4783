"""What ends a training, in one sentence for the user."""


class TrainingError(RuntimeError):
    """A training that can't start or go on. The message says what, where, and how to mend it."""
