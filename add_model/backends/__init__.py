"""What runs a network: ONNX Runtime (no torch needed) or torch. Both are called alike, see `Backend`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from add_model.candidates import Candidates
from add_model.classes import ClassSpec
from add_model.errors import ModelError
from add_model.nms import NmsSettings

_LFS = b"version https://git-lfs"


class Backend(Protocol):
    """A loaded network. Called with a canvas (H, W, 3) uint8 RGB and its P (3, 4)."""

    device: str
    classes: ClassSpec
    focal: float  # pixels: the focal length at which the network wants to see images
    size_multiple: int  # canvas sides are multiples of this
    nms: NmsSettings | None

    def __call__(self, canvas: np.ndarray, P: np.ndarray) -> Candidates: ...


def require_file(path: Path) -> None:
    """Raise ModelError where there is no such file, or only a pointer to it."""
    if not path.is_file():
        raise ModelError(f"model file {path} does not exist; give the path of an .onnx or .safetensors file")
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise ModelError(
                f"model {path} is a Git LFS pointer, not the model: run 'git lfs pull' where it comes from"
            )
