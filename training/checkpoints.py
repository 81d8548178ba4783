"""A run's checkpoints, read without running code that is in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from add_model.classes import stored_classes
from add_model.detectors.base import Detector
from add_model.errors import ModelError
from add_model.registry import build
from add_model.renamed_keys import below, rename_checkpoint_keys
from add_model.weights_file import require_finite
from training.errors import TrainingError


def load_checkpoint(path: Path | str, mmap: bool = False) -> dict[str, Any]:
    """A checkpoint of add-ros fit, on the CPU. Unpickles no code.

    Raises TrainingError where there is none, or it is damaged or something else.
    """
    if not Path(path).is_file():
        raise TrainingError(f"no such checkpoint: {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except PermissionError:
        raise
    except Exception as error:  # torch raises many kinds for files that are not checkpoints
        raise TrainingError(f"{path} is {_fault(path, error)}") from None
    if not isinstance(checkpoint, dict) or not {"model_name", "state_dict"} <= checkpoint.keys():
        raise TrainingError(f"{path} was not written by add-ros fit")
    if fault := _shape_fault(checkpoint):
        raise TrainingError(f"{path} was not written by add-ros fit, or was changed since: {fault}")
    checkpoint["state_dict"] = rename_checkpoint_keys(checkpoint["state_dict"])
    return checkpoint


def _shape_fault(checkpoint: dict[str, Any]) -> str | None:
    """What is not as a checkpoint has it, None where all is."""
    weights, run = checkpoint["state_dict"], checkpoint.get("run", {})
    if not isinstance(checkpoint["model_name"], str) or not isinstance(checkpoint.get("class_spec", ""), str):
        return "model_name and class_spec must be text"
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        return "state_dict must map names to tensors"
    if strange := [key for key, value in weights.items() if not isinstance(value, torch.Tensor)]:
        return f"{strange[0]} in state_dict is no tensor"
    kinds = {"epochs": int, "best": (int, float), "best_epoch": int, "metrics": list}
    if not isinstance(run, dict) or ("run" in checkpoint and not kinds.keys() <= run.keys()):
        return f"run must have {', '.join(kinds)}"
    if strange := [key for key in kinds if key in run and not isinstance(run[key], kinds[key])]:
        return f"{strange[0]} of run is a {type(run[strange[0]]).__name__}"
    return None


def _fault(path: Path | str, error: Exception) -> str:
    if not _is_zip(path):  # torch says this with a number, or in a paragraph of its zip library
        return "damaged or no torch checkpoint: it is not a whole zip archive"
    if isinstance(error, pickle.UnpicklingError):
        return "not a checkpoint that can be read without running its code"
    return f"damaged or no torch checkpoint: {str(error).strip().partition('. ')[0] or type(error).__name__}"


def _is_zip(path: Path | str) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # of an end that points to nowhere
        return False


def is_teacher(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint is a teacher's own: with a depth branch, and no teacher beside it as a student's has."""
    parts = {name.split(".")[0] for name in below(checkpoint["state_dict"], "objective.")}
    return "depth_branch" in parts and "teacher" not in parts


def trained_detector(checkpoint: dict[str, Any], path: Path | str) -> Detector:
    """The detector of a checkpoint. Raises ModelError where its model is unknown or not its weights'."""
    detector = build(checkpoint["model_name"], stored_classes(checkpoint))
    try:
        detector.load_state_dict(below(checkpoint["state_dict"], "detector."))
    except Exception as error:  # of whatever stands there for a tensor
        what = (str(error).splitlines() or [type(error).__name__])[-1].strip()[:200]
        raise ModelError(f"{path} does not hold the weights of {checkpoint['model_name']}: {what}") from error
    require_finite(detector, path)
    return detector


def history(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """What `KeepCheckpoints` added: epochs, best, best_epoch and metrics. Raises TrainingError where it did not."""
    if "run" not in checkpoint:
        raise TrainingError(f"{path} has no history to go on from; it can be validated and exported")
    return checkpoint["run"]
