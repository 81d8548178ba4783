"""What a training prints: what is trained, and where there is no terminal one line an epoch."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from training.checkpoint_writing import KeepCheckpoints
from training.progress_bar import Lines
from training.reported_errors import print_notes

LONG_EPOCH = 300.0  # seconds after which an epoch prints how far it is, and so on

# Of Lightning and torch, about what nobody who trains can or should change.
_IDLE_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"The number of training batches .* is smaller than the logging interval",
    r"The '\w+' does not have many workers",
)


def silence_lightning() -> None:
    """Leave out Lightning's adverts and its remarks on devices and defaults; warnings and errors stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


@rank_zero_only
def say(text: str) -> None:
    """Print, in one process only."""
    print(text, flush=True)


@rank_zero_only
def say_note(text: str) -> None:
    """Print what is unusual on stderr, in one process only: what Lightning's logger is given is left out."""
    print_notes([text])


class Progress(Callback):
    """Says what is trained, and with `lines` after each epoch its loss, score, images per second and the time left.

    It also makes Lightning log at least once an epoch, however few steps that has.
    """

    def __init__(self, keeper: KeepCheckpoints, lines: bool) -> None:
        self._keeper, self._lines = keeper, lines
        self._began, self._first_step = 0.0, 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Say what is trained, and lower the interval of logging where it is longer than an epoch."""
        self._began, self._first_step = time.monotonic(), trainer.global_step
        batches = trainer.num_training_batches
        steps = math.ceil(batches / trainer.accumulate_grad_batches) if math.isfinite(batches) else batches
        limits = [trainer.log_every_n_steps, steps, trainer.max_steps if trainer.max_steps > 0 else math.inf]
        if trainer.log_every_n_steps:  # 0 is for no logging at all
            trainer.log_every_n_steps = max(1, int(min(limits)))
        sizes = [(p.numel(), p.requires_grad) for p in pl_module.parameters()]
        all_of, trained = sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)
        device = pl_module.device.type + (f" x {trainer.world_size}" if trainer.world_size > 1 else "")
        say(
            f"training {pl_module.model_name} on {device}: {trained / 1e6:.1f} of {all_of / 1e6:.1f} M parameters, "
            f"{steps} steps an epoch -> {self._keeper.folder}"
        )

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Begin to count."""
        self._images, self._losses, self._loss = 0, 0, 0.0
        self._start, self._trained = time.monotonic(), None
        self._due = self._start + LONG_EPOCH

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, _: int) -> None:
        """Add a batch; in a long epoch, print how far it is."""
        self._images += len(batch.images)
        self._losses += 1
        self._loss = self._loss + outputs["loss"].detach() * trainer.accumulate_grad_batches
        if self._lines and time.monotonic() >= self._due:
            self._due = time.monotonic() + LONG_EPOCH
            of = f" of {trainer.num_training_batches}" if math.isfinite(trainer.num_training_batches) else ""
            done = f"{self._epoch(trainer)}, {self._losses}{of} batches"
            say(", ".join([done, *self._mean_loss(), *self._pace(trainer)]))

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Validation is no training: its time does not count in images per second."""
        self._trained = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Print the epoch's line. The keeper of checkpoints, which knows the best so far, comes after this."""
        if not self._lines:
            return
        parts = [self._epoch(trainer), *self._mean_loss()]
        monitor = self._keeper.monitor
        if self._trained is not None and monitor in pl_module.validation:
            value = pl_module.validation[monitor]
            parts.append(f"{monitor} {value:.2f} (best {max(value, self._keeper.best):.2f})")
        say(", ".join([*parts, *self._pace(trainer)]))

    def _epoch(self, trainer: lightning.Trainer) -> str:
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        return f"epoch {trainer.current_epoch + 1}{of}"

    def _mean_loss(self) -> list[str]:
        return [f"loss {float(self._loss) / self._losses:.3f}"] if self._losses else []

    def _pace(self, trainer: lightning.Trainer) -> list[str]:
        """Images per second in this epoch, and the time left."""
        parts, now = [], time.monotonic()
        seconds = (self._trained or now) - self._start
        if seconds > 0:
            parts.append(f"{self._images * trainer.world_size / seconds:.1f} images/s")
        done, steps = trainer.global_step - self._first_step, trainer.estimated_stepping_batches
        if done and math.isfinite(steps):
            left = (now - self._began) * max(0, steps - trainer.global_step) / done
            parts.append(f"{timedelta(seconds=round(left))} left")
        return parts


class ScoringLines(Callback):
    """How far validate and test are, where no terminal shows Lightning's bar."""

    def _begin(self, batches: Sequence[float], what: str) -> None:
        total = sum(batches)
        self._shown = Lines(int(total) if math.isfinite(total) else None, "frames", what)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Begin to count."""
        self._begin(trainer.num_val_batches, "validate")

    def on_test_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Begin to count."""
        self._begin(trainer.num_test_batches, "test")

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Add a frame. Of several processes the first one speaks, of its own share."""
        if trainer.is_global_zero:
            self._shown.update()

    on_test_batch_end = on_validation_batch_end
