"""The rows of distillation's benchmark: which configurations each trains with, and what differs from them.

A row's setting stands before its colon; `distillation.py` says what settings are, trains rows and scores them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path("config/train")
REAL = Path("data/kitti_mini")
RUNS = Path("runs/add_world")
SHARED_SEED = 0  # the students of all seeds share one teacher and one beginning, as a user's do


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Args:
        name: What it is called in distillation.csv.
        configs: Files of config/train, without .yaml, in this order.
        overrides: Options that differ from them, and their values.
        teacher: The row that distils it.
        init: The row with whose detector or backbone it begins, which its configurations name.
        real: Whether it is scored on real frames.
        student_as_teacher: Whether `teacher` is a student, which answers the same whatever depth it is given.
    """

    name: str
    configs: tuple[str, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    init: str | None = None
    real: bool = False
    student_as_teacher: bool = False

    @property
    def epochs(self) -> int:
        """How many it takes where it says so, else the study's 8."""
        return self.overrides.get("trainer.max_epochs", 8)

    def within(self, setting: str, overrides: Mapping[str, Any]) -> Row:
        """The same row in another setting, in which its teacher is trained too."""
        teacher = self.teacher and f"{setting}: {self.teacher}"
        changed = {**self.overrides, **overrides}
        return replace(self, name=f"{setting}: {self.name}", overrides=changed, teacher=teacher)


def folder(row: str, seed: int) -> Path:
    """Where a row's run lies."""
    return RUNS / f"{row.replace(' ', '_').replace(',', '').replace(':', '')}_{seed}"


def arguments(name: str, seed: int) -> list[str]:
    """What `add-ros fit` is given for a row."""
    row = ROWS[name]
    words = [word for config in row.configs for word in ("--config", str(CONFIG / f"{config}.yaml"))]
    overrides = dict(row.overrides)
    if row.teacher:
        kept = "as_teacher.ckpt" if row.student_as_teacher else "last.ckpt"
        overrides["model.objective.teacher"] = str(folder(row.teacher, SHARED_SEED) / kept)
    overrides |= {"run-dir": str(folder(name, seed)), "seed_everything": seed}
    for option, value in overrides.items():
        words += [f"--{option}", value if isinstance(value, str) else json.dumps(value)]
    return words


FEW = 400  # so few frames that a student sees each of them as often as published ones do KITTI's
_STUDY = ("recipes/monodle_plain_world", "study/world")
_ADD, _TEACHER = "training.objectives.ADDDistillation", "training.objectives.TeacherTraining"
_DENSE_DEPTH, _DENSE_TRUTH = "training.objectives.controls.DenseDepth", "training.objectives.controls.DenseTruth"
_START = "3000 steps: student"
_LOSSES = ("features", "adapted", "targets", "regression", "classification")
_INTERMEDIATE = ("features", "adapted")


def _epochs(count: int) -> dict[str, Any]:
    return {"trainer.max_epochs": count, "trainer.check_val_every_n_epoch": count}


def _without(*losses: str) -> dict[str, Any]:
    return {f"model.objective.{loss}.weight": 0 for loss in losses}


def _only(*losses: str) -> dict[str, Any]:
    return _without(*(loss for loss in _LOSSES if loss not in losses))


def _student(name: str, overrides: Mapping[str, Any] | None = None) -> Row:
    return Row(name, _STUDY, overrides or {})


def _teacher(name: str, depth: str = "dense") -> Row:
    return Row(name, (*_STUDY, "overlays/teacher"), {"data.depth": depth})


def _add(
    name: str,
    overrides: Mapping[str, Any] | None = None,
    depth: str = "dense",
    teacher: str = "teacher",
    student_as_teacher: bool = False,
) -> Row:
    changed = {"data.depth": depth, **(overrides or {})}
    return Row(name, (*_STUDY, "overlays/add"), changed, teacher, student_as_teacher=student_as_teacher)


_MONODLE = (
    _student("student"),
    _student("student, twice the steps", _epochs(16)),
    _add("student + ADD, twice the steps", _epochs(16)),
    _student("student + dense depth", {"data.depth": "dense", "model.objective": _DENSE_DEPTH}),
    _student("student + dense truth", {"model.objective": _DENSE_TRUTH}),
    _teacher("teacher"),
    _teacher("teacher, lidar", "lidar"),
    _teacher("teacher, object", "object"),
    _add("student + ADD"),
    _add("features alone", _only(*_INTERMEDIATE)),
    _add("targets alone", _only("targets")),
    _add("responses alone", _only("classification")),
    _add("without features", _without(*_INTERMEDIATE)),
    _add("without targets", _without("targets")),
    _add("without responses", _without("classification")),
    _add("with responses of regression", {"model.objective.regression.weight": 1}),
    _add("encoding none", {"model.objective.encoding": "none"}),
    _add("encoding image (2D)", {"model.objective.encoding": "image"}),
    _add("encoding frustum", {"model.objective.encoding": "frustum"}),
    _add("taught by a student", teacher="student", student_as_teacher=True),
    _add("ADD, lidar", depth="lidar", teacher="teacher, lidar"),
    _add("ADD, object", depth="object", teacher="teacher, object"),
)


def _longer() -> Iterator[Row]:
    """The three of MonoDLE after half as many steps more."""
    for row in (_student("student"), _teacher("teacher"), _add("student + ADD")):
        yield row.within("3000 steps", _epochs(12))


def _few_frames() -> Iterator[Row]:
    varied = {"data.augmentation.scale_range": [0.9, 1.1], "data.augmentation.color_jitter": True}
    for setting, views in ((f"{FEW} frames", {}), (f"{FEW} frames, varied", varied)):
        for row in _MONODLE:
            changes = {"data.train": f"ImageSets/train{FEW}.txt", **_epochs(15 * row.epochs), **views}
            yield row.within(setting, changes)


def _lite0() -> Iterator[Row]:
    """The network that ships, from ImageNet weights.

    A learning rate of 3e-3 reached more than 1e-3 in 2000 steps (docs/research/distillation_study.md).
    """
    rows = {
        "student", "student + ADD", "teacher", "student + dense depth", "student + dense truth",
        "student, twice the steps",
    }  # fmt: skip
    network = {"model.name": "monodle_lite0", "model.init_weights": "imagenet", "model.lr": "3.0e-3"}
    network["data.augmentation.size"] = [448, 160]
    for row in _MONODLE:
        if row.name in rows:
            yield row.within("lite0", network | _epochs(15 * row.epochs // 8))


def _other_detectors() -> Iterator[Row]:
    """CaDDN, whose students have one teacher however long they train, and MonoDETR.

    MonoDETR's rows see 24,000 views, its long ones 80,000.
    """
    dense = {"data.depth": "dense"}
    caddn = ("recipes/caddn_plain_world", "study/world")
    for setting, length in (("CaDDN", {}), ("CaDDN, 1000 steps", _epochs(4)), ("CaDDN, 4000 steps", _epochs(16))):
        yield Row(f"{setting}: student", caddn, length)
        if setting == "CaDDN":
            yield Row(f"{setting}: teacher", (*caddn, "overlays/teacher"), dense)
        yield Row(f"{setting}: student + ADD", (*caddn, "overlays/add_caddn"), dense | length, "CaDDN: teacher")
    monodetr = ("recipes/monodetr_plain_world", "study/world")
    # From nothing it learns too little. The published one starts from ImageNet's weights.
    init = {"model.init_weights": f"backbone:{folder(_START, SHARED_SEED)}/last.ckpt"}
    for setting, length in (("MonoDETR", _epochs(12)), ("MonoDETR, long", {"data.batch_size": 16, **_epochs(40)})):
        changes, teacher = init | length, f"{setting}: teacher"
        yield Row(f"{setting}: student", monodetr, changes, init=_START)
        yield Row(teacher, (*monodetr, "overlays/teacher"), dense | changes, init=_START)
        yield Row(f"{setting}: student + ADD", (*monodetr, "overlays/add"), dense | changes, teacher, init=_START)


def _frames_of(config: str) -> dict[str, Any]:
    """What a configuration of real and rendered frames says of them."""
    path = Path(__file__).resolve().parent.parent / CONFIG / f"{config}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["data"]["init_args"]


def _kitti_mini() -> Iterator[Row]:
    """Real frames: those alone that have a scan, so that all rows learn from the same, whatever their depth is made of.

    The teacher begins as the student of the synthetic world, and takes twice its steps to learn of depth.
    """
    frames, configs = _frames_of("study/mini"), ("recipes/monodle_plain_world", "study/mini")

    def train(depth: str | None) -> dict[str, Any]:
        real, world = (source | {"depth": depth} for source in frames["train"])
        return {"data.train": [real | {"ids": str(RUNS / "mini_train.txt")}, world]}

    yield Row("kitti_mini: student", configs, train(None), init=_START, real=True)
    for depth in ("object", "lidar"):
        judged = frames["val"] | {"depth": depth, "ids": str(RUNS / "mini_val.txt")}
        changes = {"model.objective": _TEACHER, "data.val": judged, **train(depth), **_epochs(20)}
        yield Row(f"kitti_mini: teacher, {depth}", configs, changes, init=_START, real=True)
    for depth in ("object", "lidar"):
        changes, teacher = {"model.objective": _ADD, **train(depth)}, f"kitti_mini: teacher, {depth}"
        yield Row(f"kitti_mini: student + ADD, {depth}", configs, changes, teacher, init=_START, real=True)


# The real training frames in three parts, no drive in two of them (drives by the mapping of KITTI's object devkit).
FOLDS = [
    part.split()
    for part in (
        """000011 000013 000016 000018 000060 000080 000114 000142 000632 000712 000871 000919 001426 002547 003744
        004473 004823 004908 005719 005874 005998 006081 006402 006640""",
        """000014 000022 000026 000029 000030 000462 000829 000872 001383 001581 001612 001681 002033 002155 002467
        003152 003594 004613 005266 005455 005541 005929 006007 006239 006584 006820""",
        """000000 000003 000007 000009 000010 000012 000017 000036 000215 000217 000344 000962 001671 001907 002427
        003415 005277 005400 005705 006513 006717 006839 006961 007209 007328""",
    )
]


def _held_out(fold: int, depth: str | None, judged_depth: str | None = None) -> dict[str, Any]:
    """Sources without a fold's real frames, on which the row is scored."""
    frames = _frames_of("recipes/monodle_lite0_mixed")
    real, world = (source | {"depth": depth} for source in frames["train"])
    judged = frames["val"] | {"root": real["root"], "ids": str(RUNS / f"fold_{fold}.txt"), "depth": judged_depth}
    return {"data.train": [real | {"ids": str(RUNS / f"fold_{fold}_train.txt")}, world], "data.val": judged}


def _folds(fold: int) -> Iterator[Row]:
    """The last step of the shipped weights, and what ADD would add to it: 8 epochs where a row does not say 20."""
    configs = ("recipes/monodle_lite0_mixed",)
    alone = {"model.init_weights": "runs/monodle_lite0_world/weights.safetensors"}  # a student that ADD did not train
    rendered = "runs/monodle_lite0_world+world_teacher/last.ckpt"
    with_depth = {"model.init_weights": rendered, "model.objective": _TEACHER, "model.objective.depth_branch": rendered}
    images, depths = _held_out(fold, None), alone | {"model.objective": _ADD, **_held_out(fold, "object")}
    teacher = f"fold {fold}: teacher"
    yield Row(f"fold {fold}: student", configs, alone | images | _epochs(8), real=True)
    yield Row(teacher, configs, with_depth | _held_out(fold, "object", "object") | _epochs(8), real=True)
    yield Row(f"fold {fold}: student + ADD", configs, depths | _epochs(8), teacher, real=True)
    yield Row(f"fold {fold}: student, 20 epochs", configs, alone | images, real=True)
    yield Row(f"fold {fold}: student + ADD, 20 epochs", configs, depths, teacher, real=True)
    yield Row(f"fold {fold}: student after ADD, 20 epochs", configs, images, real=True)


_SETTINGS = (_longer(), _kitti_mini(), _few_frames(), _lite0(), _other_detectors(), *map(_folds, range(len(FOLDS))))
ROWS: dict[str, Row] = {row.name: row for rows in (_MONODLE, *_SETTINGS) for row in rows}
