"""Files of weights that others published."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor


def read_published(path: str | Path, network: str, file: str) -> dict[str, Tensor]:
    """The weights in a file by their names there.

    Args:
        path: Of the file.
        network: Whose weights it should hold, for errors.
        file: What to download, for errors.

    Raises:
        FileNotFoundError: Where it does not exist.
        ValueError: Where it holds no weights.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no {network} weights at {path}: download {file} and name its path")
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} does not hold {network} weights: {error}") from error
