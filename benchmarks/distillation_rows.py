"""The rows of distillation's benchmark: which configuration each trains with, and what differs from it.

A row's setting stands before its colon; `distillation.py` says what settings are, trains rows and scores them.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import yaml

REAL = Path("data/kitti_mini")
RUNS = Path("runs/add_world")

_PARTS = ("features", "adapted", "targets", "regression", "scores")
_INTERMEDIATE = ("features", "adapted")


def _without(*parts: str) -> list[str]:
    return [word for part in parts for word in (f"--model.method.{part}.weight", "0")]


def _only(*parts: str) -> list[str]:
    return _without(*(part for part in _PARTS if part not in parts))


@functools.cache
def _configuration(config: str) -> dict:
    path = Path(__file__).resolve().parent.parent / "config" / f"{config}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _data(config: str) -> dict:
    """What a configuration says of its frames."""
    return _configuration(config)["data"]["init_args"]


def _real(config: str, depth: str | None) -> list[str]:
    """The sources of a configuration with depth from one source, and of its real frames those alone with a scan.

    All rows of real frames learn from the same ones, whatever their depth is made of; a teacher is scored likewise.
    """
    data = _data(config)
    real, world = (source | {"depth": depth} for source in data["train"])
    changes = ["--data.train", json.dumps([real | {"ids": str(RUNS / "mini_train.txt")}, world])]
    if "teacher" in config:
        changes += ["--data.val", json.dumps(data["val"] | {"depth": depth, "ids": str(RUNS / "mini_val.txt")})]
    return changes


def _held_out(config: str, fold: int) -> list[str]:
    """The sources that a configuration trains on without a fold's real frames, on which it is scored."""
    data = _data(config)
    real, world = data["train"]
    judged = data["val"] | {"root": real["root"], "ids": str(RUNS / f"fold_{fold}.txt")}
    sources = [real | {"ids": str(RUNS / f"fold_{fold}_train.txt")}, world]
    return ["--data.train", json.dumps(sources), "--data.val", json.dumps(judged)]


def _epochs(count: int) -> list[str]:
    return ["--trainer.max_epochs", str(count), "--trainer.check_val_every_n_epoch", str(count)]


FEW = 400  # so few frames that a student sees each of them as often as published ones do KITTI's
_FEW_FRAMES = ["--data.train", f"ImageSets/train{FEW}.txt"]
BY_A_STUDENT = "taught by a student"  # the control whose teacher has no depth
_TWICE = ", twice the steps"
_VARIED = ["--data.augmentation.zoom", "[0.9, 1.1]", "--data.augmentation.photometric", "true"]

# The network that ships, from ImageNet weights; 3e-3 reached more than 1e-3 in 2000 steps (docs/distillation_study.md).
_LITE0 = ["--model.model", "monodle_lite0", "--model.start", "imagenet", "--model.rate", "3.0e-3"]
_LITE0 += ["--data.augmentation.size", "[448, 160]"]
_LITE0_ROWS = (
    "student",
    "student + ADD",
    "teacher",
    "student + dense depth",
    "student + dense truth",
    f"student{_TWICE}",
)

# Row -> configuration, and what differs from it.
ROWS: dict[str, tuple[str, list[str]]] = {
    "student": ("add_world_alone", []),
    f"student{_TWICE}": ("add_world_alone", _epochs(16)),
    f"student + ADD{_TWICE}": ("add_world_add", _epochs(16)),
    "student + dense depth": (
        "add_world_alone",
        ["--data.depth", "dense", "--model.method", "training.objectives.controls.DenseDepth"],
    ),
    "student + dense truth": ("add_world_alone", ["--model.method", "training.objectives.controls.DenseTruth"]),
    "teacher": ("add_world_teacher", []),
    "teacher, lidar": ("add_world_teacher", ["--data.depth", "lidar"]),
    "teacher, object": ("add_world_teacher", ["--data.depth", "object"]),
    "student + ADD": ("add_world_add", []),
    "features alone": ("add_world_add", _only(*_INTERMEDIATE)),
    "targets alone": ("add_world_add", _only("targets")),
    "responses alone": ("add_world_add", _only("scores")),
    "without features": ("add_world_add", _without(*_INTERMEDIATE)),
    "without targets": ("add_world_add", _without("targets")),
    "without responses": ("add_world_add", _without("scores")),
    "with responses of regression": ("add_world_add", ["--model.method.regression.weight", "1"]),
    "encoding none": ("add_world_add", ["--model.method.encoding", "none"]),
    "encoding image (2D)": ("add_world_add", ["--model.method.encoding", "image"]),
    "encoding frustum": ("add_world_add", ["--model.method.encoding", "frustum"]),
    BY_A_STUDENT: ("add_world_add", []),
    "ADD, lidar": ("add_world_add", ["--data.depth", "lidar"]),
    "ADD, object": ("add_world_add", ["--data.depth", "object"]),
    "3000 steps: student": ("add_world_alone", _epochs(12)),
    "3000 steps: teacher": ("add_world_teacher", _epochs(12)),
    "3000 steps: student + ADD": ("add_world_add", _epochs(12)),
    "kitti_mini: student": ("add_mini_alone", _real("add_mini_alone", None)),
    "kitti_mini: teacher, object": ("add_mini_teacher", _real("add_mini_teacher", "object")),
    "kitti_mini: teacher, lidar": ("add_mini_teacher", _real("add_mini_teacher", "lidar")),
    "kitti_mini: student + ADD, object": ("add_mini_add", _real("add_mini_add", "object")),
    "kitti_mini: student + ADD, lidar": ("add_mini_add", _real("add_mini_add", "lidar")),
}
ROWS |= {
    f"{setting}: {row}": (config, [*changes, *_FEW_FRAMES, *_epochs(240 if row.endswith(_TWICE) else 120), *views])
    for setting, views in ((f"{FEW} frames", []), (f"{FEW} frames, varied", _VARIED))
    for row, (config, changes) in ROWS.items()
    if ":" not in row
}
ROWS |= {
    f"lite0: {row}": (config, [*changes, *_LITE0, *_epochs(30 if row.endswith(_TWICE) else 15)])
    for row, (config, changes) in ROWS.items()
    if row in _LITE0_ROWS
}
# The other two detectors; "long": 80,000 views, not 24,000. CaDDN's students have one teacher, however long they train.
ROWS |= {
    f"{detector}{length}: {row}": (f"add_world_{detector.lower()}_{end}", changes)
    for detector, length, changes in (
        ("CaDDN", "", []),
        ("CaDDN", ", 1000 steps", _epochs(4)),
        ("CaDDN", ", 4000 steps", _epochs(16)),
        ("MonoDETR", "", []),
        ("MonoDETR", ", long", ["--data.batch_size", "16", *_epochs(40)]),
    )
    for row, end in (("student", "alone"), ("teacher", "teacher"), ("student + ADD", "add"))
    if not (end == "teacher" and length.endswith("steps"))
}
# The real training frames in three parts, no drive in two of them (drives by the mapping of KITTI's object devkit).
FOLDS = [
    part.split()
    for part in (
        """000011 000013 000016 000018 000060 000080 000114 000142 000632 000712 000871 000919 001426 002547 003095
        003289 003744 004473 004823 004908 005719 005874 005998 006081 006402 006640""",
        """000014 000022 000026 000029 000030 000462 000829 000872 001383 001581 001612 001681 002033 002155 002467
        003152 003594 004613 005266 005455 005541 005929 006007 006239 006584 006820""",
        """000000 000003 000007 000009 000010 000012 000017 000036 000215 000217 000344 000962 001671 001907 002427
        003415 005277 005400 005705 006513 006717 006839 006961 007209 007328""",
    )
]
_ALONE_BEFORE = ["--model.start", "runs/monodle_lite0_world/weights.safetensors"]
_LONG = ", 20 epochs"  # as the configurations have it: rows of folds whose name does not say so take 8
ROWS |= {
    f"fold {fold}: {row}": (f"monodle_lite0_mini{end}", [*_held_out(f"monodle_lite0_mini{end}", fold), *length])
    for fold in range(len(FOLDS))
    for row, end, length in (
        ("student", "", [*_ALONE_BEFORE, *_epochs(8)]),
        ("teacher", "_teacher", []),
        ("student + ADD", "_add", _epochs(8)),
        (f"student{_LONG}", "", _ALONE_BEFORE),
        (f"student + ADD{_LONG}", "_add", []),
        (f"student after ADD{_LONG}", "", []),
    )
}
_START = "3000 steps: student"  # whose detector or backbone other rows begin with
SHARED_SEED = 0  # the students of all seeds share one teacher and one beginning, as a user's do


def folder(row: str, seed: int) -> Path:
    """Where a row's run lies."""
    return RUNS / f"{row.replace(' ', '_').replace(',', '').replace(':', '')}_{seed}"


def arguments(row: str, seed: int) -> list[str]:
    """What `python -m training fit` is given for a row."""
    config, changes = ROWS[row]
    where = ["--folder", str(folder(row, seed)), "--seed_everything", str(seed)]
    if teacher := teacher_of(row):
        kept = "as_teacher.ckpt" if row.endswith(BY_A_STUDENT) else "last.ckpt"
        changes = [*changes, "--model.method.teacher", str(folder(teacher, SHARED_SEED) / kept)]
    return ["--config", f"config/{config}.yaml", *changes, *where]


def teacher_of(row: str) -> str | None:
    """The row that teaches this one, if any.

    Where its name says ADD the one named alike, or its detector's where there is none; else its setting's.
    """
    if not ROWS[row][0].endswith("add"):
        return None
    if "ADD" in row:
        named = row.removesuffix(_LONG).removesuffix(_TWICE).replace("student + ", "").replace("ADD", "teacher")
        return named if named in ROWS else f"{row.partition(',')[0]}: teacher"
    setting, colon, name = row.rpartition(": ")
    return f"{setting}{colon}{'student' if name == BY_A_STUDENT else 'teacher'}"


def start_of(row: str) -> str | None:
    """The row with whose detector or backbone this one's configuration begins, if any."""
    start = _configuration(ROWS[row][0])["model"]["start"] or ""
    return _START if str(folder(_START, SHARED_SEED)) in start else None


def on_real_frames(row: str) -> bool:
    """Whether a row is scored on real frames."""
    return row.startswith(("kitti_mini", "fold"))
