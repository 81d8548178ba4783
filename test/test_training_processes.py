"""Two processes train as one does: the same gradients, and every frame scored once."""

from __future__ import annotations

import csv
import socket

import numpy as np
import pytest
from training_bench import Training, configure

from training.checkpoints import load_checkpoint

FRAMES = 4


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def gradients(checkpoint):
    """Of the only step, by parameter: after one step Adam's first moment is a tenth of the gradient."""
    return [state["exp_avg"].numpy() * 10 for state in checkpoint["optimizer_states"][0]["state"].values()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(one process with a batch of 4, two processes with 2 each): run folders after a single step."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    model = {"start": "imagenet", "frozen_norms": True}
    for folder, size in ((one, FRAMES), (two, FRAMES // 2)):
        configure(folder / "tiny.yaml", model=dict(model), data={"batch_size": size}, trainer={"max_epochs": 1})
    alone = Training(one, "fit", "--config", one / "tiny.yaml")
    port = free_port()
    shares = []
    for rank in range(2):  # with what torchrun sets
        torchrun = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}
        torchrun |= {"GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "none"}
        words = "fit", "--config", two / "tiny.yaml", "--trainer.strategy", "ddp", "--trainer.devices", 2
        environment = {key: str(value) for key, value in torchrun.items()}
        shares.append(Training(two, *words, environment=environment, log=f"log{rank}.txt"))
    for run in (alone, *shares):
        assert run.finish() == 0, run.text()
    return one / "runs" / "tiny", two / "runs" / "tiny"


def test_gradients_equal_those_of_one_process(runs):
    one, two = (gradients(load_checkpoint(folder / "last.ckpt")) for folder in runs)
    assert len(one) > 150
    largest = max(np.abs(gradient).max() for gradient in one)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * largest)
        np.testing.assert_allclose(np.linalg.norm(b - a), 0, atol=1e-5 * max(np.linalg.norm(a), 1e-2 * largest))


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_losses_are_those_of_the_whole_batch_and_frames_are_scored_once(runs):
    one, two = map(rows, runs)
    names = [name for name in one[0] if name.startswith("train/")]
    assert len(names) == 9
    for name in names:
        assert float(two[0][name]) == pytest.approx(float(one[0][name]), rel=1e-5), name
    assert one[1]["val/frames"] == two[1]["val/frames"] == "3.0"
    scored = [name for name in one[1] if name.startswith("val/")]
    assert [two[1][name] for name in scored] == [one[1][name] for name in scored]
