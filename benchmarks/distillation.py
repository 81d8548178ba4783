"""What distillation gains, in a synthetic world where depth is hard to see: python benchmarks/distillation.py --help.

    world               renders training, development and final frames into data/add_world (once, ten minutes)
    run ROW --seed N    trains one row of the table, its teacher first where there is none, and scores it on the
                        development frames; stopped at any moment it goes on where it was
    final ROW --seed N  scores a row that is trained on the final frames: once, when all is decided
    table               prints the table of all rows in benchmarks/distillation.csv, to which every score is appended

Rows are in ROWS, their setting before the colon: 2000 steps on all training frames where there is none. Those of 400
frames take 6000 steps on the first ones alone, and views that are varied differ in zoom and colours. Those named lite0
are of the network that ships, 3750 steps. Those named kitti_mini train on real frames, the folder or link
data/kitti_mini, and are scored on its ImageSets/val.txt, "val" in the table. Those named fold train as the shipped
weights in their last step, but are scored on real training frames that they did not see, "val" as well; `make weights`
does the steps before it. Runs lie in runs/add_world; commit distillation.csv after each row.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import difflib
import functools
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml
from tqdm import tqdm

ROOT = Path("data/add_world")
REAL = Path("data/kitti_mini")
RUNS = Path("runs/add_world")
TABLE = Path(__file__).with_suffix(".csv")
METRICS = (
    "Car_3d_loose_moderate", "Car_3d_moderate", "Car_bev_loose_moderate", "Car_bev_moderate", "Car_depth_error",
    "Pedestrian_3d_loose_moderate", "Cyclist_3d_loose_moderate",
)  # fmt: skip
# First frame number, seed of the world and how many, for each split.
SPLITS = {"train": (0, 100, 2000), "dev": (100_000, 101, 2400), "final": (200_000, 102, 2400)}

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
_BY_A_STUDENT = "taught by a student"  # the control whose teacher has no depth
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
        ["--data.depth", "dense", "--model.method", "training.methods.DenseDepth"],
    ),
    "student + dense truth": ("add_world_alone", ["--model.method", "training.methods.DenseTruth"]),
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
    _BY_A_STUDENT: ("add_world_add", []),
    "ADD, lidar": ("add_world_add", ["--data.depth", "lidar"]),
    "ADD, object": ("add_world_add", ["--data.depth", "object"]),
    "3000 steps: student": ("add_world_alone", _epochs(12)),
    "3000 steps: teacher": ("add_world_teacher", _epochs(12)),
    "3000 steps: student + ADD": ("add_world_add", _epochs(12)),
    "CaDDN: student": ("add_world_caddn_alone", []),
    "CaDDN: teacher": ("add_world_caddn_teacher", []),
    "CaDDN: student + ADD": ("add_world_caddn_add", []),
    "MonoDETR: student": ("add_world_monodetr_alone", []),
    "MonoDETR: teacher": ("add_world_monodetr_teacher", []),
    "MonoDETR: student + ADD": ("add_world_monodetr_add", []),
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
_SHARED_SEED = 0  # the students of all seeds share one teacher and one beginning, as a user's do


def frames(split: str) -> Iterator:
    """The samples of a split, numbered on from its first frame."""
    from training.data.world import World

    base, seed, count = SPLITS[split]
    vary = {"focal_range": (0.9, 1.1), "camera_height": (1.45, 1.85), "pitch": (-1.5, 1.5)}
    world = World(width=621, height=188, focal=360.5, **vary, seed=seed)
    for index in range(count):
        yield replace(world.sample(index), id=f"{base + index:06d}")


def render() -> None:
    """Write all splits, with depth and the points of a scanner."""
    from training.world import write_folder

    for split, (base, _, count) in SPLITS.items():
        done = ROOT / "ImageSets" / f"{split}.txt"
        if done.is_file():
            print(f"{done} is there: kept")
            continue
        write_folder(ROOT, tqdm(frames(split), total=count, unit="frame", desc=split), base, split, scanner=True)
    every = (ROOT / "ImageSets" / "train.txt").read_text(encoding="utf-8").splitlines()
    (ROOT / "ImageSets" / f"train{FEW}.txt").write_text("\n".join(every[:FEW]) + "\n", encoding="utf-8")


def run(row: str, seed: int, precision: str, accelerator: str) -> None:
    """Train a row, and before it its teacher and the student that it begins as; append its score."""
    for before in filter(None, (_teacher(row), _start(row))):
        # Ends at once where it is trained; its score may be known and its weights lost.
        run(before, _SHARED_SEED, precision, accelerator)
    if _on_real_frames(row):
        _write_lists()
    if row.endswith(_BY_A_STUDENT):
        _as_teacher(folder(_teacher(row), _SHARED_SEED))
    from training.command import TrainingCommand

    how = ["--trainer.precision", precision, "--trainer.accelerator", accelerator, "--resume"]
    command = TrainingCommand(["fit", *arguments(row, seed), *how])
    if command.model.validation:
        split = "val" if _on_real_frames(row) else "dev"
        append(row, seed, split, accelerator, command.trainer.global_step, command.model.validation)


def final(row: str, seed: int, accelerator: str) -> None:
    """Score a trained row on the final frames, and append it."""
    from training.command import TrainingCommand

    if _on_real_frames(row):
        sys.exit(f"error: {row} was scored as it was trained: the final frames are the world's")
    if _score(row, seed, "final", accelerator):
        sys.exit(f"error: {row}, seed {seed} has its final score already: it is taken once")
    trained = _score(row, seed, "dev", accelerator)
    if not trained:
        sys.exit(f"error: {row}, seed {seed} has no score of {accelerator} on the development frames: run it first")
    how = ["--data.val", "ImageSets/final.txt", "--trainer.accelerator", accelerator]
    command = TrainingCommand(["validate", *arguments(row, seed), *how])
    append(row, seed, "final", accelerator, int(trained["steps"]), command.model.validation)


def folder(row: str, seed: int) -> Path:
    """Where a row's run lies."""
    return RUNS / f"{row.replace(' ', '_').replace(',', '').replace(':', '')}_{seed}"


def rows() -> list[dict[str, str]]:
    """What has been scored."""
    if not TABLE.is_file():
        return []
    with open(TABLE, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(split: str, accelerator: str) -> str:
    """Mean and standard deviation over the seeds of each row trained on cpu or cuda, as a Markdown table."""
    lines = ["| row | seeds | steps | " + " | ".join(m.replace("_", " ") for m in METRICS) + " |"]
    lines.append("|---" * (3 + len(METRICS)) + "|")
    scored = [r for r in rows() if (r["split"], r["accelerator"]) == (split, accelerator)]
    for row in dict.fromkeys(r["row"] for r in scored):
        mine = sorted((r for r in scored if r["row"] == row), key=lambda r: int(r["seed"]))
        cells = []
        for metric in METRICS:
            values = [float(r[metric]) for r in mine]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.2f}{spread}")
        seeds = " ".join(r["seed"] for r in mine)
        lines.append(f"| {row} | {seeds} | {mine[0]['steps']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def arguments(row: str, seed: int) -> list[str]:
    """What `python -m training fit` is given for a row."""
    config, changes = ROWS[row]
    where = ["--folder", str(folder(row, seed)), "--seed_everything", str(seed)]
    if teacher := _teacher(row):
        kept = "as_teacher.ckpt" if row.endswith(_BY_A_STUDENT) else "last.ckpt"
        changes = [*changes, "--model.method.teacher", str(folder(teacher, _SHARED_SEED) / kept)]
    return ["--config", f"config/{config}.yaml", *changes, *where]


def _teacher(row: str) -> str | None:
    """The row that teaches this one, if any: named alike where its name says ADD, else its setting's common teacher."""
    if not ROWS[row][0].endswith("add"):
        return None
    if "ADD" in row:
        return row.removesuffix(_LONG).removesuffix(_TWICE).replace("student + ", "").replace("ADD", "teacher")
    setting, colon, name = row.rpartition(": ")
    return f"{setting}{colon}{'student' if name == _BY_A_STUDENT else 'teacher'}"


def _start(row: str) -> str | None:
    """The row with whose detector or backbone this one's configuration begins, if any."""
    start = _configuration(ROWS[row][0])["model"]["start"] or ""
    return _START if str(folder(_START, _SHARED_SEED)) in start else None


def _as_teacher(run: Path) -> None:
    """Beside a student's checkpoint, one of a teacher that answers as it does: its depth branch is untrained."""
    from add_model.distillation.parts import parts_of
    from training.checkpoints import AtomicCheckpoints, load_checkpoint, trained_detector

    checkpoint = load_checkpoint(run / "last.ckpt")
    detector = trained_detector(checkpoint, run)
    branch = parts_of(detector).branch(detector)
    checkpoint["state_dict"] |= {f"learner.branch.{name}": value for name, value in branch.state_dict().items()}
    AtomicCheckpoints().save_checkpoint(checkpoint, run / "as_teacher.ckpt")


def _on_real_frames(row: str) -> bool:
    return row.startswith(("kitti_mini", "fold"))


def _write_lists() -> None:
    """The frame ids that rows of real frames name: those of each fold, and those that have a scan."""
    lists = {}
    for number, held_out in enumerate(FOLDS):
        lists[f"fold_{number}"] = held_out
        lists[f"fold_{number}_train"] = [name for fold in FOLDS if fold is not held_out for name in fold]
    scanned = {path.stem for path in (REAL / "training" / "velodyne").glob("*.bin")}
    for split in ("train", "val"):
        names = (REAL / "ImageSets" / f"{split}.txt").read_text(encoding="utf-8").split()
        lists[f"mini_{split}"] = [name for name in names if name in scanned]
    RUNS.mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        path, text = RUNS / f"{name}.txt", "\n".join(ids) + "\n"
        # Another row may be reading it.
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _score(row: str, seed: int, split: str, accelerator: str) -> dict[str, str] | None:
    which = (row, str(seed), split, accelerator)
    return next((r for r in rows() if (r["row"], r["seed"], r["split"], r["accelerator"]) == which), None)


def append(row: str, seed: int, split: str, accelerator: str, steps: int, validation: dict[str, float]) -> None:
    """Add a score to the table, once."""
    if _score(row, seed, split, accelerator):
        return
    new = not TABLE.is_file()
    with open(TABLE, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["row", "seed", "split", "accelerator", "steps", "date", *METRICS])
        values = [f"{validation[f'val/{metric}']:.3f}" for metric in METRICS]
        writer.writerow([row, seed, split, accelerator, steps, datetime.date.today().isoformat(), *values])


def _row(name: str) -> str:
    if name not in ROWS:
        near = difflib.get_close_matches(name, ROWS, 5, 0)
        raise argparse.ArgumentTypeError(f"there is no row {name!r}, see --help; near it are: {'; '.join(near)}")
    return name


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("world")
    of_rows = {name: commands.add_parser(name) for name in ("run", "final")}
    for command in of_rows.values():
        command.add_argument("row", type=_row, metavar="ROW", help=f"one of: {'; '.join(ROWS)}")
        command.add_argument("--seed", type=int, default=0)
    of_table = commands.add_parser("table")
    of_table.add_argument("--split", choices=("dev", "final", "val"), default="dev")
    for command in (*of_rows.values(), of_table):
        command.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    of_rows["run"].add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed"),
        default="32-true",
        help="bf16-mixed is faster on CPUs with avx512_bf16 or amx (lscpu) and ten times slower on others",
    )
    options = parser.parse_args()
    if options.command == "world":
        render()
    elif options.command == "table":
        print(table(options.split, options.accelerator))
    elif options.command == "run":
        run(options.row, options.seed, options.precision, options.accelerator)
    else:
        final(options.row, options.seed, options.accelerator)


if __name__ == "__main__":
    main()
