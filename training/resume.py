"""What a run that goes on must share with its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from training.atomic_io import TrainingError
from training.objectives.baseline import OTHERS_WEIGHTS

NAME = "config.yaml"
_SHARED = ("seed_everything", "best_by", "model", "data")
# Where files lie and how they are read is the machine's; weights to start from are in the checkpoint.
_FREE = {"root", "workers", "keep", "test", "start", *OTHERS_WEIGHTS}


def require_same(folder: Path, given: Mapping[str, Any]) -> None:
    """Raises TrainingError where these options, as config.yaml has them, are not those that a run was started with.

    What only says where files lie, and the trainer's own, may differ.
    """
    if not (folder / NAME).is_file():
        return
    started = yaml.safe_load((folder / NAME).read_text(encoding="utf-8"))
    changes = _changes("", {key: given[key] for key in _SHARED if key in given}, started)
    if changes:
        raise TrainingError(
            f"{'; '.join(changes)} where {folder} was started: go on with the options of its {NAME}, or name another"
            " folder with --folder"
        )


def _changes(key: str, given: Any, started: Any) -> list[str]:
    if not (isinstance(given, dict) and isinstance(started, dict)):
        return [] if _bound(given) == _bound(started) else [f"{key[1:]} is {given} here, but {started}"]
    changes = []
    for name, value in given.items():
        if name in started and name not in _FREE:  # the start was perhaps by a version that lacks an option
            below = key if name == "init_args" else f"{key}.{name}"  # as the command line names it
            changes += _changes(below, value, started[name])
    return changes


def _bound(value: Any) -> Any:
    """Without what may differ."""
    if isinstance(value, list):
        return [_bound(part) for part in value]
    if isinstance(value, dict):
        return {name: _bound(part) for name, part in value.items() if name not in _FREE}
    return value
