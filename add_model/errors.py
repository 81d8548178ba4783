"""What can go wrong with a model, and with a file that is written."""


class ModelError(Exception):
    """A model that can't be used. The message says which, why, and what to do."""


class OutputError(OSError):
    """A file that can't be written. The message names it and says why; what was there before is as it was."""
