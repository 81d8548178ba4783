"""What a training step needs: live tensors against sums by hand, the line through two batches, and a real recipe."""

from __future__ import annotations

import pytest
import torch
from support.training_bench import configure

from training.memory import Need, main, table
from training.step_memory import LiveTensors

FLOATS = 1000


def test_live_tensors_are_counted_by_hand():
    with LiveTensors() as live:
        a = torch.ones(FLOATS)
        b = a + 1
        view = b[10:20]  # of the same memory
        del a
        c = b * view.sum()
    assert live.bytes == 4 * 2 * FLOATS
    assert live.peak == 4 * (2 * FLOATS + 1)  # b, c and the sum
    del b, view, c
    assert live.bytes == 0


@pytest.mark.parametrize("frames", [1, 3])
def test_a_layers_step_by_hand(frames):
    """Forward keeps the input of the square; backward holds, beside it, two gradients of its size at once."""
    weight = torch.ones(FLOATS, requires_grad=True)
    batch = torch.ones(frames, FLOATS)
    with LiveTensors([weight, batch]) as live:
        assert live.bytes == 4 * FLOATS * (1 + frames)
        kept = batch * weight
        assert live.bytes == 4 * FLOATS * (1 + 2 * frames)
        loss = (kept**2).sum()  # the squares are needed by nobody after the sum
        assert live.bytes == 4 * FLOATS * (1 + 2 * frames) + 4
        assert live.peak == 4 * FLOATS * (1 + 3 * frames) + 4
        loss.backward()
        assert weight.grad is not None and live.bytes >= 4 * FLOATS * (2 + 2 * frames)


def test_what_fits_a_gpu():
    need = Need.of({1: 3.0, 2: 5.0, 4: 9.0})
    assert (need.fixed, need.per_frame) == pytest.approx((1.0, 2.0))
    assert need.peak(16) == pytest.approx(33.0)
    # 12 GB: 0.9 * 12 - 0.6 = 10.2 hold 4 frames (9 GB), not 8 (17 GB); of 24 GB, 21 hold 8.
    assert [need.fitting(gpu, 16) for gpu in (3, 4, 12, 24, 80)] == [None, 1, 4, 8, 16]
    assert need.fitting(24, 10) == 10  # parts divide the batch: 21 GB are just enough
    assert need.fitting(12, 3) == 3 and need.fitting(12, 7) == 1
    text = table({"32-true": need}, 16)
    assert "16 frames: 33.0 GB" in text
    assert "12 GB  32-true     --data.batch_size 4 --trainer.accumulate_grad_batches 4  (9.0 GB)" in text


def test_a_recipe_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # errors in tests alone
    config = configure(
        tmp_path / "tiny.yaml",
        model={"name": "monodle_lite0"},
        data={"batch_size": 8},
        trainer={"accumulate_grad_batches": 2},
    )
    more = ["--model.objective", "training.objectives.ADDDistillation", "--model.objective.teacher", "none.ckpt"]
    for extra in ([], [*more, "--data.depth", "object"]):
        assert main(["--config", str(config), "--precisions", "32-true", *extra]) == 0
    said = capsys.readouterr().out
    first, second = (
        float(line.split(" 2 frames ")[1].split()[0]) for line in said.splitlines() if " 2 frames " in line
    )
    assert 0 < first < second  # a teacher needs memory too
    assert "for batches of 16:" in said and "measured on cpu" in said
    assert main(["--config", str(config), "--batches", "2"]) == 1
    assert "give two numbers of frames" in capsys.readouterr().err
