"""Learning-rate schedules against closed forms."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch

from training.schedule import Cosine, OneCycle, StepDecay


def test_step_decay_falls_at_its_milestones():
    schedule = StepDecay(milestones=(0.6, 0.8), factor=0.1)
    assert [schedule(p) for p in (0.0, 0.59, 0.6, 0.79, 0.8, 1.0)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert StepDecay(milestones=(0.5,))(0.5) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", [StepDecay((0.9,), warmup_fraction=0.2), Cosine(warmup_fraction=0.2, final=1.0)])
def test_the_warm_up_is_linear_from_one_hundredth(schedule):
    assert [schedule(p) for p in (0.0, 0.05, 0.1, 0.2, 0.3)] == pytest.approx([0.01, 0.2575, 0.505, 1.0, 1.0])


def test_the_cosine_falls_from_one_to_its_final_value():
    schedule = Cosine(warmup_fraction=0.1, final=0.02)
    assert schedule(0.1) == pytest.approx(1.0)
    assert schedule(0.55) == pytest.approx(0.02 + 0.98 * 0.5)
    assert schedule(0.1 + 0.9 / 3) == pytest.approx(0.02 + 0.98 * (1 + math.cos(math.pi / 3)) / 2)
    assert schedule(1.0) == pytest.approx(0.02)
    assert schedule(1.1) == pytest.approx(0.02)  # a resumed run may end a step late
    assert Cosine()(1.0) == pytest.approx(0.01) and Cosine()(0.05) == pytest.approx(1.0)


def test_without_a_warm_up_the_first_step_has_the_whole_rate():
    assert Cosine(warmup_fraction=0.0)(0.0) == pytest.approx(1.0)
    assert StepDecay(())(0.0) == StepDecay((), warmup="cosine")(0.0) == 1.0


@pytest.mark.parametrize("kind", [Cosine, OneCycle])
def test_a_warm_up_may_last_for_the_whole_training_or_not_at_all(kind):
    assert kind(warmup_fraction=1.0)(1.0) == pytest.approx(1.0)
    assert kind(warmup_fraction=0.0)(0.0) == pytest.approx(1.0)
    assert kind(warmup_fraction=0.0)(1.0) == pytest.approx(kind().final)
    assert kind()(1.1) == pytest.approx(kind().final)  # a resumed run may end a step late


@pytest.mark.parametrize("schedule", [StepDecay(()), Cosine(), OneCycle()])
def test_a_schedule_stays_as_it_was_configured(schedule):
    with pytest.raises(FrozenInstanceError):
        schedule.warmup_fraction = 0.5


def test_a_warm_up_along_a_cosine_is_monodles():
    """Published: 1e-5 + (lr - 1e-5) (1 - cos(pi epoch / 5)) / 2 with lr 1.25e-3: from 0.8% of it, here 1%."""
    schedule = StepDecay((0.9,), warmup_fraction=5 / 140, warmup="cosine")
    for epoch in range(6):
        published = (1e-5 + (1.25e-3 - 1e-5) * (1 - math.cos(math.pi * epoch / 5)) / 2) / 1.25e-3
        assert schedule(epoch / 140) == pytest.approx(published, abs=0.0021)
    assert schedule(0.2) == 1.0


def test_one_cycle_is_that_of_torch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1.0)
    # div_factor: lr / start; final_div_factor: start / end, as in OpenPCDet's copy of fastai.
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=0.4, div_factor=10, final_div_factor=1e4, base_momentum=0.85,
        max_momentum=0.95,
    )  # fmt: skip
    schedule = OneCycle()
    for step in range(101):
        progress = step / 100  # torch's rise ends a step earlier
        group = optimizer.param_groups[0]
        assert schedule(progress) == pytest.approx(group["lr"], abs=0.02)
        assert schedule.momentum(progress) == pytest.approx(group["betas"][0], abs=2e-3)
        optimizer.step()
        if step < 100:
            peer.step()
    assert schedule(0.0) == pytest.approx(0.1) and schedule(0.4) == 1.0 and schedule(1.0) == pytest.approx(1e-5)
    assert Cosine().momentum(0.5) is None
