"""A teacher, its student and the controls as a user trains them: real runs through the command line."""

import shutil
from pathlib import Path

import pytest
import torch
from support.training_bench import Training, configure, kill_when, lines_of, tensors

from add_model.registry import adapter_for, build
from training.checkpoints import load_checkpoint
from training.errors import TrainingError
from training.export import main as export
from training.export import read_checkpoint
from training.lightning_module import LitDetector
from training.metrics import read_metrics
from training.objectives import ADDDistillation, Baseline, LossWeight, TeacherTraining
from training.objectives.add import frozen_teacher

pytestmark = pytest.mark.slow

TEACHER = {"class_path": "training.objectives.TeacherTraining"}
LOSSES = ("features", "adapted", "targets", "regression", "classification")
DETECTORS = ("monodle_plain", "caddn_plain", "monodetr_plain")


def student(teacher: Path, **options):
    return {
        "class_path": "training.objectives.ADDDistillation",
        "init_args": {"teacher": str(teacher), "regression": {"weight": 1.0}, **options},
    }


def configured(folder, name, objective, depth="dense", model="monodle_plain", **trainer):
    return configure(
        folder / f"{name}.yaml",
        model={"name": model, "init_weights": None, "objective": objective},
        data={"depth": depth, "world": {"width": 128, "height": 64, "focal": 180}},
        trainer={"max_epochs": 2, **trainer},
    )


def run(folder, name, objective, resume=False, **options):
    config = configured(folder, name, objective, **options)
    training = Training(folder, "fit", "--config", config, *(["--resume"] if resume else []), log=f"{name}.txt")
    return training.finish(), training.text(), folder / "runs" / name / "last.ckpt"


@pytest.fixture(scope="module", params=DETECTORS)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def teacher(model, tmp_path_factory):
    status, text, checkpoint = run(tmp_path_factory.mktemp("teacher"), "teacher", TEACHER, model=model)
    assert status == 0, text
    return checkpoint


@pytest.fixture(scope="module")
def distilled(model, teacher, tmp_path_factory):
    status, text, checkpoint = run(tmp_path_factory.mktemp("add"), "add", student(teacher), model=model)
    assert status == 0, text
    return checkpoint


@pytest.fixture(scope="module")
def alone(model, tmp_path_factory):
    """A student without a teacher."""
    objective = {"class_path": "training.objectives.Baseline"}
    status, text, checkpoint = run(tmp_path_factory.mktemp("alone"), "alone", objective, model=model, max_epochs=1)
    assert status == 0, text
    return checkpoint


def test_each_loss_is_logged_as_it_is_and_counts_by_its_weight(distilled):
    rows = [row for row in read_metrics(distilled.parent / "metrics.csv") if row.get("train/loss")]
    columns = [f"train/add_{name}" for name in LOSSES]
    assert {name for name in rows[0] if name.startswith("train/add_")} == set(columns)
    assert all(row[name] > 0 for name in columns for row in rows)
    weights = ADDDistillation(teacher="", regression=LossWeight(1.0))
    for step, row in enumerate(rows):
        own = sum(v for k, v in row.items() if k.startswith("train/") and k not in (*columns, "train/loss", "train/lr"))
        passed = sum(getattr(weights, name).at(step / len(rows)) * row[f"train/add_{name}"] for name in LOSSES)
        assert row["train/loss"] == pytest.approx(own + passed, rel=1e-4)


def test_the_teacher_is_left_as_it_was(teacher, distilled):
    """Weights, and the statistics of its norms, which drift where a frozen network is left in training mode."""
    before, after = (load_checkpoint(path)["state_dict"] for path in (teacher, distilled))
    compared = 0
    for name, value in before.items():
        kept = name.replace("detector.", "objective.teacher.") if name.startswith("detector.") else name
        assert torch.equal(after[kept], value), kept
        compared += "running_mean" in name
    assert compared > 10
    own = next(name for name in before if name.startswith("detector.") and name.endswith("running_mean"))
    assert not torch.equal(after[own], before[own])


def test_distillation_adds_nothing_to_what_is_deployed(model, alone, distilled):
    """The student is the network that a training alone gives: the same modules, and from equal weights equal boxes."""
    names, detectors = zip(*map(read_checkpoint, (alone, distilled)), strict=True)
    assert names == (model, model) and str(detectors[0]) == str(detectors[1]) == str(build(model))
    shapes = [{k: v.shape for k, v in detector.state_dict().items()} for detector in (*detectors, build(model))]
    assert shapes[0] == shapes[1] == shapes[2]
    image = torch.randint(0, 255, (1, 64, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    P = torch.tensor([[[180.0, 0, 64, 0], [0, 180, 32, 0], [0, 0, 1, 0]]])
    with torch.no_grad():
        found = detectors[0].eval()(image, P).outputs()
        assert any(not torch.equal(a, b) for a, b in zip(found, detectors[1].eval()(image, P).outputs(), strict=True))
        detectors[0].load_state_dict(detectors[1].state_dict())
        for a, b in zip(detectors[0](image, P).outputs(), detectors[1](image, P).outputs(), strict=True):
            assert torch.equal(a, b)


def assert_goes_on(objective, undisturbed, model, folder, meanwhile=lambda: None):
    """A run that is killed and resumed ends as the undisturbed one did, bit for bit."""
    first = Training(folder, "fit", "--config", configured(folder, "killed", objective, model=model))
    metrics = folder / "runs" / "killed" / "metrics.csv"
    assert kill_when(first, lambda: lines_of(metrics) >= 5), first.text()
    assert (folder / "runs" / "killed" / "last.ckpt").is_file()
    meanwhile()
    status, text, checkpoint = run(folder, "killed", objective, resume=True, model=model)
    assert status == 0, text
    assert "resuming" in text
    parts = ("state_dict", "optimizer_states")
    assert tensors(checkpoint, *parts) == tensors(undisturbed, *parts)


def test_a_killed_teacher_goes_on_bit_for_bit(model, teacher, tmp_path):
    """It draws which images' depth is hidden."""
    assert_goes_on(TEACHER, teacher, model, tmp_path)


def test_a_killed_distillation_goes_on_bit_for_bit_without_its_teachers_file(model, teacher, distilled, tmp_path):
    """The run's own checkpoint holds the teacher: it can be resumed and scored where the other's is lost."""
    lost = tmp_path / "teacher.ckpt"
    shutil.copy(teacher, lost)
    assert_goes_on(student(lost), distilled, model, tmp_path, meanwhile=lost.unlink)
    scored = Training(tmp_path, "validate", "--config", tmp_path / "killed.yaml", log="validate.txt")
    assert scored.finish() == 0, scored.text()
    assert "killed/last.ckpt, 3 frames" in scored.text()


def test_a_student_of_no_teacher_is_not_trained(tmp_path):
    status, text, _ = run(
        tmp_path, "none", {"class_path": "training.objectives.ADDDistillation", "init_args": {"teacher": None}}
    )
    assert status == 1
    assert "model.objective.teacher is null: give the checkpoint of a run with model.objective TeacherTraining" in text


def test_a_teacher_is_not_exported(teacher, capsys, tmp_path):
    assert export(["--checkpoint", str(teacher), "--out", str(tmp_path / "x")]) == 1
    assert "is a teacher: it needs ground-truth depth" in capsys.readouterr().err


def test_a_run_begins_with_the_detector_of_another_run(model, teacher):
    detector, _ = frozen_teacher(str(teacher), build(model), adapter_for(model))
    wanted = detector.state_dict()
    begun = LitDetector(model, init_weights=str(teacher), objective=Baseline()).detector.state_dict()
    assert begun.keys() == wanted.keys() and all(torch.equal(begun[name], value) for name, value in wanted.items())
    with pytest.raises(TrainingError, match=rf"holds a {model}, model.name is monodle_lite0"):
        LitDetector("monodle_lite0", init_weights=str(teacher))


def test_a_teacher_begins_as_another_teacher(model, teacher):
    frozen = frozen_teacher(str(teacher), build(model), adapter_for(model))
    begun = LitDetector(model, init_weights=str(teacher), objective=TeacherTraining(depth_branch=str(teacher)))
    for wanted, module in zip(frozen, (begun.detector, begun.objective.depth_branch), strict=True):
        for key, value in wanted.state_dict().items():
            assert torch.equal(module.state_dict()[key], value), key
    assert any(value.any() for value in begun.objective.depth_branch.joins.parameters()), "more than a new branch"
    with pytest.raises(TrainingError, match=rf"is a teacher of {model}, not of this model"):
        TeacherTraining(depth_branch=str(teacher)).build(build("monodle_lite0"), adapter_for("monodle_lite0"))


def test_a_student_is_no_teacher_and_another_model_neither(model, teacher, alone, distilled):
    """Not even a student whose checkpoint holds its teacher beside it."""
    for learnt in (alone, distilled):
        with pytest.raises(TrainingError, match=r"is no teacher: train one with model\.objective"):
            frozen_teacher(str(learnt), build(model), adapter_for(model))
        with pytest.raises(TrainingError, match=r"is no teacher: train one with model\.objective"):
            TeacherTraining(depth_branch=str(learnt)).build(build(model), adapter_for(model))
    with pytest.raises(TrainingError, match="it must have the student's architecture and classes"):
        frozen_teacher(str(teacher), build("monodle_lite0"), adapter_for("monodle_lite0"))


@pytest.mark.parametrize("objective", ["TeacherTraining", "controls.DenseDepth"])
def test_objectives_that_need_depth_say_where_to_name_it(objective, tmp_path):
    status, text, _ = run(tmp_path, "none", {"class_path": f"training.objectives.{objective}"}, depth=None)
    assert status == 1
    assert "give data.depth lidar, object or dense" in text


def test_a_switched_off_loss_is_not_computed(model, teacher, tmp_path):
    off = {name: {"weight": 0} for name in LOSSES if name != "regression"}
    status, text, checkpoint = run(tmp_path, "some", student(teacher, **off), model=model, max_epochs=1)
    assert status == 0, text
    row = read_metrics(checkpoint.parent / "metrics.csv")[0]
    assert [name for name in row if name.startswith("train/add_")] == ["train/add_regression"]
