"""What the bag tools raise."""


class BagError(Exception):
    """A bag cannot be read, written or played; the message says which, why and what to do."""
