"""Old names of options, classes and metrics: each gives its new one."""

import inspect

import pytest

from training.data.augmentation import Augmentation
from training.data.data_module import KittiData
from training.errors import TrainingError
from training.lightning_module import LitDetector
from training.metrics import MetricsFile, read_metrics
from training.objectives import ADDDistillation, LossWeight, TeacherTraining
from training.renamed_options import (
    CLASSES,
    METRICS,
    OPTIONS,
    require_new_names,
    require_new_options,
    translated,
    translated_metrics,
)
from training.schedule import Cosine, StepDecay

# Where an option lies in a configuration: below these, in init_args.
IN_INIT_ARGS = ("data", "model.schedule", "model.method", "model.objective")


def nested(option, value):
    """A configuration with one option."""
    config = value
    keys = option.split(".")
    for depth in range(len(keys) - 1, -1, -1):
        group = ".".join(keys[:depth])
        config = {keys[depth]: config}
        if group in IN_INIT_ARGS:
            config = {"init_args": config}
    return config


@pytest.mark.parametrize(("old", "new"), OPTIONS.items())
def test_each_old_option_gets_an_error_that_names_the_new_one(old, new):
    with pytest.raises(TrainingError) as error:
        require_new_names(nested(old, 1), "my.yaml")
    assert str(error.value).startswith("my.yaml: ") and str(error.value).endswith(f"{old} is now {new}")
    written = new.replace("run_dir", "run-dir")
    for words in ([f"--{old}", "1"], [f"--{old}=1"]):
        with pytest.raises(TrainingError) as error:
            require_new_options(words)
        assert str(error.value) == f"--{old} is now --{written}"


@pytest.mark.parametrize(("old", "new"), OPTIONS.items())
def test_each_old_option_is_translated(old, new):
    assert translated(nested(old, 1)) == translated(nested(new, 1)) == nested(new, 1)
    require_new_names(nested(new, 1), "config.yaml")
    require_new_options([f"--{new}", "1"])


@pytest.mark.parametrize(("old", "new"), CLASSES.items())
def test_each_old_class_gets_an_error_that_names_the_new_one(old, new):
    key = "data" if old.endswith("Data") else "model.objective"
    config = nested(key, {"class_path": old})
    with pytest.raises(TrainingError, match=f"my.yaml: {old} is now {new}$"):
        require_new_names(config, "my.yaml")
    with pytest.raises(TrainingError, match=f"^{old} is now {new}$"):
        require_new_options([f"--{key}", old])
    assert translated(config) == nested(key, {"class_path": new})


def test_one_error_has_all_old_names():
    config = {"best_by": "val/x", "model": {"rate": 1, "method": {"class_path": "Teach", "init_args": {"hidden": 0}}}}
    with pytest.raises(TrainingError) as error:
        require_new_names(config, "my.yaml")
    assert str(error.value) == (
        "my.yaml: best_by is now monitor; model.rate is now model.lr; model.method is now model.objective; Teach is now"
        " TeacherTraining; model.method.hidden is now model.objective.depth_drop_prob"
    )
    with pytest.raises(TrainingError) as error:
        require_new_options(["fit", "--folder", "x", "--model.method", "Alone", "--data.init_args.workers=1"])
    assert str(error.value) == (
        "--folder is now --run-dir; --model.method is now --model.objective; Alone is now Baseline;"
        " --data.init_args.workers is now --data.num_workers"
    )


def test_names_of_today_pass():
    require_new_options(["fit", "--data", "rate", "--config", "best_by.yaml", "--model.lr", "1", "--resume"])
    require_new_names({"model": {"lr": 1}, "data": {"init_args": {"train": [{"root": "x"}]}}, "trainer": None}, "x")


def test_every_new_option_is_one_that_there_is():
    losses = ("features", "adapted", "targets", "regression", "classification")
    there = {"model": [LitDetector], "model.schedule": [Cosine, StepDecay], "data": [KittiData]}
    there |= {"model.objective": [ADDDistillation, TeacherTraining], "data.augmentation": [Augmentation]}
    there |= {f"model.objective.{loss}": [LossWeight] for loss in losses}
    for new in OPTIONS.values():
        group, _, name = new.rpartition(".")
        if group:
            assert any(name in inspect.signature(kind).parameters for kind in there[group]), new


def test_an_old_schedule_without_its_class_gets_one():
    for options, kind in (({"milestones": [0.5], "warm_up": 0.1}, "StepDecay"), ({"warm_up": 0.1}, "Cosine")):
        schedule = translated({"model": {"schedule": options}})["model"]["schedule"]
        new = {"warmup_fraction" if name == "warm_up" else name: value for name, value in options.items()}
        assert schedule == {"class_path": f"training.schedule.{kind}", "init_args": new}


def test_old_metrics_have_todays_names(tmp_path):
    assert translated_metrics(dict.fromkeys((*METRICS, "val/frames"), 1.0)) == dict.fromkeys(
        (*METRICS.values(), "val/frames"), 1.0
    )
    (tmp_path / "metrics.csv").write_text("step,train/rate,train/add_scores\n1,0.5,2.0\n")
    new = {"step": 1.0, "train/lr": 0.5, "train/add_classification": 2.0}
    assert read_metrics(tmp_path / "metrics.csv") == [new]
    metrics = MetricsFile(tmp_path)
    metrics.restore([{"step": 1, "train/rate": 0.5, "train/add_scores": 2.0}])
    assert read_metrics(tmp_path / "metrics.csv") == metrics.rows == [new]
