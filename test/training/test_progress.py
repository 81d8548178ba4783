"""What a training prints where there is no terminal: what is trained, a line an epoch, the table; nothing else."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest
from support.training_bench import Training, configure

from training.__main__ import main
from training.data import data_module
from training.metrics import read_metrics
from training.progress import silence_lightning

EPOCH = re.compile(
    r"epoch (\d)/2, loss \d+\.\d{3}, val/Car_3d_moderate \d+\.\d\d \(best \d+\.\d\d\), "
    r"\d+\.\d images/s, \d+:\d\d:\d\d left"
)


@pytest.mark.slow
def test_one_line_an_epoch_and_losses_in_metrics_however_few_steps(tmp_path):
    trainer = {"max_epochs": 2, "log_every_n_steps": 50, "enable_progress_bar": None, "enable_model_summary": None}
    run = Training(tmp_path, "fit", "--config", configure(tmp_path / "tiny.yaml", trainer=trainer))
    assert run.finish() == 0, run.text()
    first, *epochs = run.text().split("AP_R40, strict overlap")[0].splitlines()
    assert first == "training monodle_plain on cpu: 1.1 of 1.1 M parameters, 2 steps an epoch -> runs/tiny"
    assert [EPOCH.fullmatch(line)[1] for line in epochs] == ["1", "2"], epochs
    assert epochs[-1].endswith(" 0:00:00 left")
    *_, last_epochs, best, last = run.text().splitlines()
    assert last_epochs.startswith("last val/Car_3d_moderate: ") and last_epochs.endswith("(runs/tiny/last.ckpt)")
    assert best.startswith("best val/Car_3d_moderate: ") and last == "2 epochs, 4 steps -> runs/tiny"
    rows = read_metrics(tmp_path / "runs/tiny/metrics.csv")
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert len(losses) == 2 and [row["step"] for row in rows] == [1, 1, 3, 3]


PART = re.compile(r"epoch 1/2, (\d) of 2 batches, loss \d+\.\d{3}, \d+\.\d images/s(, \d:\d\d:\d\d left)?")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_long_epochs_and_scorings_print_how_far_they_are(tmp_path, monkeypatch, capfd):
    """In this process, where the intervals can be made short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.progress.LONG_EPOCH", 0.0)
    monkeypatch.setattr("training.progress_bar.FIRST_LINE", 0.0)
    monkeypatch.setattr("training.progress_bar.NEXT_LINE", 0.0)
    trainer = {"max_epochs": 2, "max_steps": 2, "enable_progress_bar": None}
    config = str(configure(tmp_path / "tiny.yaml", trainer=trainer))
    assert main(["fit", "--config", config]) == 0
    parts = [found[1] for line in capfd.readouterr().out.splitlines() if (found := PART.fullmatch(line))]
    assert parts == ["1", "2"]
    for command in ("validate", "test"):
        assert main([command, "--config", config]) == 0
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith(f"{command}: ")]
        assert [line.split(" frames, ")[0] for line in lines] == [f"{command}: {n} of 3" for n in (1, 2, 3)]


def test_notes_are_printed_though_lightnings_remarks_are_not(monkeypatch, capsys):
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    try:
        silence_lightning()
        data_module._tell_notes([SimpleNamespace(folder="data", notes=["1 'Forklift'", "2 images have 16 bits"])])
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
    assert capsys.readouterr().err == "note: data: 1 'Forklift'\nnote: data: 2 images have 16 bits\n"
