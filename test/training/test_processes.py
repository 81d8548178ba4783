"""Two processes train as one does: the same gradients, and every frame scored once."""

from __future__ import annotations

import csv
import socket

import numpy as np
import pytest
from support.training_bench import Training, configure

from training.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow

FRAMES = 4


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def gradients(checkpoint):
    """Of the only step, by parameter: after one step Adam's first moment is a tenth of the gradient."""
    return [state["exp_avg"].numpy() * 10 for state in checkpoint["optimizer_states"][0]["state"].values()]


def in_two_processes(config):
    """Both runs of `fit`, started with what torchrun sets."""
    port, shares = free_port(), []
    for rank in range(2):
        torchrun = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}
        torchrun |= {"GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "none"}
        words = "fit", "--config", config, "--trainer.strategy", "ddp", "--trainer.devices", 2
        environment = {key: str(value) for key, value in torchrun.items()}
        shares.append(Training(config.parent, *words, environment=environment, log=f"{config.stem}{rank}.txt"))
    return shares


@pytest.fixture(scope="module", params=["monodle_lite0", "caddn_plain"])
def runs(request, tmp_path_factory):
    """(one process with a batch of 4, two processes with 2 each): run folders after a single step."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    published = request.param == "monodle_lite0"
    model = {"name": request.param, "init_weights": "imagenet" if published else None, "freeze_bn": True}
    depth = {} if published else {"depth": "object"}  # cells of known depth are not as many in each process
    for folder, size in ((one, FRAMES), (two, FRAMES // 2)):
        data = {"batch_size": size, **depth}
        configure(folder / "tiny.yaml", model=dict(model), data=data, trainer={"max_epochs": 1})
    alone = Training(one, "fit", "--config", one / "tiny.yaml")
    for run in (alone, *in_two_processes(two / "tiny.yaml")):
        assert run.finish() == 0, run.text()
    return one / "runs" / "tiny", two / "runs" / "tiny"


def test_gradients_equal_those_of_one_process(runs):
    checkpoints = [load_checkpoint(folder / "last.ckpt") for folder in runs]
    one, two = map(gradients, checkpoints)
    tolerance = 1e-5 if checkpoints[0]["model_name"] == "monodle_lite0" else 5e-5
    assert len(one) > (150 if tolerance < 2e-5 else 50)
    largest = max(np.abs(gradient).max() for gradient in one)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * largest)
        np.testing.assert_allclose(np.linalg.norm(b - a), 0, atol=tolerance * max(np.linalg.norm(a), 1e-2 * largest))


@pytest.mark.parametrize("model", ["monodle_plain", "caddn_plain", "monodetr_plain"])
def test_a_teacher_and_its_student_train_in_two_processes(model, tmp_path):
    """What has no gradient would leave the processes waiting for each other, or stop them."""
    data = {"batch_size": 1, "depth": "dense"}
    teacher = tmp_path / "runs" / "teacher" / "last.ckpt"
    objectives = {
        "teacher": {"class_path": "training.objectives.TeacherTraining"},
        "all": {"class_path": "training.objectives.ADDDistillation", "init_args": {"teacher": str(teacher)}},
        "some": {
            "class_path": "training.objectives.ADDDistillation",
            "init_args": {"teacher": str(teacher), "encoding": "none", "targets": {"weight": 0}},
        },
    }
    for name, objective in objectives.items():
        config = tmp_path / f"{name}.yaml"
        options = {"name": model, "init_weights": None, "objective": objective}
        configure(config, model=options, data=dict(data), trainer={"max_epochs": 1})
        for run in in_two_processes(config):
            assert run.finish() == 0, run.text()
        assert len(rows(tmp_path / "runs" / name)) == FRAMES // 2 + 1


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_losses_are_those_of_the_whole_batch_and_frames_are_scored_once(runs):
    one, two = map(rows, runs)
    names = [name for name in one[0] if name.startswith("train/")]
    assert len(names) == (9 if "train/heatmap" in names else 6)
    for name in names:
        assert float(two[0][name]) == pytest.approx(float(one[0][name]), rel=1e-5), name
    assert one[1]["val/frames"] == two[1]["val/frames"] == "3.0"
    scored = [name for name in one[1] if name.startswith("val/")]
    assert [two[1][name] for name in scored] == [one[1][name] for name in scored]
