"""Files of the code before its names changed: test/data/old_files, whose README says what they are."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from support import old_resampler
from support.old_files import OLD, unpack
from support.training_bench import Training

from add_model.backends.onnx_runtime import OnnxBackend
from add_model.backends.pytorch import TorchBackend
from add_model.registry import MODELS, adapter_for, build
from add_model.renamed_keys import rename_checkpoint_keys, rename_detector_keys
from training.checkpoints import load_checkpoint
from training.errors import TrainingError
from training.lightning_module import LitDetector
from training.metrics import read_metrics
from training.objectives import TrainingObjective
from training.objectives.add import frozen_teacher
from training.objectives.base import CHECKPOINT_OPTIONS
from training.renamed_options import translated
from training.world import main as render

RUNS = ("student", "teacher", "add")
# Whose answers mean something else since: what keeps their old weights from loading.
RETRAINED = {"monodle_dla34": "depth_answers_log_deviation", "monodetr_resnet50": "decoder"}
RUN_NAMES = sorted(path.name.removesuffix(".config.yaml") for path in (OLD / "keys").glob("*.config.yaml"))


def shapes(state):
    return [[name, list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in state.items()]


def keys(name: str) -> dict:
    return json.loads(gzip.decompress((OLD / "keys" / f"{name}.json.gz").read_bytes()))


def objective_of(config: Path) -> TrainingObjective:
    """The objective of an old config.yaml, whose teacher is in the checkpoint."""
    objective = translated(yaml.safe_load(config.read_text()))["model"]["objective"]
    options = objective.get("init_args") or {}
    options |= {name: None for name in CHECKPOINT_OPTIONS if name in options}
    parser = ArgumentParser()
    parser.add_argument("--objective", type=TrainingObjective)
    return parser.instantiate(parser.parse_object({"objective": objective})).objective


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The folder of frames that the old runs trained on."""
    out = tmp_path_factory.mktemp("world")
    frames = ["--out", str(out), "--width", "256", "--height", "96", "--focal", "180", "--scanner"]
    assert render([*frames, "--frames", "8"]) == 0
    assert render([*frames, "--frames", "3", "--first", "8", "--split", "val"]) == 0
    return out


def old_run(name: str, folder: Path, rendered: Path) -> Path:
    """A run folder as the old code left it; returns its configuration by today's names."""
    (folder / "data").mkdir()
    (folder / "data" / "world").symlink_to(rendered)
    run = folder / "runs" / name
    unpack(f"{name}/last.ckpt", run)
    for file in ("config.yaml", "metrics.csv"):
        shutil.copy(OLD / name / file, run)
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(translated(yaml.safe_load((OLD / "config" / f"{name}.yaml").read_text()))))
    return config


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_goes_on_as_the_old_code_would_have(name, rendered, tmp_path):
    """ADD's without its teacher's folder, which its own checkpoint holds."""
    config = old_run(name, tmp_path, rendered)
    run = Training(tmp_path, "fit", "--config", config, "--resume", "--trainer.max_epochs", 2, before=old_resampler.use)
    assert run.finish() == 0, run.text()
    assert f"resuming runs/{name}/last.ckpt after 1 epochs (4 steps)" in run.text()
    found, expected = (
        read_metrics(path) for path in (tmp_path / "runs" / name / "metrics.csv", OLD / name / "metrics_resumed.csv")
    )
    assert len(found) == len(expected) == 10
    for row, wanted in zip(found, expected, strict=True):
        assert row.keys() == wanted.keys()
        for metric, value in wanted.items():
            assert row[metric] == pytest.approx(value, rel=1e-3, abs=1e-5), (metric, row["step"])


def test_an_old_run_goes_on_with_the_options_that_it_was_started_with(rendered, tmp_path):
    config = old_run("add", tmp_path, rendered)
    again = "fit", "--config", config, "--resume"
    changes = "--model.lr", "2e-3", "--model.objective.background_weight", "0.5", "--monitor", "val/Car_bev_moderate"
    run = Training(tmp_path, *again, *changes)
    assert run.finish() == 1
    for change in (
        "monitor is val/Car_bev_moderate here, but val/Car_3d_moderate",
        "model.lr is 0.002 here, but 0.001",
        "model.objective.background_weight is 0.5 here, but 0.01 where runs/add was started",
    ):
        assert change in run.text()


def test_an_old_configuration_gets_one_error(tmp_path):
    run = Training(tmp_path, "fit", "--config", OLD / "config" / "add.yaml")
    assert run.finish() == 1
    (message,) = [line for line in run.text().splitlines() if line.startswith("error: ")]
    for words in (
        "config/add.yaml: model.model is now model.name; ",
        "model.method is now model.objective",
        "training.distil.Distil is now training.objectives.ADDDistillation",
        "model.method.regression.warm_up is now model.objective.regression.warmup_fraction",
        "data.augmentation.zoom is now data.augmentation.scale_range",
    ):
        assert words in message


def test_an_old_teacher_teaches(tmp_path):
    path = unpack("teacher/last.ckpt", tmp_path)
    detector, branch = frozen_teacher(str(path), build("monodle_plain"), adapter_for("monodle_plain"))
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert torch.equal(detector.heatmap_head[0].weight, weights["detector.heat.0.weight"])
    old_branch = {n.removeprefix("learner.branch."): v for n, v in weights.items() if n.startswith("learner.branch.")}
    assert old_branch.keys() == branch.state_dict().keys()
    assert all(torch.equal(value, old_branch[name]) for name, value in branch.state_dict().items())
    with pytest.raises(TrainingError, match="is no teacher"):
        student = unpack("student/last.ckpt", tmp_path)
        frozen_teacher(str(student), build("monodle_plain"), adapter_for("monodle_plain"))


def test_an_old_student_is_read_whole(tmp_path):
    checkpoint = load_checkpoint(unpack("add/last.ckpt", tmp_path))
    module = LitDetector("monodle_plain", init_weights=None, objective=objective_of(OLD / "add" / "config.yaml"))
    module.load_state_dict(checkpoint["state_dict"])
    module.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(("suffix", "backend"), [("onnx", OnnxBackend), ("safetensors", TorchBackend)])
def test_an_old_model_finds_what_it_found(suffix, backend, tmp_path):
    expected = np.load(OLD / "model" / "expected.npz")
    image = np.random.RandomState(0).randint(0, 256, (96, 320, 3), dtype=np.uint8)
    [found] = backend(unpack(f"model/student.{suffix}", tmp_path), "cpu", 1)(image[None], expected["P"][None])
    # Scores that differ by less than other processors round may have changed places.
    wanted = {name: expected[f"{suffix}_{name}"] for name in found._fields}
    for name, tolerance in (("scores", 1e-5), ("boxes", 1e-3), ("boxes2d", 1e-2), ("depth_std", 1e-3)):
        order = [np.lexsort(np.round(table["boxes"][:, :3].T, 1)) for table in (found._asdict(), wanted)]
        values, old_values = getattr(found, name)[order[0]], wanted[name][order[1]]
        np.testing.assert_allclose(values, old_values, rtol=1e-3, atol=tolerance, err_msg=name)
    assert sorted(found.labels) == sorted(wanted["labels"])


@pytest.mark.parametrize("name", [name for name in MODELS if (OLD / "keys" / f"{name}.json.gz").is_file()])
def test_the_weights_of_each_model_are_those_of_old_files(name):
    """In the same order, by which an optimizer's state is kept."""
    old = keys(name)
    detector = build(name)
    if name in RETRAINED:
        old_state = {key: torch.zeros(shape) for key, shape, _ in old["state_dict"]}
        with pytest.raises(RuntimeError, match=RETRAINED[name]):
            detector.load_state_dict(rename_detector_keys(old_state))
        return
    assert sum(p.numel() for p in detector.parameters()) == old["parameters"]
    renamed = rename_detector_keys({key: row for key, *row in old["state_dict"]})
    assert [[key, *row] for key, row in renamed.items()] == shapes(detector.state_dict())


@pytest.mark.parametrize("name", RUN_NAMES)
def test_what_training_has_beside_a_detector_is_that_of_old_files(name):
    old = keys(name)
    objective = objective_of(OLD / "keys" / f"{name}.config.yaml")
    module = LitDetector(old["model_name"], init_weights=None, objective=objective)
    renamed = rename_checkpoint_keys({key: row for key, *row in old["state_dict"]})
    assert [[key, *row] for key, row in renamed.items()] == shapes(module.state_dict())
    learnt = [p.ndim > 1 for p in module.parameters() if p.requires_grad]
    assert [sum(learnt), len(learnt) - sum(learnt)] == old["optimizer"]["groups"]
