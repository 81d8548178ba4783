"""Learning-rate schedules against closed forms."""

import math

import pytest

from training.schedule import Cosine, StepDecay


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
    assert StepDecay(())(0.0) == 1.0
