"""What `prelabels.py` asks of rendered streets, asked of real frames: python benchmarks/prelabels_kitti.py [--seed N]

The frames of data/kitti_mini that have a scan, in the three parts of `distillation_rows.FOLDS`, no drive in two of
them. In each of three turns one part is labelled, the labels of the second are hidden, and the third is what rows are
scored on. All begin as one student of rendered streets (3000 steps) and see real and rendered frames, half and half,
760 steps; the teacher takes twice as many to learn of depth. Pre-labels are taken from the score on from which their
maker finds as many objects a frame as are labelled.

Results of the turns are scored together. Rows go to prelabels_kitti.csv: "judged" the third parts, "unlabelled" the
second ones, which says how good pre-labels are; with 95% intervals of the difference from "student, labelled"
(bootstrap over frames). Runs lie in runs/prelabels_kitti; stopped at any moment, the same command goes on. `--table`
prints the rows.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distillation_rows import FOLDS
from prelabels import DATA as STREETS
from prelabels import MAKERS, STUDY, TEACHER, folder_name, import_labels, read, render, seed_to_run, succeed
from seen import moderate, write_rows

from add_model.atomic_io import write_atomically
from training import export, predict
from training.command import TrainingCommand
from training.data.kitti.splits import read_ids
from training.evaluation.average_precision import Tallies, tallies
from training.evaluation.bootstrap import interval, resamples
from training.evaluation.folders import read_frames

TABLE = Path(__file__).with_suffix(".csv")
KITTI, DATA, RUNS = Path("data/kitti_mini"), Path("data/prelabels_kitti"), Path("runs/prelabels_kitti")
TURNS, PARTS = range(len(FOLDS)), ("labelled", "unlabelled", "judged")
EPOCHS, START_EPOCHS, RESAMPLES = 10, 20, 2000
OBJECTIVES = {"teacher": "training.objectives.TeacherTraining", "ADD": "training.objectives.ADDDistillation"}
MEASURES = (("Car", "bbox", "strict"), ("Car", "bev", "loose"), ("Car", "3d", "loose"))
PLAIN = "student, labelled"


@dataclass(frozen=True)
class Arm:
    """A row: who labelled the second part, None where it is not trained on, and what is minimised."""

    labels: str | None
    objective: str | None = None


ARMS = {
    PLAIN: Arm(None),
    TEACHER: Arm(None, "teacher"),
    "student, student's labels": Arm("by_student"),
    "student, teacher's labels": Arm("by_teacher"),
    "student + ADD, labelled": Arm(None, "ADD"),
    "student + ADD, teacher's labels": Arm("by_teacher", "ADD"),
    "student, all labels": Arm("truth"),
}


def run_of(name: str, turn: int, seed: int) -> Path:
    """Where a row's run of one turn lies."""
    return RUNS / f"{folder_name(name)}_{turn}_{seed}"


def ids_of(turn: int, part: str) -> Path:
    """The list of a part's frames in a turn."""
    return DATA / f"{part}_{turn}.txt"


def write_lists() -> None:
    """The frames of each part in each turn, and those that are trained on where two are."""
    scanned = {path.stem for path in (KITTI / "training" / "velodyne").glob("*.bin")}
    DATA.mkdir(parents=True, exist_ok=True)
    for turn in TURNS:
        ids = {part: [i for i in FOLDS[(turn + k) % len(FOLDS)] if i in scanned] for k, part in enumerate(PARTS)}
        ids["train"] = ids["labelled"] + ids["unlabelled"]
        for part, names in ids.items():
            write_atomically(ids_of(turn, part), "".join(f"{i}\n" for i in names))


def data_of(labels: str | None, turn: int, seed: int) -> Path:
    """The folder with the labels of a row."""
    return KITTI if labels in (None, "truth") else DATA / f"{labels}_{turn}_{seed}"


def start_of(seed: int) -> Path:
    """The checkpoint that all rows begin as."""
    return RUNS / f"start_{seed}" / "last.ckpt"


def train_start(seed: int) -> None:
    """Train the student that all rows begin as."""
    given = {
        "data.root": STREETS / "truth", "data.train": "ImageSets/train.txt", "data.val": "ImageSets/dev.txt",
        "trainer.max_epochs": START_EPOCHS, "trainer.check_val_every_n_epoch": START_EPOCHS,
        "run-dir": start_of(seed).parent, "seed_everything": seed,
    }  # fmt: skip
    fit(STUDY, given)


def fit(configs: tuple[str, ...], given: dict[str, object]) -> None:
    """Train, or go on; at once where it is trained."""
    words = [word for config in configs for word in ("--config", f"config/train/{config}.yaml")]
    for option, value in given.items():
        words += [f"--{option}", json.dumps(value) if isinstance(value, list | dict) else str(value)]
    TrainingCommand(["fit", *words, "--trainer.accelerator", "cpu", "--resume"])


def train(name: str, turn: int, seed: int) -> None:
    """Train a row in one turn."""
    arm, depth = ARMS[name], "lidar" if ARMS[name].objective else None
    epochs = 2 * EPOCHS if name == TEACHER else EPOCHS
    real = {"root": str(data_of(arm.labels, turn, seed)), "depth": depth, "count": 304}
    real["ids"] = str(ids_of(turn, "train" if arm.labels else "labelled").resolve())
    world = {"root": str(STREETS / "truth"), "ids": "ImageSets/train.txt", "depth": depth, "count": 304}
    judged = {"root": str(KITTI), "ids": str(ids_of(turn, "judged").resolve()), "depth": depth}
    given = {
        "model.init_weights": start_of(seed), "data.train": [real, world], "data.val": judged,
        "run-dir": run_of(name, turn, seed),
        "trainer.max_epochs": epochs, "trainer.check_val_every_n_epoch": epochs, "seed_everything": seed,
    }  # fmt: skip
    if arm.objective:
        given["model.objective"] = OBJECTIVES[arm.objective]
    if arm.objective == "ADD":
        given["model.objective.teacher"] = run_of(TEACHER, turn, seed) / "last.ckpt"
    fit(("recipes/monodle_plain_world", "study/mini"), given)


def detect(name: str, turn: int, seed: int, part: str) -> Path:
    """The folder of result files of a row's detector on a part."""
    run = run_of(name, turn, seed)
    out = run / part
    if (run / f"{part}.done").is_file():
        return out
    shutil.rmtree(out, ignore_errors=True)
    if name == TEACHER:
        model = ["--teacher", str(run / "last.ckpt"), "--depth", "lidar"]
    else:
        if not (run / "weights.onnx").is_file():
            succeed(export.main, "--checkpoint", str(run / "last.ckpt"), "--out", str(run / "weights"))
        model = ["--model", str(run / "weights.onnx"), "--engine", "onnxruntime", "--no-flip-test"]  # nor has a teacher
    ids = str(ids_of(turn, part).resolve())
    succeed(predict.main, "--kitti", str(KITTI), "--ids", ids, *model, "--device", "cpu", "--out", str(out))
    write_atomically(run / f"{part}.done", "")
    return out


def as_many_as_labelled(results: Path, turn: int) -> float:
    """The score from which on a detector finds as many objects a frame as the labelled frames have."""
    labels = KITTI / "training" / "label_2"
    labelled, hidden = read_ids(ids_of(turn, "labelled")), len(read_ids(ids_of(turn, "unlabelled")))
    kinds = ("Car", "Pedestrian", "Cyclist")
    there = sum(line.startswith(kinds) for i in labelled for line in (labels / f"{i}.txt").read_text().splitlines())
    found = [float(line.split()[-1]) for path in results.glob("*.txt") for line in path.read_text().splitlines()]
    wanted = round(there * hidden / len(labelled))
    return sorted(found, reverse=True)[: wanted or 1][-1]


def pre_label(labels: str, turn: int, seed: int) -> None:
    """The data set whose second part has a teacher's or student's labels."""
    root, maker = data_of(labels, turn, seed), MAKERS[labels]
    mark = DATA / f"{root.name}.made"
    if not mark.is_file():
        results = detect(maker, turn, seed, "unlabelled")
        score = as_many_as_labelled(results, turn)
        import_labels(KITTI, root, [ids_of(turn, "labelled")], ids_of(turn, "unlabelled"), results, score)
        write_atomically(mark, f"from a score of {score:g}\n")


def scored(name: str, seed: int, part: str) -> Tallies:
    """What is right in a part of all turns."""
    labels, results = [], []
    for turn in TURNS:
        read = read_frames(KITTI / "training" / "label_2", run_of(name, turn, seed) / part, ids_of(turn, part))
        labels += read.labels
        results += read.results
    return tallies(labels, results)


def measured(names: Iterable[str], seed: int, part: str) -> Iterator[dict[str, object]]:
    """Rows of the CSV."""
    count = sum(len(read_ids(ids_of(turn, part))) for turn in TURNS)
    draws = list(resamples(count, RESAMPLES))

    def drawn(counts: Tallies) -> np.ndarray:
        return np.array([moderate(counts, MEASURES, weights) for weights in draws])

    plain = drawn(scored(PLAIN, seed, part))
    for name in names:
        counts = scored(name, seed, part)
        low, high = interval(drawn(counts) - plain)
        row: dict[str, object] = {"row": name, "seed": seed, "frames": part, "count": count}
        for k, ((label, metric, overlaps), ap) in enumerate(zip(MEASURES, moderate(counts, MEASURES), strict=True)):
            row |= {
                f"{label}_{metric}_{overlaps}": f"{ap:.2f}",
                f"{metric}_low": f"{low[k]:.2f}",
                f"{metric}_high": f"{high[k]:.2f}",
            }
        yield row


def run(seed: int) -> list[dict[str, object]]:
    """Train what is not trained, and the rows of all."""
    train_start(seed)
    for name, turn in itertools.product(ARMS, TURNS):
        if ARMS[name].labels in MAKERS:
            pre_label(ARMS[name].labels, turn, seed)
        train(name, turn, seed)
        detect(name, turn, seed, "judged")
        if name in MAKERS.values():
            detect(name, turn, seed, "unlabelled")
        print(f"done: {name}, turn {turn}", flush=True)
    return [*measured(ARMS, seed, "judged"), *measured(MAKERS.values(), seed, "unlabelled")]


def table() -> str:
    """The rows as Markdown, a cell with its interval of the gain."""
    rows = read(TABLE)
    heads = ["", "frames", "seed", *(f"{label} {metric}" for label, metric, _ in MEASURES)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = []
        for label, metric, overlaps in MEASURES:
            gain = f" ({row[f'{metric}_low']} to {row[f'{metric}_high']})" if row["row"] != PLAIN else ""
            cells.append(row[f"{label}_{metric}_{overlaps}"] + gain)
        lines.append(f"| {row['row']} | {row['frames']} ({row['count']}) | {row['seed']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Render, train, score."""
    seed = seed_to_run(__doc__, table)
    if seed is None:
        return
    render()
    write_lists()
    kept = [row for row in read(TABLE) if row["seed"] != str(seed)]
    write_rows(TABLE, [*kept, *run(seed)])


if __name__ == "__main__":
    main()
