"""What runs a network: ONNX Runtime (also with TensorRT), OpenVINO or torch. All are called alike, see `Backend`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from add_model.candidates import Candidates
from add_model.classes import ClassSpec
from add_model.cores import usable_cores
from add_model.errors import ModelError
from add_model.metadata import refuse_lfs_pointer
from add_model.nms import NmsSettings

MOST_THREADS = 4  # by default: a robot's other nodes need cores too


class Backend(Protocol):
    """A loaded network. Called with canvases (B, H, W, 3) uint8 RGB and their P (B, 3, 4); one Candidates for each.

    engine:        one of `add_model.backends.select.ENGINES`, but never 'auto'
    device:        where it runs: 'cpu', 'cuda', 'cuda:N', 'igpu' or 'npu'
    precision:     of its multiplications, as numpy would call it: 'float32', 'bfloat16' or 'float16'
    focal:         pixels: the focal length at which the network wants to see images
    size_multiple: canvas sides are multiples of this
    note:          what the user should know of how it was opened, None for nothing
    """

    engine: str
    device: str
    precision: str
    classes: ClassSpec
    focal: float
    size_multiple: int
    nms: NmsSettings | None
    note: str | None

    def __call__(self, canvases: np.ndarray, P: np.ndarray) -> list[Candidates]: ...


def require_file(path: Path) -> None:
    """Raise ModelError where there is no such file, or only a pointer to it."""
    if not path.is_file():
        raise ModelError(f"model file {path} does not exist; give the path of an .onnx or .safetensors file")
    refuse_lfs_pointer(path)


def default_threads() -> int:
    """The CPU threads of a network where none are asked for: the cores this process may use, but four at most."""
    return min(usable_cores(), MOST_THREADS)


def cache_folder(engine: str) -> tuple[Path | None, str | None]:
    """Where an engine keeps compiled models: (folder, None), or (None, why there is none)."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "add_ros" / engine
    except RuntimeError:  # as in a container that runs under a number no user has
        return None, "compiled models can't be kept (no home folder; set XDG_CACHE_HOME): every start compiles anew"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return None, f"compiled models can't be kept in {folder} ({error.strerror}): every start compiles anew"
    if not os.access(folder, os.W_OK):
        return None, f"compiled models can't be kept in {folder} (it can't be written): every start compiles anew"
    return folder, None


def run_batches(
    run: Callable[[np.ndarray, np.ndarray], list[np.ndarray]], any_batch: bool, canvases: np.ndarray, P: np.ndarray
) -> list[Candidates]:
    """Candidates of each canvas: all at once, or one by one where the graph was exported for one image.

    run: (B, H, W, 3) and float32 (B, 3, 4) -> the graph's outputs in the order of `Candidates`, each (B, K, ...).
    """
    P = P.astype(np.float32)
    step = len(canvases) if any_batch else 1
    found = []
    for start in range(0, len(canvases), step):
        outputs = run(canvases[start : start + step], P[start : start + step])
        found += [Candidates(*values) for values in zip(*outputs, strict=True)]
    return found
