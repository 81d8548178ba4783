"""A training that SIGKILL ends again and again: it goes on each time, and learns what an undisturbed one does."""

from __future__ import annotations

import csv
import subprocess
import time
from pathlib import Path

import numpy as np
import yaml
from soak_inputs import kill, start

from training.checkpoints import load_checkpoint
from training.errors import TrainingError

KILLS = 20
_PATIENCE = 180.0  # seconds for a start and an epoch
_FIT = ["fit", "--config", "tiny.yaml", "--resume", "--run-dir"]


def config() -> str:
    """A training of the synthetic world whose epochs take a second."""
    data = {"world": {"width": 128, "height": 64, "focal": 360}, "count": 4, "val_count": 3, "batch_size": 2}
    data |= {"num_workers": 0, "augmentation": {"size": [64, 64]}}
    return yaml.safe_dump(
        {
            "model": {"name": "monodle_lite0", "init_weights": None},
            "data": {"class_path": "training.data.data_module.WorldData", "init_args": data},
            "trainer": {"accelerator": "cpu", "max_epochs": 100_000, "enable_progress_bar": False},
        }
    )


def training(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): checkpoints are readable, epochs never go back, losses are those of an undisturbed run."""
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    (folder / "tiny.yaml").write_text(config())
    kills, epochs, wrong = 0, 0, []
    while kills < KILLS and time.monotonic() < end and not wrong:
        process = start([*_FIT, "run"], folder)
        _wait_for_epoch(process, folder / "run", epochs + 1)
        time.sleep(rng.uniform(0, 1.5))
        if not kill(process):
            wrong.append(f"it ended by itself with {process.returncode}")
        kills += 1
        now = _epochs(folder / "run")
        if now <= epochs:
            wrong.append(f"{now} epochs after {epochs}")
        epochs = now
    whole = start([*_FIT, "whole"], folder)
    _wait_for_epoch(whole, folder / "whole", epochs, _PATIENCE + 5.0 * epochs)
    kill(whole)
    first, second = (_losses(folder / name, epochs) for name in ("run", "whole"))
    if not first or first != second:
        wrong.append(f"losses of {len(first)} rows differ from {len(second)} undisturbed ones")
    worst = f"; not survived: {', '.join(wrong)}" if wrong else f", {len(first)} rows of losses as undisturbed"
    return f"{kills} SIGKILLs, gone on each time, {epochs} epochs{worst}", len(wrong)


def _wait_for_epoch(process: subprocess.Popen[str], run: Path, epochs: int, patience: float = _PATIENCE) -> None:
    end = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end and _epochs(run) < epochs:
        time.sleep(0.05)


def _epochs(run: Path) -> int:
    """Those of the last checkpoint; -1 where it can't be read."""
    if not (run / "last.ckpt").exists():
        return 0
    try:
        return load_checkpoint(run / "last.ckpt")["run"]["epochs"]
    except TrainingError:
        return -1


def _losses(run: Path, epochs: int) -> list[dict[str, str]]:
    """The rows of metrics.csv of these epochs."""
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [
        {k: v for k, v in row.items() if "time" not in k and "second" not in k and "memory" not in k} for row in rows
    ]
    return [row for row in kept if row.get("epoch") and float(row["epoch"]) < epochs]
