"""Numbers in the rows of JSON files that data sets come with."""

from __future__ import annotations

from typing import Any

import numpy as np


def numbers(row: dict[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The finite numbers of a row's key as an array of this shape.

    Raises ValueError where they are something else, KeyError where the row lacks the key.
    """
    try:
        found = np.array(row[key], float)
    except (TypeError, ValueError, OverflowError):
        found = np.array(np.nan)
    if found.shape != shape or not np.isfinite(found).all():
        what = " x ".join(map(str, shape))
        raise ValueError(f"{key} is {what} numbers, not {str(row[key])[:60]!r}")
    return found
