"""Real trainings in processes of their own, which can be killed. One server imports torch once and forks them off."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

import lightning
import torch
import yaml
from support.paths import ROOT

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["support.training_warmup"])
TIMEOUT = 200  # seconds


def configure(path: Path, **changes: object) -> Path:
    """Write the smallest training there is: four streets an epoch, two steps of two 64x64 views."""
    data = {"world": {"width": 128, "height": 64, "focal": 360}, "count": 4, "val_count": 3, "batch_size": 2}
    data |= {"num_workers": 0, "augmentation": {"size": [64, 64]}}
    trainer = {"accelerator": "cpu", "max_epochs": 3, "log_every_n_steps": 1, "enable_progress_bar": False}
    config = {
        "model": {"name": "monodle_plain", "init_weights": None, **changes.pop("model", {})},
        "data": {"class_path": "training.data.data_module.WorldData", "init_args": data | changes.pop("data", {})},
        "trainer": trainer | {"enable_model_summary": False} | changes.pop("trainer", {}),
    }
    path.write_text(yaml.safe_dump(config | changes))
    return path


def depths(data: Mapping[str, Any]) -> set[str | None]:
    """Where depth comes from in the frames that a data module trains on: of one source, or of several mixed."""
    sources = data["train"] if isinstance(data.get("train"), list) else [data]
    return {source.get("depth") for source in sources}


class StopAfter(lightning.Callback):
    """Ends a training after a step, as a limit of time does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == self.step


class Training:
    """`python -m training ARGUMENTS` in `folder`, started at once; what it prints goes to `log`.

    before: called in the process first
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        environment: dict[str, str] | None = None,
        log: str = "log.txt",
        before: Callable[[], None] | None = None,
    ) -> None:
        self.log = folder / log
        words = [str(word) for word in arguments]
        _start_server()
        self.process = _SERVER.Process(target=_train, args=(folder, self.log, words, environment or {}, before))
        self.process.start()

    def finish(self) -> int:
        """Wait and return the exit status."""
        self.process.join(TIMEOUT)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"the training takes too long:\n{self.text()}")
        return self.process.exitcode

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text() if self.log.is_file() else ""


def _start_server() -> None:
    """Python's server does not take over sys.path before it imports what is preloaded."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "test")])
    with mock.patch.dict(os.environ, PYTHONPATH=paths):
        forkserver.ensure_running()


def lines_of(path: Path) -> int:
    """How many lines a file has so far."""
    try:
        return len(path.read_bytes().splitlines())
    except FileNotFoundError:  # not yet, or not any more: a run that starts afresh removes it
        return 0


def kill_when(run: Training, moment: Callable[[], bool]) -> bool:
    """SIGKILL as soon as `moment` is true; whether the run was still going."""
    end = time.monotonic() + TIMEOUT
    while run.process.is_alive() and time.monotonic() < end:
        if moment():
            run.process.kill()
            run.process.join()
            return True
        time.sleep(0.0005)
    return False


def _train(
    folder: Path, log: Path, arguments: list[str], environment: dict[str, str], before: Callable[[], None] | None
) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    with open(log, "w", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        from training.__main__ import main

        if before:
            before()
        sys.argv = ["training", *arguments]
        sys.exit(main(arguments))


def tensors(checkpoint: Path, *keys: str) -> dict[str, bytes]:
    """Every tensor under these keys of a checkpoint, by its path within it."""
    found: dict[str, bytes] = {}

    def visit(where: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            found[where] = (
                value.clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8).numpy().tobytes()
                if value.ndim
                else repr(value).encode()
            )
        elif isinstance(value, dict):
            for key, part in value.items():
                visit(f"{where}.{key}", part)
        elif isinstance(value, list | tuple):
            for k, part in enumerate(value):
                visit(f"{where}.{k}", part)

    whole = torch.load(checkpoint, weights_only=True)
    for key in keys:
        visit(key, whole[key])
    return found
