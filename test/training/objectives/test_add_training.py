"""A teacher, its student and the controls as a user trains them: real runs through the command line."""

import shutil
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from support.paths import CONFIG
from support.training_bench import Training, configure, depths, kill_when, lines_of, tensors

from add_model.registry import build, load
from training.atomic_io import TrainingError
from training.checkpoints import load_checkpoint
from training.export import main as export
from training.lightning_module import LitDetector
from training.metrics import read_metrics
from training.objectives.add import ADDDistillation, LossWeight, frozen_teacher
from training.objectives.baseline import Baseline, TeacherTraining

TEACHER = {"class_path": "training.objectives.TeacherTraining"}
PARTS = ("features", "adapted", "targets", "regression", "scores")
DETECTORS = ("monodle_plain", "caddn_plain", "monodetr_plain")


def student(teacher: Path, **options):
    return {
        "class_path": "training.objectives.ADDDistillation",
        "init_args": {"teacher": str(teacher), "regression": {"weight": 1.0}, **options},
    }


def configured(folder, name, method, depth="dense", model="monodle_plain", **trainer):
    return configure(
        folder / f"{name}.yaml",
        model={"model": model, "start": None, "method": method},
        data={"depth": depth, "world": {"width": 128, "height": 64, "focal": 180}},
        trainer=trainer,
    )


def run(folder, name, method, resume=False, **options):
    config = configured(folder, name, method, **options)
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


def test_each_part_is_logged_as_it_is_and_counts_by_its_weight(distilled):
    rows = [row for row in read_metrics(distilled.parent / "metrics.csv") if row.get("train/loss")]
    columns = [f"train/add_{name}" for name in PARTS]
    assert {name for name in rows[0] if name.startswith("train/add_")} == set(columns)
    assert all(row[name] > 0 for name in columns for row in rows)
    weights = ADDDistillation(teacher="", regression=LossWeight(1.0))
    for step, row in enumerate(rows):
        own = sum(
            v for k, v in row.items() if k.startswith("train/") and k not in (*columns, "train/loss", "train/rate")
        )
        passed = sum(getattr(weights, name).at(step / len(rows)) * row[f"train/add_{name}"] for name in PARTS)
        assert row["train/loss"] == pytest.approx(own + passed, rel=1e-4)


def test_the_teacher_is_left_as_it_was(teacher, distilled):
    """Weights, and the statistics of its norms, which drift where a frozen network is left in training mode."""
    before, after = (load_checkpoint(path)["state_dict"] for path in (teacher, distilled))
    compared = 0
    for name, value in before.items():
        kept = name.replace("detector.", "learner.teacher.") if name.startswith("detector.") else name
        assert torch.equal(after[kept], value), kept
        compared += "running_mean" in name
    assert compared > 10
    own = next(name for name in before if name.startswith("detector.") and name.endswith("running_mean"))
    assert not torch.equal(after[own], before[own])


def test_distillation_adds_nothing_to_what_is_deployed(model, distilled, tmp_path):
    status, text, alone = run(
        tmp_path, "alone", {"class_path": "training.objectives.Baseline"}, model=model, max_epochs=1
    )
    assert status == 0, text
    graphs = []
    for name, checkpoint in (("alone", alone), ("add", distilled)):
        assert export(["--checkpoint", str(checkpoint), "--out", str(tmp_path / name)]) == 0
        weights = load(tmp_path / f"{name}.safetensors").state_dict()
        graph = onnx.load(tmp_path / f"{name}.onnx").graph
        nodes = [
            (n.op_type, list(n.input), list(n.output), [a.SerializeToString() for a in n.attribute]) for n in graph.node
        ]
        shapes = {i.name: (i.data_type, list(i.dims)) for i in graph.initializer}
        graphs.append(({k: v.shape for k, v in weights.items()}, nodes, shapes))
    assert graphs[0] == graphs[1]
    assert graphs[0][0] == {k: v.shape for k, v in build(model).state_dict().items()}


def assert_goes_on(method, undisturbed, model, folder, meanwhile=lambda: None):
    """A run that is killed and resumed ends as the undisturbed one did, bit for bit."""
    first = Training(folder, "fit", "--config", configured(folder, "killed", method, model=model))
    metrics = folder / "runs" / "killed" / "metrics.csv"
    assert kill_when(first, lambda: lines_of(metrics) >= 5), first.text()
    assert (folder / "runs" / "killed" / "last.ckpt").is_file()
    meanwhile()
    status, text, checkpoint = run(folder, "killed", method, resume=True, model=model)
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
    assert "model.method.teacher is null: give the checkpoint of a run with model.method TeacherTraining" in text


def test_a_teacher_is_not_exported(teacher, capsys, tmp_path):
    assert export(["--checkpoint", str(teacher), "--out", str(tmp_path / "x")]) == 2
    assert "is a teacher: it needs ground-truth depth" in capsys.readouterr().err


def test_a_run_begins_with_the_detector_of_another_run(model, teacher):
    detector, _ = frozen_teacher(str(teacher), build(model))
    wanted = detector.state_dict()
    begun = LitDetector(model, start=str(teacher), method=Baseline()).detector.state_dict()
    assert begun.keys() == wanted.keys() and all(torch.equal(begun[name], value) for name, value in wanted.items())
    with pytest.raises(TrainingError, match=rf"holds a {model}, model.model is monodle_lite0"):
        LitDetector("monodle_lite0", start=str(teacher))


def test_a_teacher_begins_as_another_teacher(model, teacher):
    wanted = dict(zip(("detector", "branch"), frozen_teacher(str(teacher), build(model)), strict=True))
    begun = LitDetector(model, start=str(teacher), method=TeacherTraining(branch=str(teacher)))
    for name, module in (("detector", begun.detector), ("branch", begun.learner.branch)):
        for key, value in wanted[name].state_dict().items():
            assert torch.equal(module.state_dict()[key], value), key
    assert any(value.any() for value in begun.learner.branch.joins.parameters()), "more than a branch that is new"
    with pytest.raises(TrainingError, match=rf"is a teacher of {model}, not of this model"):
        TeacherTraining(branch=str(teacher)).learner(build("monodle_lite0"))


def test_a_student_is_no_teacher_and_another_model_neither(model, teacher, distilled, tmp_path):
    """Not even a student whose checkpoint holds its teacher beside it."""
    status, text, alone = run(
        tmp_path, "alone", {"class_path": "training.objectives.Baseline"}, model=model, max_epochs=1
    )
    assert status == 0, text
    for learnt in (alone, distilled):
        with pytest.raises(TrainingError, match=r"is no teacher: train one with model\.method"):
            frozen_teacher(str(learnt), build(model))
        with pytest.raises(TrainingError, match=r"is no teacher: train one with model\.method"):
            TeacherTraining(branch=str(learnt)).learner(build(model))
    with pytest.raises(TrainingError, match="identical architecture"):
        frozen_teacher(str(teacher), build("monodle_lite0"))


@pytest.mark.parametrize("method", ["TeacherTraining", "DenseDepth"])
def test_methods_that_need_depth_say_where_to_name_it(method, tmp_path):
    status, text, _ = run(tmp_path, "none", {"class_path": f"training.objectives.baseline.{method}"}, depth=None)
    assert status == 1
    assert "give data.depth lidar, object or dense" in text


def test_a_switched_off_part_is_not_computed(model, teacher, tmp_path):
    off = {name: {"weight": 0} for name in PARTS if name != "regression"}
    status, text, checkpoint = run(tmp_path, "some", student(teacher, **off), model=model, max_epochs=1)
    assert status == 0, text
    row = read_metrics(checkpoint.parent / "metrics.csv")[0]
    assert [name for name in row if name.startswith("train/add_")] == ["train/add_regression"]


TRAININGS = [path for path in sorted(CONFIG.glob("*.yaml")) if "model" in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_a_configuration_gets_the_method_that_it_names(path):
    """Methods without options look alike to a parser that goes by fields: the first one would be taken for all."""
    written = yaml.safe_load(path.read_text())
    parser = ArgumentParser()
    parser.add_class_arguments(LitDetector, "model")
    read = parser.parse_object({"model": written["model"]})
    wanted = written["model"].get("method", {"class_path": "training.objectives.Baseline"})["class_path"]
    assert read.model.method.class_path == wanted
    needs_depth = wanted.endswith(("TeacherTraining", "ADDDistillation")) or read.model.model.startswith("caddn")
    assert all((depth is not None) == needs_depth for depth in depths(written["data"]["init_args"]))


def test_students_differ_from_their_baseline_in_method_and_depth_alone():
    families = {name: (f"{name}_kitti", f"{name}_teacher_kitti", f"{name}_add_kitti") for name in
                ("monodle", "caddn", "monodetr")}  # fmt: skip
    families |= {f"{name} world": tuple(f"add_world_{name}{kind}" for kind in ("alone", "teacher", "add")) for name in
                 ("", "caddn_", "monodetr_")}  # fmt: skip
    for names in families.values():
        base, *others = (yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) for name in names)
        assert [c["model"]["method"]["class_path"].rpartition(".")[2] for c in others] == [
            "TeacherTraining",
            "ADDDistillation",
        ]
        given = [config["data"]["init_args"].pop("depth", None) for config in (base, *others)]
        assert given[0] in (None, given[1]) and given[1] == given[2] is not None
        assert others[1]["model"]["method"]["init_args"]["teacher"] == f"runs/{names[1]}/last.ckpt"
        for config in (base, *others):
            config["model"].pop("method", None)
            assert config == base


def test_students_on_the_way_to_real_frames_differ_in_method_and_depth_alone():
    for name in ("add_mini", "monodle_lite0_mini", "monodle_lite0_world"):
        alone, add = (
            yaml.safe_load((CONFIG / f"{file}.yaml").read_text())
            for file in (f"{name}_alone" if name == "add_mini" else name, f"{name}_add")
        )
        if name == "monodle_lite0_mini":
            starts = [config["model"].pop("start") for config in (alone, add)]
            assert starts == [f"runs/monodle_lite0_world{step}/weights.safetensors" for step in ("_add", "")]
        for config in (alone, add):
            config["model"].pop("method", None)
            data = config["data"]["init_args"]
            for source in data["train"] if isinstance(data["train"], list) else [data]:
                source.pop("depth", None)
        assert alone == add


def test_teachers_of_real_frames_differ_from_their_students_as_their_files_say():
    """In what they begin with, in method and depth, and in epochs."""
    pairs = {"add_mini_teacher": "add_mini_alone", "monodle_lite0_mini_teacher": "monodle_lite0_mini",
             "monodle_lite0_world_teacher": "monodle_lite0_world"}  # fmt: skip
    for names in pairs.items():
        teacher, alone = (yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) for name in names)
        for config in (teacher, alone):
            data = config["data"]["init_args"]
            for source in (data, data["val"], *(data["train"] if isinstance(data["train"], list) else ())):
                if isinstance(source, dict):
                    source.pop("depth", None)
            for key in ("method", "start", *(["rate"] if "world" in names[0] else [])):
                config["model"].pop(key, None)
            for key in ("max_epochs", "check_val_every_n_epoch"):
                config["trainer"].pop(key, None)
        assert teacher == alone, names


def test_small_students_differ_from_each_other_in_their_network_and_its_rate_alone():
    """But for MonoDETR's, which begins with MonoDLE's backbone, sees whole images and takes half as many steps more."""
    monodle, caddn, monodetr = (yaml.safe_load((CONFIG / f"add_world_{name}alone.yaml").read_text()) for name in
                                ("", "caddn_", "monodetr_"))  # fmt: skip
    epochs = monodle["trainer"]["max_epochs"]
    assert monodetr["model"]["start"].startswith("backbone:") and monodetr["trainer"]["max_epochs"] == 1.5 * epochs
    monodetr["model"]["start"] = monodle["model"]["start"]
    views = [config["data"]["init_args"]["augmentation"] for config in (monodetr, monodle)]
    assert views[0].pop("size") == [320, 96] and views[1]["size"] == [224, 96]
    views[0]["size"] = views[1]["size"]
    monodetr["trainer"] |= dict.fromkeys(("max_epochs", "check_val_every_n_epoch"), epochs)
    for config in (monodle, caddn, monodetr):
        for key in ("model", "rate"):
            config["model"].pop(key)
        config["data"]["init_args"].pop("depth", None)
        assert config == monodle
