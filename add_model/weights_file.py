"""A detector's weights as a .safetensors file, which says what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from add_model.atomic_io import write_atomically
from add_model.classes import stored_classes
from add_model.detectors.base import Detector
from add_model.errors import ModelError
from add_model.registry import build
from add_model.renamed_keys import rename_detector_keys


def save(path: Path, name: str, detector: Detector[Any]) -> None:
    """Write a detector's weights, its name and its classes, so that `load` can build it."""
    tensors = {key: value.contiguous() for key, value in detector.state_dict().items()}
    metadata = {"model": name, "class_spec": detector.classes.to_json()}
    # Not by save_file, whose files nobody but their owner may read.
    write_atomically(path, serialised(tensors, metadata=metadata))


def load(path: Path) -> Detector[Any]:
    """The detector that `save` wrote. Raises ModelError where the file is not one, or its weights don't fit."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error
    if "model" not in metadata:
        raise ModelError(f"{path} does not say which model its weights are for; export it with: add-ros export")
    name = metadata["model"]
    try:
        detector = build(name, stored_classes(metadata))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    try:
        detector.load_state_dict(rename_detector_keys(tensors))
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the weights of {name}: {error}") from error
    require_finite(detector, path)
    return detector


def require_finite(detector: Detector[Any], path: Path | str) -> None:
    """Raise ModelError where a weight is NaN or infinite: such a network finds nothing, or anything."""
    bad = [key for key, value in detector.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise ModelError(f"{path} has {len(bad)} weights that are not finite, such as {bad[0]}: train it again")
