"""Loggers of one's own by an overlay, beside the run folder's metrics.csv and TensorBoard."""

import csv
import site
from functools import partial

import pytest
import yaml
from support.paths import ROOT
from support.training_bench import Training, configure

from training.metrics import read_metrics

pytestmark = pytest.mark.slow


def start(folder, overlay, **environment):
    tiny = configure(folder / "tiny.yaml", trainer={"max_epochs": 1})
    before = partial(site.addsitedir, str(folder))
    return Training(folder, "fit", "--config", tiny, "--config", overlay, environment=environment, before=before)


def overlay(folder, logger):
    path = folder / "logged.yaml"
    path.write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    return path


def test_any_logger_of_lightnings_logs_what_the_run_folder_has(tmp_path):
    given = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "own", "name": "mine"}}
    run = start(tmp_path, overlay(tmp_path, given))
    assert run.finish() == 0, run.text()
    folder = tmp_path / "runs" / "tiny+logged"
    own = list(csv.DictReader((tmp_path / "own/mine/version_0/metrics.csv").read_text().splitlines()))
    kept = read_metrics(folder / "metrics.csv")
    losses = [row["train/loss"] for row in own if row.get("train/loss")]
    assert losses and [float(loss) for loss in losses] == pytest.approx(
        [r["train/loss"] for r in kept if "train/loss" in r]
    )
    assert list(folder.glob("**/events.out.tfevents.*"))


def test_a_logger_whose_package_is_missing_says_which_in_one_line(tmp_path):
    (tmp_path / "own_logger.py").write_text(
        "from lightning.pytorch.loggers import CSVLogger\n\nclass Paid(CSVLogger):\n"
        "    def __init__(self, save_dir: str = 'x') -> None:\n        import paid_service\n"
    )
    run = start(tmp_path, overlay(tmp_path, {"class_path": "own_logger.Paid"}))
    assert run.finish() == 1
    assert run.text().strip().splitlines()[-1].startswith("error: ") and "paid_service" in run.text()
    assert "Traceback" not in run.text()


def test_weights_and_biases_logs_offline(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    run = start(tmp_path, ROOT / "config/train/overlays/wandb.yaml", WANDB_MODE="offline", WANDB_SILENT="true")
    assert run.finish() == 0, run.text()
    assert list(tmp_path.glob("**/offline-run-*/*.wandb"))
    assert read_metrics(tmp_path / "runs/tiny+wandb/metrics.csv")
