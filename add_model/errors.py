"""What can go wrong with a model."""


class ModelError(Exception):
    """A model that can't be used. The message says which, why, and what to do."""
