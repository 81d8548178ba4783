"""A run's checkpoints as Lightning writes them: each whole or not at all, the last and the best."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from add_model.atomic_io import write_atomically
from training.checkpoints import load_checkpoint
from training.errors import TrainingError
from training.guarded_loggers import tell
from training.limits import require_validation_at_ends
from training.metrics import MetricsFile
from training.plots import draw

LAST, BEST, CURVES = "last.ckpt", "best.ckpt", "curves.png"
_DRAW_PERIOD = 10.0  # seconds: short epochs would spend a third of their time on drawing


class AtomicCheckpoints(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints here."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the whole file or nothing. Raises TrainingError where the disk is full."""
        data = io.BytesIO()  # torch's own file writer hides the reason of a failure
        torch.save(checkpoint, data)
        write_atomically(Path(path), data.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Callable | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one; code in it is never run, whatever weights_only says."""
        return load_checkpoint(path)


class KeepCheckpoints(Checkpoint):
    """After each epoch last.ckpt, and best.ckpt where `monitor` has risen to its highest; the curves beside them.

    Curves are drawn every ten seconds where there are new scores, and when the training ends in order.

    The metrics so far are part of a checkpoint. With the trainer's fast_dev_run nothing is kept.
    """

    def __init__(self, folder: Path, metrics: MetricsFile, monitor: str) -> None:
        self.folder, self.metrics, self.monitor = folder, metrics, monitor
        self.best, self.best_epoch = -math.inf, -1
        self.left: int | None = None  # the epoch within which the training was stopped
        self._validated = self._undrawn = False
        self._drawn_at = time.monotonic()
        self._told: set[str] = set()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin with the epoch after the checkpoint's: where max_steps is given, Lightning would end that one again."""
        require_validation_at_ends(trainer)
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:
            loop.epoch_progress.increment_completed()
            loop.reset_restart_stage()
            loop.epoch_loop.restarting = False

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Remember that there are new scores."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save what the epoch has brought."""
        self._require_finite(trainer, pl_module)
        if trainer.fast_dev_run:
            return  # a trial of the code: the real run is to find an empty folder
        if _within_epoch(trainer):
            self.left = trainer.current_epoch
            return  # a checkpoint is of whole epochs: the next run begins with this one
        improved = self._validated and pl_module.validation[self.monitor] > self.best
        if improved:
            self.best, self.best_epoch = pl_module.validation[self.monitor], trainer.current_epoch
            # Before the last one, which says that it is the best: killed in between, the epoch is done again.
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)
        self._undrawn, self._validated = self._undrawn or self._validated, False
        if time.monotonic() - self._drawn_at > _DRAW_PERIOD:
            self._draw(trainer)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw the last curves."""
        self._draw(trainer)

    def _draw(self, trainer: lightning.Trainer) -> None:
        if not self._undrawn or not trainer.is_global_zero:
            return
        self._undrawn, self._drawn_at = False, time.monotonic()
        try:
            write_atomically(self.folder / CURVES, draw(self.metrics.rows, self.folder.name))
        except Exception as error:  # a picture is no reason to end a training
            tell(CURVES, error, self._told)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the run's history."""
        checkpoint["run"] = {
            "epochs": trainer.current_epoch + 1,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "metrics": self.metrics.rows,
            "frames_per_step": _frames_per_step(trainer),
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on from its history."""
        run, frames = checkpoint["run"], _frames_per_step(trainer)
        if run.get("frames_per_step", frames) != frames:  # older ones do not say
            raise TrainingError(
                f"a step of this run is of {run['frames_per_step']} frames, and would now be of {frames}: give"
                " --data.batch_size or --trainer.accumulate_grad_batches so that their product with the number of"
                " processes stays the same"
            )
        self.best, self.best_epoch = run["best"], run["best_epoch"]
        self.metrics.restore(run["metrics"])
        self._undrawn = True  # killed after its last checkpoint, it left no curves

    def _require_finite(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        # Gradients can overflow where the losses did not.
        bad = [name for name, value in module.state_dict().items() if not torch.isfinite(value).all()]
        if bad:
            raise TrainingError(
                f"{len(bad)} weights are not finite after epoch {trainer.current_epoch} (step {trainer.global_step}),"
                f" the first is {bad[0]}; lower model.lr, or set trainer.gradient_clip_val"
            )


def _frames_per_step(trainer: lightning.Trainer) -> int:
    """Of all processes together."""
    return trainer.datamodule.batch_size * trainer.accumulate_grad_batches * trainer.world_size


def _within_epoch(trainer: lightning.Trainer) -> bool:
    """Whether the epoch was left before its last step, by a limit of time: that of max_steps is the training's end."""
    return not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and trainer.global_step != trainer.max_steps
