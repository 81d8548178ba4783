"""Names of weights that files written by older versions have, and what they are called today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

_DETECTOR = {"heat.": "heatmap_head."}  # MonoDLE's
# Of a training checkpoint: the objective, and within it.
_OBJECTIVE = {
    "objective.branch.": "objective.depth_branch.",
    "objective.position.": "objective.position_encoding.",
    "objective.place.": "objective.centre_encoding.",
    "objective.target.kind.": "objective.target_attention.class_embedding.",
    "objective.target.shape.": "objective.target_attention.shape_embedding.",
    "objective.target.reader.": "objective.target_attention.readout.",
    "objective.target.": "objective.target_attention.",
}


def rename_detector_keys(weights: Mapping[str, Value]) -> dict[str, Value]:
    """A detector's state dict by today's names."""
    return {_renamed(key, _DETECTOR): value for key, value in weights.items()}


def rename_checkpoint_keys(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The state dict of a training checkpoint by today's names: `detector.*`, and `objective.*`, once `learner.*`."""
    return {_checkpoint_key(key): value for key, value in weights.items()}


def _checkpoint_key(key: str) -> str:
    if key.startswith("learner."):
        key = "objective." + key.removeprefix("learner.")
    key = _renamed(key, _OBJECTIVE)
    for prefix in ("detector.", "objective.teacher."):
        if key.startswith(prefix):
            return prefix + _renamed(key.removeprefix(prefix), _DETECTOR)
    return key


def _renamed(key: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
