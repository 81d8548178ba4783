"""Names of weights in files, of older versions and of others, and what they are called here."""

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
    return {renamed(key, _DETECTOR): value for key, value in weights.items()}


def rename_checkpoint_keys(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The state dict of a training checkpoint by today's names: `detector.*`, and `objective.*`, once `learner.*`."""
    return {_checkpoint_key(key): value for key, value in weights.items()}


def _checkpoint_key(key: str) -> str:
    if key.startswith("learner."):
        key = "objective." + key.removeprefix("learner.")
    key = renamed(key, _OBJECTIVE)
    for prefix in ("detector.", "objective.teacher."):
        if key.startswith(prefix):
            return prefix + renamed(key.removeprefix(prefix), _DETECTOR)
    return key


def renamed(key: str, table: Mapping[str, str]) -> str:
    """A name by a table of beginnings, the first of which that fits is replaced."""
    for old, new in table.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def below(weights: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    """The weights of one part, such as 'detector.', by their names within it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
