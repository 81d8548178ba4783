"""How good a teacher's pre-labels are, and what a student gains from them: python benchmarks/prelabels.py [--seed N]

Streets of the synthetic world, of which the first few are labelled; the labels of the others are hidden. A teacher of
ADD and a student are trained on the labelled ones. The teacher, which sees a scanner's points at inference, labels the
others (`add-ros predict --teacher`, `add-ros labels import --min-score`). Students are then trained on both:

    student, labelled            the labelled streets alone
    teacher, labelled            the same, with depth
    student, student's labels    and the others as the first student labels them
    student, teacher's labels    and the others as the teacher labels them
    student + ADD, labelled      the labelled streets alone, with ADD from the teacher
    student + ADD, teacher's     both, with ADD from the teacher
    student, all labels          both, with the true labels

All take the same number of steps. Rows go to prelabels.csv, scored on streets of their own ("dev") and, of the first
two, on the others ("unlabelled"), which says how good pre-labels are. Streets lie in data/prelabels, runs in
runs/prelabels; stopped at any moment, the same command goes on. `--table` prints the rows.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from add_model.atomic_io import write_atomically
from training import export, predict
from training import labels as labels_command
from training.command import TrainingCommand
from training.data.kitti.splits import read_ids

TABLE = Path(__file__).with_suffix(".csv")
DATA, RUNS = Path("data/prelabels"), Path("runs/prelabels")
LABELLED, UNLABELLED, DEV = 240, 960, 300
EPOCHS = 20  # of the labelled streets; fewer of more streets
STEPS = EPOCHS * LABELLED // 8
MIN_SCORE = 0.3
METRICS = ("Car_bev_loose_moderate", "Car_3d_loose_moderate", "Car_bev_moderate", "Car_3d_moderate", "Car_depth_error")
STUDY = ("recipes/monodle_plain_world", "study/world")
TEACHER = "teacher, labelled"


@dataclass(frozen=True)
class Arm:
    """A row: the labels and the streets that are trained on, and what is minimised."""

    labels: str  # truth, or who made those of the unlabelled streets
    streets: str
    overlay: str | None = None

    def options(self, name: str, seed: int) -> list[str]:
        """What `add-ros fit` is given."""
        frames = LABELLED if self.streets == "labelled" else LABELLED + UNLABELLED
        epochs = str(EPOCHS * LABELLED // frames)
        configs = (*STUDY, *filter(None, [self.overlay]))
        words = [word for config in configs for word in ("--config", f"config/train/{config}.yaml")]
        given = {
            "data.root": str(DATA / self.labels), "data.train": f"ImageSets/{self.streets}.txt",
            "trainer.max_epochs": epochs, "trainer.check_val_every_n_epoch": epochs, "run-dir": str(run_of(name, seed)),
            "seed_everything": str(seed),
        }  # fmt: skip
        if self.overlay:
            given["data.depth"] = "lidar"
        if self.overlay == "overlays/add":
            given["model.objective.teacher"] = str(run_of(TEACHER, seed) / "last.ckpt")
        return words + [word for option, value in given.items() for word in (f"--{option}", value)]


ARMS = {
    "student, labelled": Arm("truth", "labelled"),
    TEACHER: Arm("truth", "labelled", "overlays/teacher"),
    "student, teacher's labels": Arm("by_teacher", "train"),
    "student + ADD, labelled": Arm("truth", "labelled", "overlays/add"),
    "student + ADD, teacher's labels": Arm("by_teacher", "train", "overlays/add"),
    "student, all labels": Arm("truth", "train"),
    "student, student's labels": Arm("by_student", "train"),
}
MAKERS = {"by_teacher": TEACHER, "by_student": "student, labelled"}


def run_of(name: str, seed: int) -> Path:
    """Where a row's run lies."""
    return RUNS / f"{folder_name(name)}_{seed}"


def folder_name(row: str) -> str:
    """A row's name as that of a folder."""
    return row.replace(",", "").replace(" + ", " ").replace("'", "").replace(" ", "_")


def render() -> None:
    """The streets with their true labels, a scanner's points, and the lists of frames."""
    from training.data.world import World
    from training.world import write_frame

    root, total = DATA / "truth", LABELLED + UNLABELLED + DEV
    lists = root / "ImageSets"
    if (lists / "labelled.txt").is_file():
        return
    vary = {"focal_range": (0.9, 1.1), "camera_height": (1.45, 1.85), "pitch": (-1.5, 1.5)}
    world = World(width=621, height=188, focal=360.5, **vary, seed=200)
    for kind in ("image_2", "calib", "label_2", "depth_2", "velodyne"):
        (root / "training" / kind).mkdir(parents=True, exist_ok=True)
    lists.mkdir(exist_ok=True)
    names = [f"{i:06d}" for i in range(total)]
    for i in tqdm(range(total), unit="street", disable=None):
        if not (root / "training" / "label_2" / f"{names[i]}.txt").is_file():  # a frame's last file
            write_frame(root / "training", names[i], world.sample(i), scanner=True)
    split = LABELLED + UNLABELLED
    for name, ids in (("dev", names[split:]), ("train", names[:split]), ("unlabelled", names[LABELLED:split])):
        write_atomically(lists / f"{name}.txt", "".join(f"{i}\n" for i in ids))
    write_atomically(lists / "labelled.txt", "".join(f"{i}\n" for i in names[:LABELLED]))


def pre_label(labels: str, seed: int) -> None:
    """A data set whose unlabelled streets have the labels of a teacher or student, made by the commands of the docs."""
    root, maker = DATA / labels, run_of(MAKERS[labels], seed)
    mark = root / f"made_{seed}.txt"
    if mark.is_file():
        return
    results = maker / "pre"
    shutil.rmtree(results, ignore_errors=True)
    ids = str(DATA / "truth" / "ImageSets" / "unlabelled.txt")
    if labels == "by_teacher":
        model = ["--teacher", str(maker / "last.ckpt"), "--depth", "lidar", "--device", "cpu"]
    else:
        succeed(export.main, "--checkpoint", str(maker / "last.ckpt"), "--out", str(maker / "weights"))
        model = ["--model", str(maker / "weights.onnx"), "--device", "cpu", "--engine", "onnxruntime"]
    succeed(predict.main, "--kitti", str(DATA / "truth"), "--ids", ids, *model, "--out", str(results))
    lists = [DATA / "truth" / "ImageSets" / f"{name}.txt" for name in ("labelled", "dev")]
    import_labels(DATA / "truth", root, lists, Path(ids), results, MIN_SCORE)
    (root / "ImageSets").symlink_to((DATA / "truth" / "ImageSets").resolve())
    write_atomically(mark, f"labels of {MAKERS[labels]}, seed {seed}\n")


def import_labels(truth: Path, root: Path, kept: list[Path], ids: Path, results: Path, min_score: float) -> None:
    """A copy of a data set with its labels of the frames in the lists `kept`, and a detector's of those in `ids`."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "training" / "label_2").mkdir(parents=True)
    for kind in ("image_2", "calib", "velodyne"):
        (root / "training" / kind).symlink_to((truth / "training" / kind).resolve())
    for i in itertools.chain.from_iterable(map(read_ids, kept)):
        shutil.copy(truth / "training" / "label_2" / f"{i}.txt", root / "training" / "label_2")
    taken = ["--format", "kitti", "--from", str(results), "--min-score", str(min_score)]
    succeed(labels_command.main, "import", "--data", str(root), "--ids", str(ids.resolve()), *taken)


def succeed(command: Callable[[list[str]], int], *arguments: str) -> None:
    """Run a command in this process; its message is on the terminal where it fails."""
    if command(list(arguments)):
        raise SystemExit(f"stopped: {' '.join(arguments)}")


def scored(name: str, seed: int, split: str) -> bool:
    """Whether the row is there."""
    return any((r["row"], r["seed"], r["split"]) == (name, str(seed), split) for r in read())


def read(path: Path = TABLE) -> list[dict[str, str]]:
    """The rows that are there."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(name: str, seed: int, split: str, values: dict[str, float], steps: int, seconds: float) -> None:
    """Add a row."""
    new = not TABLE.is_file()
    with TABLE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(["row", "seed", "split", "steps", *METRICS, "cpu_seconds", "date"])
        measured = [f"{values[f'val/{metric}']:.3f}" for metric in METRICS]
        writer.writerow([name, seed, split, steps, *measured, round(seconds), datetime.date.today().isoformat()])


def run(name: str, seed: int) -> None:
    """Train a row and score it."""
    arm, started = ARMS[name], time.process_time()
    done = scored(name, seed, "dev")
    if not done or (name in MAKERS.values() and not run_of(name, seed).is_dir()):
        if arm.labels in MAKERS:
            pre_label(arm.labels, seed)
        command = TrainingCommand(["fit", *arm.options(name, seed), "--trainer.accelerator", "cpu", "--resume"])
        if command.model.validation and not done:
            took = time.process_time() - started
            append(name, seed, "dev", command.model.validation, command.trainer.global_step, took)
    if name in MAKERS.values() and not scored(name, seed, "unlabelled"):
        options = [*arm.options(name, seed), "--data.val", "ImageSets/unlabelled.txt", "--trainer.accelerator", "cpu"]
        command = TrainingCommand(["validate", *options])
        append(name, seed, "unlabelled", command.model.validation, STEPS, time.process_time() - started)


def table() -> str:
    """Means over the seeds, as Markdown."""
    lines = ["| | streets | seeds | " + " | ".join(m.replace("_", " ") for m in METRICS) + " |", "|---" * 8 + "|"]
    rows = read()
    for name, split in dict.fromkeys((r["row"], r["split"]) for r in rows):
        mine = [r for r in rows if (r["row"], r["split"]) == (name, split)]
        cells = []
        for metric in METRICS:
            values = [float(r[metric]) for r in mine]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.2f}{spread}")
        lines.append(f"| {name} | {split} | {' '.join(r['seed'] for r in mine)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def seed_to_run(description: str | None, table: Callable[[], str]) -> int | None:
    """The command line's seed; None where --table printed the rows, and that is all."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print the rows that are there, and do nothing else")
    options = parser.parse_args()
    if options.table:
        print(table())
    return None if options.table else options.seed


def main() -> None:
    """Render, train, score."""
    seed = seed_to_run(__doc__, table)
    if seed is None:
        return
    render()
    for name in ARMS:
        run(name, seed)
        print(f"done: {name}", flush=True)


if __name__ == "__main__":
    main()
