"""How a training ends when it is told to, and what must not end it."""

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context

import numpy as np
import pytest
from lightning.pytorch.loggers import Logger
from support.paths import ROOT
from support.training_bench import Training, configure

from training.checkpoints import load_checkpoint
from training.errors import TrainingError
from training.guarded_loggers import guard, threads_told
from training.plots import draw
from training.report.charts import precision_recall
from training.run_lock import lock

SLURM_TASK = {"SLURM_PROCID": "1"}
FOLDER = "runs/tiny"


def wait_until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_sigterm_ends_a_training_with_143_and_says_what_is_kept(tmp_path):
    config = configure(tmp_path / "tiny.yaml", trainer={"max_epochs": 600})
    command = [sys.executable, "-m", "training", "fit", "--config", str(config), "--run-dir", FOLDER]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    folder = tmp_path / FOLDER
    try:
        wait_until((folder / "last.ckpt").exists, run)
        second = Training(tmp_path, "fit", "--config", config, "--run-dir", FOLDER)
        assert second.finish() == 1 and f"is in use by another training (process {run.pid})" in second.text()
        # A second task of SLURM's that trains by itself is no part of the first one.
        task = Training(tmp_path, "fit", "--config", config, "--run-dir", FOLDER, "--resume", environment=SLURM_TASK)
        assert task.finish() == 1 and f"is in use by another training (process {run.pid})" in task.text()
        run.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, error = run.communicate(timeout=30)
        seconds = time.monotonic() - began
    finally:
        run.kill()
    said = error.decode()
    assert run.returncode == 143 and seconds < 6, said  # two seconds are the aim, on a machine that does nothing else
    assert "stopped by SIGTERM\n" in said and f"the last good checkpoint is {FOLDER}/last.ckpt" in said
    assert "Traceback" not in said
    assert load_checkpoint(folder / "last.ckpt")["run"]["epochs"] >= 1
    os.close(lock(folder))  # nobody holds it any more


def _hold(folder, held, done):
    descriptor = lock(folder)
    held.set()
    done.wait()
    os.close(descriptor)


def test_a_folder_is_locked_until_its_process_ends(tmp_path):
    context = get_context("fork")
    held, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, done))
    process.start()
    held.wait()
    with pytest.raises(TrainingError, match=rf"in use by another training \(process {process.pid}\)"):
        lock(tmp_path)
    process.kill()
    process.join()
    os.close(lock(tmp_path))


@pytest.mark.parametrize("title", ["a$x^$b", "$\\frac{$", "plain"])
def test_a_title_is_no_mathematics(title):
    rows = [{"step": 1, "train/loss": 2.0}, {"step": 2, "val/A$b^$_3d_moderate": 3.0}]
    assert draw(rows, title).startswith(b"\x89PNG")
    assert f"<!-- {title} -->" in precision_recall(np.ones((3, 41)), title)


def test_a_thread_that_fails_is_told_in_a_line(capsys):
    def fail():
        raise OSError("no\nspace")

    with threads_told():
        for _ in range(2):
            thread = threading.Thread(target=fail, name="writer")
            thread.start()
            thread.join()
    said = capsys.readouterr().err.splitlines()
    assert said == ["the thread writer failed, and the training goes on: OSError: no space"]


class Broken(Logger):
    """A logger whose server is gone."""

    name, version = "broken", ""

    def log_hyperparams(self, *_, **__):
        raise ConnectionError("no\nserver")

    def log_metrics(self, metrics, step=None):
        raise ConnectionError("no server")


def test_a_logger_that_fails_is_told_once(capsys):
    logger = guard(Broken())
    logger.log_hyperparams({})
    for step in range(3):
        logger.log_metrics({"a": 1.0}, step)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["logger Broken failed, and the training goes on: ConnectionError: no server"]
