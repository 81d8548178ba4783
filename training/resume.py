"""What a run that goes on must share with its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from training.data.bounded_yaml import load_yaml
from training.errors import TrainingError
from training.objectives.base import CHECKPOINT_OPTIONS
from training.renamed_options import translated

NAME = "config.yaml"
_SHARED = ("seed_everything", "monitor", "model", "data")
# Where files lie and how they are read is the machine's. Weights to start from are in the checkpoint; so is how many
# frames a step is of, which other numbers of processes may share otherwise.
_FREE = {
    *("root", "batch_size", "num_workers", "cache_in_memory", "image_cache", "test", "trust_calibration"),
    "init_weights",
    *CHECKPOINT_OPTIONS,
}


def require_same(run_dir: Path, given: Mapping[str, Any]) -> None:
    """Raises TrainingError where a run is given other options than it was started with, or those are not known.

    What only says where files lie, and the trainer's own, may differ.

    Args:
        run_dir: The run folder, whose config.yaml may be by the names of an older version.
        given: The options, as config.yaml has them.
    """
    if not (run_dir / NAME).is_file():
        raise TrainingError(
            f"{run_dir} has a checkpoint, but no {NAME} with the options that its run was started with: put that file"
            " back, or name another folder with --run-dir"
        )
    try:
        started = load_yaml((run_dir / NAME).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise TrainingError(f"{run_dir / NAME} can't be read: {' '.join(str(error).split())}") from None
    if not isinstance(started, dict):
        raise TrainingError(f"{run_dir / NAME} can't be read: it has no keys")
    started = translated(started)
    changes = _changes("", {key: given[key] for key in _SHARED if key in given}, started)
    if changes:
        raise TrainingError(
            f"{'; '.join(changes)} where {run_dir} was started: go on with the options of its {NAME}, or name another"
            " folder with --run-dir"
        )


def _changes(key: str, given: Any, started: Any) -> list[str]:
    if _of_dicts(given) and _of_dicts(started) and len(given) == len(started):
        pairs = enumerate(zip(given, started, strict=True))
        return [change for i, pair in pairs for change in _changes(f"{key}.{i}", *pair)]
    if not (isinstance(given, dict) and isinstance(started, dict)):
        return [] if _bound(given) == _bound(started) else [f"{key[1:]} is {given} here, but {started}"]
    changes = []
    for name, value in given.items():
        if name in started and name not in _FREE:  # the start was perhaps by a version that lacks an option
            below = key if name == "init_args" else f"{key}.{name}"  # as the command line names it
            changes += _changes(below, value, started[name])
    return changes


def _of_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def _bound(value: Any) -> Any:
    """Without what may differ."""
    if isinstance(value, list):
        return [_bound(part) for part in value]
    if isinstance(value, dict):
        return {name: _bound(part) for name, part in value.items() if name not in _FREE}
    return value
