"""Several seeds: each trained for itself, mean and spread reported."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from support.paths import ROOT
from support.training_bench import Training, configure

from training.errors import TrainingError
from training.metrics import read_metrics
from training.seeds import format_report, main, summarise

BY = "val/Car_3d_moderate"


def test_last_and_best_epochs_by_hand():
    rows = {
        3: [{"step": 1, "epoch": 0, BY: 4.0}, {"step": 2, "epoch": 1}, {"step": 3, "epoch": 1, BY: 1.0}],
        8: [{"step": 1, "epoch": 0, BY: 2.0}, {"step": 3, "epoch": 1, BY: 5.0}],
        9: [{"step": 1, "epoch": 0, BY: 6.0}, {"step": 3, "epoch": 1, BY: 6.0}],
    }
    report = summarise(rows, BY)
    assert report["last"][BY]["values"] == [1, 5, 6]
    assert report["best"][BY]["values"] == [4, 5, 6]
    assert report["epochs"] == {"last": [1, 1, 1], "best": [0, 1, 0]}
    for which, values in (("last", [1, 5, 6]), ("best", [4, 5, 6])):
        assert report[which][BY]["mean"] == pytest.approx(np.mean(values))
        assert report[which][BY]["spread"] == pytest.approx(np.std(values, ddof=1))
    assert "4.00 +- 2.65" in format_report(report)
    alone = summarise({3: rows[3]}, BY)
    assert alone["last"][BY] == {"mean": 1.0, "spread": None, "values": [1.0]}
    (line,) = [line for line in format_report(alone).splitlines() if line.startswith("Car 3d moderate")]
    assert line.split() == ["Car", "3d", "moderate", "1.00", "4.00", "(1.00)"]  # one seed has no spread, not one of 0
    assert "+-" not in format_report(alone)
    with pytest.raises(TrainingError, match=f"seed 3 has no {BY}"):
        summarise({3: [{"step": 1}]}, BY)


@pytest.mark.slow
def test_seeds_train_differently_and_finished_ones_are_kept(tmp_path, monkeypatch, capsys):
    config = configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 1})
    arguments = ["--config", str(config), "--out", str(tmp_path / "out"), "--seeds", "0", "1"]

    def train(command, **_):
        """The same in a process that has Lightning already."""
        assert command[:3] == [sys.executable, "-m", "training"]
        run = Training(tmp_path, *command[3:])
        return subprocess.CompletedProcess(command, run.finish(), run.text())

    monkeypatch.setattr("training.seeds.subprocess.run", train)
    assert main(arguments) == 0
    assert "Car 3d moderate" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "seeds.json").read_text())
    assert report["seeds"] == [0, 1]
    losses = [read_metrics(tmp_path / "out" / f"seed_{seed}" / "metrics.csv")[0]["train/loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]

    # Started again: nothing is trained anew. Finished runs need no real process to show that.
    commands = []
    monkeypatch.setattr(
        "training.seeds.subprocess.run",
        lambda words, **_: commands.append(words) or subprocess.CompletedProcess(words, 0),
    )
    assert main([*arguments, "--data", "x"]) == 0
    assert all("--resume" in words and words[words.index("--data") + 1] == "x" for words in commands)
    assert json.loads((tmp_path / "out" / "seeds.json").read_text()) == report


@pytest.mark.slow
def test_the_module_is_the_same_command():
    for module in (["training", "seeds"], ["training.seeds"]):
        done = subprocess.run([sys.executable, "-m", *module], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "add-ros seeds: error: the following arguments are required: -c/--config" in done.stderr
