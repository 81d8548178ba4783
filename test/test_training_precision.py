"""Trainings in half precision, as GPUs and some CPUs are fast at."""

import pytest
from training_bench import Training, configure

from training.metrics import read_metrics


@pytest.mark.parametrize("clip", [None, 10.0])
def test_mixed_precision_trains_with_and_without_clipping(tmp_path, clip):
    trainer = {"precision": "bf16-mixed", "gradient_clip_val": clip, "max_epochs": 1}
    config = configure(tmp_path / "tiny.yaml", model={"model": "monodle_plain"}, trainer=trainer)
    run = Training(tmp_path, "fit", "--config", config)
    assert run.finish() == 0, run.text()
    first, second = read_metrics(tmp_path / "runs" / "tiny" / "metrics.csv")[:2]
    assert first["train/loss"] != second["train/loss"]
