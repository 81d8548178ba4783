"""The rows of distillation's benchmark say what their names say, before half an hour is spent on each."""

import importlib
import sys
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from support.paths import ROOT
from support.training_bench import depths

from add_model.registry import adapter_for, build
from training import recipes
from training.command import TrainingCommand
from training.objectives.add import frozen_teacher

pytestmark = pytest.mark.slow

sys.path.insert(0, str(ROOT / "benchmarks"))
benchmark = importlib.import_module("distillation")
del sys.path[0]
SEED = 4321  # of no run that this checkout may hold
LOSSES = ("features", "adapted", "targets", "regression", "classification")


class ReadOnly(TrainingCommand):
    """Reads the configuration and stops there."""

    def instantiate_classes(self):
        pass

    def _run_subcommand(self, subcommand):
        pass


@cache  # reading takes a quarter of a second
def parsed(arguments):
    return ReadOnly(["fit", *arguments]).config.fit


def read(row, monkeypatch):
    monkeypatch.chdir(ROOT)
    return parsed(tuple(benchmark.arguments(row, SEED))).clone()


@pytest.fixture(scope="module")
def baselines():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {row: read(row, patch) for row in ("student", "kitti_mini: student")}


@pytest.mark.filterwarnings("ignore")  # Lightning calls what jsonargparse is about to drop
@pytest.mark.parametrize("row", [row for row in benchmark.ROWS if not row.startswith("fold")])
def test_each_row_is_read_as_it_is_named(row, baselines, monkeypatch):
    config, data = read(row, monkeypatch), benchmark.ROWS[row]
    begins = row.startswith(("kitti_mini", "MonoDETR"))
    assert data.init == ("3000 steps: student" if begins else None)
    assert data.real == row.startswith("kitti_mini")
    objective = config.model.objective.class_path.rpartition(".")[2]
    detector, colon, row = row.rpartition(": ")
    real, longer = (detector == setting for setting in ("kitti_mini", "3000 steps"))
    few, varied, lite0 = detector.startswith("400 frames"), detector.endswith("varied"), detector == "lite0"
    family, _, length = detector.partition(", ")
    small = f"{'monodle' if not detector or real or few or longer else family.lower()}_plain"
    assert config.model.name == ("monodle_lite0" if lite0 else small)
    before = benchmark.folder("3000 steps: student", 0) / "last.ckpt"
    starts = {"kitti_mini": str(before), "MonoDETR": f"backbone:{before}", "lite0": "imagenet"}
    assert config.model.init_weights == starts.get(family)
    expected = {"teacher": "TeacherTraining", "student": "Baseline"}.get(row.split(",")[0], "ADDDistillation")
    controls = {"student + dense depth": "DenseDepth", "student + dense truth": "DenseTruth"}
    assert objective == controls.get(row, expected)
    baseline = baselines["kitti_mini: student" if real else "student"]
    times = 2 if "twice" in row or (real and objective == "TeacherTraining") else 1
    others = {"CaDDN, 1000 steps": 0.5, "CaDDN, 4000 steps": 2, "MonoDETR": 1.5, "MonoDETR, long": 5}
    times *= others.get(detector, 1.5 if longer else 15 if few else 15 / 8 if lite0 else 1)
    assert config.trainer.max_epochs == times * baseline.trainer.max_epochs
    assert config.data.init_args.batch_size == (16 if length == "long" else baseline.data.init_args.batch_size)
    if few:
        assert config.data.init_args.train == "ImageSets/train400.txt"
    if not real:
        views = config.data.init_args.augmentation
        assert (views.color_jitter, list(views.scale_range)) == (varied, [0.9, 1.1] if varied else [1.0, 1.0])
    assert config.seed_everything == SEED and config.run_dir.endswith(f"_{SEED}")
    source = row.rpartition(", ")[2]
    needs = objective in ("TeacherTraining", "ADDDistillation", "DenseDepth") or family == "CaDDN"
    wanted = source if source in ("lidar", "object") else "dense" if needs else None
    assert depths(config.data.init_args) == {wanted}
    if objective != "ADDDistillation":
        assert data.teacher is None
        return
    options = config.model.objective.init_args
    on = {name for name in LOSSES if options[name].weight > 0}
    every = set(LOSSES) - (set() if "regression" in row else {"regression"})
    groups = {"features": {"features", "adapted"}, "targets": {"targets"}, "responses": {"classification"}}
    if row.endswith(" alone"):
        assert on == groups[row.split()[0]]
    elif row.startswith("without "):
        assert on == every - groups[row.split()[1]]
    else:
        assert on == every
    # What a row says of a weight leaves the schedule of the weight as it is.
    assert {(options[name].warmup_fraction, options[name].decay_fraction) for name in LOSSES} == {(0.1, 0.5)}
    named = row.split()[1] if row.startswith("encoding ") else "point"
    assert options.encoding.name == named
    by_a_student = row == "taught by a student"
    of = family if length.endswith("steps") else detector  # CaDDN has one teacher
    assert data.teacher == f"{of}{colon}{'student' if by_a_student else _teacher_of(row)}"
    kept = "as_teacher.ckpt" if by_a_student else "last.ckpt"
    assert options.teacher == str(benchmark.folder(data.teacher, 0) / kept)


def _teacher_of(row):
    source = row.rpartition(", ")[2]
    return f"teacher, {source}" if source in ("lidar", "object") else "teacher"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fold", range(3))
def test_a_fold_is_scored_on_what_it_did_not_see(fold, tmp_path, monkeypatch):
    write_lists(tmp_path, monkeypatch)
    for row, objective, epochs in (
        ("student", "Baseline", 8),
        ("teacher", "TeacherTraining", 8),
        ("student + ADD", "ADDDistillation", 8),
        ("student, 20 epochs", "Baseline", 20),
        ("student + ADD, 20 epochs", "ADDDistillation", 20),
        ("student after ADD, 20 epochs", "Baseline", 20),
    ):
        config = read(f"fold {fold}: {row}", monkeypatch)
        if objective != "TeacherTraining":
            step = "monodle_lite0_world+world_add" if "after" in row else "monodle_lite0_world"
            assert config.model.init_weights == f"runs/{step}/weights.safetensors"
        assert config.trainer.max_epochs == epochs
        if objective == "ADDDistillation":
            teacher = benchmark.folder(f"fold {fold}: teacher", 0) / "last.ckpt"
            assert config.model.objective.init_args.teacher == str(teacher)
        real, world = config.data.init_args.train
        judged = config.data.init_args.val
        assert (real.root, judged.root, world.root) == ("data/kitti_mini", "data/kitti_mini", "data/world")
        seen, held_out = (set((tmp_path / Path(source.ids).name).read_text().split()) for source in (real, judged))
        assert not seen & held_out
        assert len(seen | held_out) == 75
        assert config.model.objective.class_path == f"training.objectives.{objective}"
        assert config.model.name == "monodle_lite0"
        assert judged.count is None
        assert judged.depth == ("object" if objective == "TeacherTraining" else None)


def write_lists(folder, monkeypatch):
    """Frames 1 to 4 of which 2 and 3 have a scan; returns nothing, the lists lie in the folder."""
    monkeypatch.setattr(benchmark, "RUNS", folder)
    monkeypatch.setattr(benchmark, "REAL", folder / "real")
    for name, text in (("ImageSets/train.txt", "000001\n000002\n"), ("ImageSets/val.txt", "000003\n000004\n")):
        (folder / "real" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "real" / name).write_text(text)
    for frame in ("000002", "000003"):
        (folder / "real" / "training" / "velodyne").mkdir(parents=True, exist_ok=True)
        (folder / "real" / "training" / "velodyne" / f"{frame}.bin").write_bytes(b"")
    benchmark._write_lists()


@pytest.mark.filterwarnings("ignore")
def test_real_frames_without_a_scan_are_left_out_of_every_row(tmp_path, monkeypatch):
    write_lists(tmp_path, monkeypatch)
    assert (tmp_path / "mini_train.txt").read_text().split() == ["000002"]
    assert (tmp_path / "mini_val.txt").read_text().split() == ["000003"]
    rows = [row for row in benchmark.ROWS if row.startswith("kitti_mini")]
    for row in rows:
        data = read(row, monkeypatch).data.init_args
        assert Path(data.train[0].ids).name == "mini_train.txt"
        assert Path(data.val.ids).name == ("mini_val.txt" if "teacher" in row else "val.txt")


def without(config, *also):
    """A configuration without what a teacher and its student may differ in from a student alone."""
    config = config.as_dict()
    for key in ("config", "run_dir", *also):
        group, _, last = key.rpartition(".")
        (config[group] if group else config).pop(last)
    config["model"].pop("objective")
    data = config["data"]["init_args"]
    sources = data["train"] if isinstance(data["train"], list) else [data]
    for source in sources:
        source.pop("depth")
    return config


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("alone", "other"),
    [
        ("student", "student + ADD"),
        ("student", "teacher"),
        ("lite0: student", "lite0: teacher"),
        ("CaDDN: student", "CaDDN: teacher"),
        ("CaDDN: student", "CaDDN: student + ADD"),
        ("MonoDETR: student", "MonoDETR: teacher"),
        ("MonoDETR: student", "MonoDETR: student + ADD"),
        ("kitti_mini: student", "kitti_mini: student + ADD, object"),
        ("fold 0: student", "fold 0: student + ADD"),
    ],
)
def test_rows_that_are_compared_differ_in_objective_and_depth_alone(alone, other, monkeypatch):
    first, second = (without(read(row, monkeypatch)) for row in (alone, other))
    assert first == second


@pytest.mark.filterwarnings("ignore")
def test_small_students_differ_from_each_other_in_their_network_and_its_learning_rate_alone(monkeypatch):
    """But for MonoDETR's, which begins with MonoDLE's backbone, sees whole images and takes half as many steps more."""
    monodle, caddn, monodetr = (
        without(read(f"{detector}student", monkeypatch), "model.name", "model.lr")
        for detector in ("", "CaDDN: ", "MonoDETR: ")
    )
    assert monodle == caddn
    assert monodetr["model"].pop("init_weights").startswith("backbone:") and not monodle["model"].pop("init_weights")
    sizes = [tuple(config["data"]["init_args"]["augmentation"].pop("size")) for config in (monodetr, monodle)]
    assert sizes == [(320, 96), (224, 96)]
    for key in ("max_epochs", "check_val_every_n_epoch"):
        assert monodetr["trainer"].pop(key) == 1.5 * monodle["trainer"].pop(key)
    assert monodetr == monodle


def test_what_old_configurations_are_told_to_run_is_a_row():
    assert set(recipes.ROWS.values()) <= set(benchmark.ROWS)


def test_a_student_as_teacher_answers_as_it_does_whatever_depth_it_is_given(tmp_path):
    student, adapter = build("monodle_plain").eval(), adapter_for("monodle_plain")
    weights = {f"detector.{name}": value for name, value in student.state_dict().items()}
    torch.save({"model_name": "monodle_plain", "state_dict": weights}, tmp_path / "last.ckpt")
    benchmark._as_teacher(tmp_path)
    teacher, branch = frozen_teacher(str(tmp_path / "as_teacher.ckpt"), student, adapter)
    images, P = torch.randint(0, 255, (1, 96, 224, 3), dtype=torch.uint8), torch.eye(3, 4)[None] * 180
    depth = torch.rand(1, 96, 224) * 40
    features = adapter.teacher_features(teacher.eval(), images, P, depth, branch.eval())
    torch.testing.assert_close(features, student.extract_features(images, P))


def test_rows_have_folders_of_their_own():
    assert len({benchmark.folder(row, 0) for row in benchmark.ROWS}) == len(benchmark.ROWS)


def test_every_row_that_was_scored_is_still_there():
    assert {scored["row"] for scored in benchmark.rows()} <= set(benchmark.ROWS)


def test_what_a_row_builds_on_is_a_row():
    before = {name for row in benchmark.ROWS.values() for name in (row.teacher, row.init) if name}
    assert before <= set(benchmark.ROWS)
    assert all(not benchmark.ROWS[name].real or name.startswith(("kitti_mini", "fold")) for name in before)


def test_scores_are_kept_once_and_averaged_over_seeds_of_one_kind_of_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "TABLE", tmp_path / "table.csv")

    def keep(seed, split, accelerator, value):
        scores = {f"val/{metric}": value for metric in benchmark.METRICS}
        benchmark.append("student", seed, split, accelerator, 3000, scores)

    for seed, value in ((0, 1.0), (1, 3.0), (1, 9.0)):
        keep(seed, "dev", "cpu", value)
    keep(0, "dev", "cuda", 7.0)
    keep(0, "final", "cpu", 5.0)
    assert len(benchmark.rows()) == 4
    assert "| student | 0 1 | 3000 | 2.00 ± 1.41 |" in benchmark.table("dev", "cpu")
    assert "| student | 0 | 3000 | 7.00 |" in benchmark.table("dev", "cuda")
    assert "| student | 0 | 3000 | 5.00 |" in benchmark.table("final", "cpu")


def test_a_final_score_wants_a_training_on_that_kind_of_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "TABLE", tmp_path / "table.csv")
    scores = {f"val/{metric}": 1.0 for metric in benchmark.METRICS}
    benchmark.append("student", 0, "dev", "cpu", 2000, scores)
    with pytest.raises(SystemExit, match="no score of cuda"):
        benchmark.final("student", 0, "cuda")
    benchmark.append("student", 0, "final", "cpu", 2000, scores)
    with pytest.raises(SystemExit, match="taken once"):
        benchmark.final("student", 0, "cpu")


def test_splits_share_no_street():
    spans = [(seed, base, base + count) for base, seed, count in benchmark.SPLITS.values()]
    assert len({seed for seed, *_ in spans}) == len(spans)
    ends = sorted((first, last) for _, first, last in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(ends))
