"""Hierarchical Task Learning: weights by hand, and in a training that is stopped and goes on."""

from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from support.training_bench import Training, configure

from training.errors import TrainingError
from training.task_learning import WAITS_FOR, HierarchicalTaskLearning, fall, task_weights

Precision = type("Precision", (), {"train_step_context": staticmethod(nullcontext)})
SETTLING = {"size_2d": [9, 7, 6, 5, 4], "offset_2d": [5, 4, 3, 3, 3], "size_3d": [4, 4, 3, 2, 2]}


def test_a_fall_is_that_of_two_epochs():
    assert fall([9, 7, 6, 5, 4]) == pytest.approx(((9 - 6) + (7 - 5) + (6 - 4)) / 3)


def test_weights_are_those_of_the_paper():
    """t^(1 - c), c the product of 1 - fall / first fall over the losses before."""
    first = {"size_2d": 14 / 3, "offset_2d": 4.0, "size_3d": 2.0}
    settled = {"size_2d": 1 - (7 / 3) / (14 / 3), "offset_2d": 1 - 1 / 4, "size_3d": 1 - (4 / 3) / 2}
    of_two = 0.3 ** (1 - settled["size_2d"] * settled["offset_2d"])
    wanted = {"offset_3d": of_two, "size_3d": of_two, "heading": of_two}
    wanted["depth"] = 0.3 ** (1 - settled["size_2d"] * settled["offset_2d"] * settled["size_3d"])
    assert task_weights(SETTLING, first, 0.3) == pytest.approx(wanted)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_losses_that_rise_or_stand_still_count_as_settled(share):
    still = {name: [2.0] * 5 for name in SETTLING}
    assert set(task_weights(still, dict.fromkeys(still, 1.0), share).values()) == {1.0}
    assert set(task_weights(still, dict.fromkeys(still, 0.0), share).values()) == {1.0}


def test_at_the_end_all_losses_count_in_full():
    assert set(task_weights(SETTLING, dict.fromkeys(SETTLING, 1.0), 1.0).values()) == {1.0}


NAMES = ("heatmap", "offset_2d", "size_2d", *WAITS_FOR)


def run(callback, epochs, first=0, length=20, losses=lambda pass_, name: 10.0 / (1 + pass_), names=NAMES):
    """The weights of each epoch; the callback sees two batches in each pass over the frames, the first of which is
    before training."""

    def at(pass_, batch):
        return {name: torch.tensor(losses(pass_, name) * (0.5 + batch)) for name in names}

    module = SimpleNamespace(loss_weights={}, losses=lambda batch: at(0, batch))
    module.of_all_processes = lambda losses: torch.stack(list(losses.values()))
    trainer = SimpleNamespace(num_training_batches=2, accumulate_grad_batches=1, precision_plugin=Precision())
    trainer.estimated_stepping_batches = 2 * length  # by max_epochs or max_steps, whichever ends the training first
    trainer.datamodule = SimpleNamespace(train_dataloader=lambda: range(3))
    trainer.strategy = SimpleNamespace(batch_to_device=lambda batch: batch)
    callback.on_train_start(trainer, module)
    seen = []
    for epoch in range(first, epochs):
        trainer.current_epoch = epoch
        callback.on_train_epoch_start(trainer, module)
        seen.append(dict(module.loss_weights))
        for batch in range(2):
            trainer.callback_metrics = {f"train/{name}": value for name, value in at(1 + epoch, batch).items()}
            callback.on_train_batch_end(trainer, module, None, None, batch)
        callback.on_train_epoch_end(trainer, module)
    return seen


def test_3d_losses_wait_for_five_epochs_and_then_rise():
    weights = run(HierarchicalTaskLearning(), 20)
    depth = [w["depth"] for w in weights]
    assert depth[:6] == [0.0] * 6 and set(weights[0]) == set(WAITS_FOR)
    assert all(a < b for a, b in pairwise(depth[5:])) and depth[-1] > 0.8


def test_an_epochs_weights_are_those_of_the_losses_before_its_last_one():
    """By hand, for losses of 10 / n in pass n, of which the first is before training."""
    weights = run(HierarchicalTaskLearning(), 8)
    first = (10 + 5 - 10 / 4 - 10 / 5) / 3  # passes 1 to 5: their inner terms cancel but for the two ends
    eighth = (10 / 3 + 10 / 4 - 10 / 6 - 10 / 7) / 3  # epoch 7: passes 3 to 7, the eighth has just ended
    settled = 1 - eighth / first
    assert weights[7]["heading"] == pytest.approx((2 / 15) ** (1 - settled**2))
    assert weights[7]["depth"] == pytest.approx((2 / 15) ** (1 - settled**3))


def test_losses_have_their_full_weight_at_the_end_however_the_training_is_ended():
    for length in (10, 20, 40):
        assert run(HierarchicalTaskLearning(), length, length=length)[-1]["depth"] > 0.8


def test_a_resumed_run_has_the_same_weights():
    whole = run(HierarchicalTaskLearning(), 12)
    before, after = HierarchicalTaskLearning(), HierarchicalTaskLearning()
    begun = run(before, 7)
    after.load_state_dict(before.state_dict())
    assert begun + run(after, 12, first=7) == whole


def test_a_detector_with_other_losses_is_refused():
    with pytest.raises(TrainingError, match="this detector has no offset_2d, size_2d"):
        run(HierarchicalTaskLearning(), 1, names=("heatmap", *WAITS_FOR))


@pytest.mark.slow
def test_a_training_leaves_3d_losses_out_of_its_first_epochs(tmp_path):
    callbacks = [{"class_path": "training.task_learning.HierarchicalTaskLearning"}]
    config = configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 1, "callbacks": callbacks})
    training = Training(tmp_path, "fit", "--config", config)
    assert training.finish() == 0, training.text()
    header, *rows = (tmp_path / "runs/tiny/metrics.csv").read_text().splitlines()
    columns = header.split(",")
    every = [dict(zip(columns, row.split(","), strict=True)) for row in rows]
    row = next(row for row in every if row["train/loss"])
    whole = sum(float(row[f"train/{name}"]) for name in ("heatmap", "offset_2d", "size_2d"))
    assert float(row["train/loss"]) == pytest.approx(whole, rel=1e-4)
    kept = torch.load(tmp_path / "runs/tiny/last.ckpt", weights_only=True)["callbacks"]
    before, first = kept["HierarchicalTaskLearning"]["past"]["heatmap"]
    assert before == pytest.approx(first, rel=0.1) and before != first  # of the same streets, then of trained weights
