"""What distillation gains, in a synthetic world where depth is hard to see: python benchmarks/distillation.py --help.

    world               renders training, development and final frames into data/add_world (once, ten minutes)
    run ROW --seed N    trains one row of the table, its teacher first where there is none, and scores it on the
                        development frames; stopped at any moment it goes on where it was
    final ROW --seed N  scores a row that is trained on the final frames: once, when all is decided
    table               prints the table of all rows in benchmarks/distillation.csv, to which every score is appended
    docs                writes the tables of docs/research/ anew from that file

Rows are in distillation_rows.py, their setting before the colon: 2000 steps on all training frames where there is none,
or as many as it says. MonoDETR's take 3000 steps of 8 whole images, long ones 5000 of 16. Those of 400 frames take 6000
steps on the first ones alone, and views that are varied differ in scale and colours. Those named lite0 are of the
network that ships, 3750 steps. Those named kitti_mini train on real frames, the folder or link data/kitti_mini, and are
scored on its ImageSets/val.txt, "val" in the table. Those named fold train as the shipped weights in their last step,
but are scored on real training frames that they did not see, "val" as well; `make weights` does the steps before it.
Runs lie in runs/add_world; commit distillation.csv after each row.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import difflib
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from distillation_rows import (
    FEW,
    FOLDS,
    REAL,
    ROWS,
    RUNS,
    SHARED_SEED,
    arguments,
    folder,
)
from distillation_tables import with_tables
from tqdm import tqdm

ROOT = Path("data/add_world")
TABLE = Path(__file__).with_suffix(".csv")
METRICS = (
    "Car_3d_loose_moderate", "Car_3d_moderate", "Car_bev_loose_moderate", "Car_bev_moderate", "Car_depth_error",
    "Pedestrian_3d_loose_moderate", "Cyclist_3d_loose_moderate",
)  # fmt: skip
# First frame number, seed of the world and how many, for each split.
SPLITS = {"train": (0, 100, 2000), "dev": (100_000, 101, 2400), "final": (200_000, 102, 2400)}


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


def run(name: str, seed: int, precision: str, accelerator: str) -> None:
    """Train a row, and before it its teacher and the student that it begins as; append its score."""
    row = ROWS[name]
    for before in filter(None, (row.teacher, row.init)):
        # Ends at once where it is trained; its score may be known and its weights lost.
        run(before, SHARED_SEED, precision, accelerator)
    if row.real:
        _write_lists()
    if row.student_as_teacher:
        _as_teacher(folder(row.teacher, SHARED_SEED))
    from training.command import TrainingCommand

    how = ["--trainer.precision", precision, "--trainer.accelerator", accelerator, "--resume"]
    command = TrainingCommand(["fit", *arguments(name, seed), *how])
    if command.model.validation:
        split = "val" if row.real else "dev"
        append(name, seed, split, accelerator, command.trainer.global_step, command.model.validation)


def final(row: str, seed: int, accelerator: str) -> None:
    """Score a trained row on the final frames, and append it."""
    from training.command import TrainingCommand

    if ROWS[row].real:
        sys.exit(f"error: {row} was scored as it was trained: the final frames are the world's")
    if _score(row, seed, "final", accelerator):
        sys.exit(f"error: {row}, seed {seed} has its final score already: it is taken once")
    trained = _score(row, seed, "dev", accelerator)
    if not trained:
        sys.exit(f"error: {row}, seed {seed} has no score of {accelerator} on the development frames: run it first")
    how = ["--data.val", "ImageSets/final.txt", "--trainer.accelerator", accelerator]
    command = TrainingCommand(["validate", *arguments(row, seed), *how])
    append(row, seed, "final", accelerator, int(trained["steps"]), command.model.validation)


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


def write_docs() -> None:
    """Make the tables of the pages in docs/research/ anew."""
    for page in sorted((TABLE.parent.parent / "docs" / "research").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := with_tables(text, rows())) != text:
            page.write_text(new, encoding="utf-8")
            print(f"{page}: tables made anew")


def _as_teacher(run: Path) -> None:
    """Beside a student's checkpoint, one of a teacher that answers as it does: its depth branch is untrained."""
    from add_model.registry import adapter_for
    from training.checkpoint_writing import AtomicCheckpoints
    from training.checkpoints import load_checkpoint, trained_detector

    checkpoint = load_checkpoint(run / "last.ckpt")
    branch = adapter_for(checkpoint["model_name"]).depth_branch(trained_detector(checkpoint, run))
    weights = {f"objective.depth_branch.{name}": value for name, value in branch.state_dict().items()}
    checkpoint["state_dict"] |= weights
    AtomicCheckpoints().save_checkpoint(checkpoint, run / "as_teacher.ckpt")


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
    commands.add_parser("docs")
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
    elif options.command == "docs":
        write_docs()
    elif options.command == "table":
        print(table(options.split, options.accelerator))
    elif options.command == "run":
        run(options.row, options.seed, options.precision, options.accelerator)
    else:
        final(options.row, options.seed, options.accelerator)


if __name__ == "__main__":
    main()
