"""Options, classes and metrics that older configurations and run folders name, and what they are called today.

What a user writes with an old name gets one error that says the new one; config.yaml of an old run is translated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from training.errors import TrainingError

# As the command line names them: without init_args.
OPTIONS = {
    "folder": "run_dir",
    "best_by": "monitor",
    "model.model": "model.name",
    "model.start": "model.init_weights",
    "model.rate": "model.lr",
    "model.frozen": "model.freeze",
    "model.frozen_norms": "model.freeze_bn",
    "model.schedule.warm_up": "model.schedule.warmup_fraction",
    "model.method": "model.objective",
    "model.method.estimator": "model.objective.depth_loss_weight",
    "model.method.hidden": "model.objective.depth_drop_prob",
    "model.method.branch": "model.objective.depth_branch",
    "model.method.bypass": "model.objective.adapter_drop_prob",
    "model.method.background": "model.objective.background_weight",
    "model.method.scores": "model.objective.classification",
    "data.keep": "data.cache_in_memory",
    "data.judged_at": "data.eval_focal_length",
    "data.workers": "data.num_workers",
    "data.augmentation.flip": "data.augmentation.flip_prob",
    "data.augmentation.zoom": "data.augmentation.scale_range",
    "data.augmentation.photometric": "data.augmentation.color_jitter",
}
for _loss in ("features", "adapted", "targets", "regression", "classification"):
    _old_loss = "scores" if _loss == "classification" else _loss
    OPTIONS[f"model.method.{_old_loss}.warm_up"] = f"model.objective.{_loss}.warmup_fraction"
    OPTIONS[f"model.method.{_old_loss}.fade"] = f"model.objective.{_loss}.decay_fraction"
CLASSES = {
    "training.methods.Alone": "training.objectives.Baseline",
    "training.methods.Teach": "training.objectives.TeacherTraining",
    "training.methods.DenseDepth": "training.objectives.controls.DenseDepth",
    "training.methods.DenseTruth": "training.objectives.controls.DenseTruth",
    "training.distil.Distil": "training.objectives.ADDDistillation",
    "training.data.module.KittiData": "training.data.data_module.KittiData",
    "training.data.module.MixedData": "training.data.data_module.MixedData",
    "training.data.module.WorldData": "training.data.data_module.WorldData",
    "Alone": "Baseline",
    "Teach": "TeacherTraining",
    "Distil": "ADDDistillation",
}
METRICS = {"train/rate": "train/lr", "train/add_scores": "train/add_classification"}

_STEP_DECAY, _COSINE = "training.schedule.StepDecay", "training.schedule.Cosine"


def _last(option: str) -> str:
    return option.rpartition(".")[2]


# (today's name of the group that an option is in, its old name) -> its name today
_IN_GROUP = {(new.rpartition(".")[0], _last(old)): _last(new) for old, new in OPTIONS.items()}


def require_new_names(config: Mapping[str, Any], file: object) -> None:
    """Raises TrainingError where a configuration has old names, which says all the new ones.

    Args:
        config: The configuration, as it is in the file.
        file: Where it is from.
    """
    renames = [f"{old} is now {new}" for old, new in _renames(config, "", "")]
    if renames:
        raise TrainingError(f"{file}: {'; '.join(renames)}")


def require_new_options(arguments: Sequence[str]) -> None:
    """Raises TrainingError where a command line has old names, which says all the new ones."""
    renames = []
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        option, given, value = argument.partition("=")
        if not option.startswith("--"):
            continue
        key = option[2:].replace(".init_args.", ".")
        new = _today(key)
        if new != key:
            renames.append(f"{option} is now --{new.replace('run_dir', 'run-dir')}")
        value = value if given else following
        if new in ("model.objective", "data") and value in CLASSES:
            renames.append(f"{value} is now {CLASSES[value]}")
    if renames:
        raise TrainingError("; ".join(renames))


def translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config.yaml of a run by today's names."""
    new = _translated(config, "")
    model = new.get("model")
    schedule = model.get("schedule") if isinstance(model, dict) else None
    if isinstance(schedule, dict) and not {"class_path", "init_args"} & schedule.keys():  # it was once written without
        kind = _STEP_DECAY if "milestones" in schedule else _COSINE
        new["model"]["schedule"] = {"class_path": kind, "init_args": schedule}
    return new


def translated_metrics(row: Mapping[str, float]) -> dict[str, float]:
    """A row of metrics.csv by today's names."""
    return {METRICS.get(name, name): value for name, value in row.items()}


def _renames(value: Any, old_group: str, group: str) -> Iterator[tuple[str, str]]:
    """What has an old name within a group, and its new name, both in full."""
    if not isinstance(value, Mapping):
        return
    for key, part in value.items():
        if key == "init_args":
            yield from _renames(part, old_group, group)
        elif key == "class_path":
            if isinstance(part, str) and part in CLASSES:
                yield part, CLASSES[part]
        else:
            old, new = (f"{name}.{key}".lstrip(".") for name in (old_group, group))
            new = f"{group}.{_IN_GROUP.get((group, key), key)}".lstrip(".")
            if _last(new) != key:
                yield old, new
            yield from _renames(part, old, new)


def _translated(value: Any, group: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    new: dict[str, Any] = {}
    for key, part in value.items():
        if key == "class_path":
            new[key] = CLASSES.get(part, part) if isinstance(part, str) else part
        elif key == "init_args":
            new[key] = _translated(part, group)
        else:
            name = _IN_GROUP.get((group, key), key)
            new[name] = _translated(part, f"{group}.{name}".lstrip("."))
    return new


def _today(option: str) -> str:
    """Today's full name of an option."""
    group = ""
    for key in option.split("."):
        group = f"{group}.{_IN_GROUP.get((group, key), key)}".lstrip(".")
    return group
