"""A run's checkpoints: written whole or not at all, read without running code that is in them."""

from __future__ import annotations

import io
import math
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from add_model.atomic_io import write_atomically
from add_model.classes import stored_classes
from add_model.detectors.base import Detector
from add_model.errors import ModelError
from add_model.registry import build
from add_model.renamed_keys import rename_checkpoint_keys
from add_model.weights_file import require_finite
from training.errors import TrainingError
from training.guarded_loggers import tell
from training.limits import require_validation_at_ends
from training.metrics import MetricsFile
from training.plots import draw

LAST, BEST, CURVES = "last.ckpt", "best.ckpt", "curves.png"
_DRAW_PERIOD = 10.0  # seconds: short epochs would spend a third of their time on drawing


def load_checkpoint(path: Path | str, mmap: bool = False) -> dict[str, Any]:
    """A checkpoint of add-ros fit, on the CPU. Unpickles no code.

    Raises TrainingError where there is none, or it is damaged or something else.
    """
    if not Path(path).is_file():
        raise TrainingError(f"no such checkpoint: {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except PermissionError:
        raise
    except Exception as error:  # torch raises many kinds for files that are not checkpoints
        raise TrainingError(f"{path} is {_fault(path, error)}") from None
    if not isinstance(checkpoint, dict) or not {"model_name", "state_dict"} <= checkpoint.keys():
        raise TrainingError(f"{path} was not written by add-ros fit")
    if fault := _shape_fault(checkpoint):
        raise TrainingError(f"{path} was not written by add-ros fit, or was changed since: {fault}")
    checkpoint["state_dict"] = rename_checkpoint_keys(checkpoint["state_dict"])
    return checkpoint


def _shape_fault(checkpoint: dict[str, Any]) -> str | None:
    """What is not as a checkpoint has it, None where all is."""
    weights, run = checkpoint["state_dict"], checkpoint.get("run", {})
    if not isinstance(checkpoint["model_name"], str) or not isinstance(checkpoint.get("class_spec", ""), str):
        return "model_name and class_spec must be text"
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        return "state_dict must map names to tensors"
    if strange := [key for key, value in weights.items() if not isinstance(value, torch.Tensor)]:
        return f"{strange[0]} in state_dict is no tensor"
    kinds = {"epochs": int, "best": (int, float), "best_epoch": int, "metrics": list}
    if not isinstance(run, dict) or ("run" in checkpoint and not kinds.keys() <= run.keys()):
        return f"run must have {', '.join(kinds)}"
    if strange := [key for key in kinds if key in run and not isinstance(run[key], kinds[key])]:
        return f"{strange[0]} of run is a {type(run[strange[0]]).__name__}"
    return None


def _fault(path: Path | str, error: Exception) -> str:
    if not _is_zip(path):  # torch says this with a number, or in a paragraph of its zip library
        return "damaged or no torch checkpoint: it is not a whole zip archive"
    if isinstance(error, pickle.UnpicklingError):
        return "not a checkpoint that can be read without running its code"
    return f"damaged or no torch checkpoint: {str(error).strip().partition('. ')[0] or type(error).__name__}"


def _is_zip(path: Path | str) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # of an end that points to nowhere
        return False


def weights_of(checkpoint: dict[str, Any], prefix: str) -> dict[str, torch.Tensor]:
    """The weights of one part of what was trained, such as 'detector.', by their names within it."""
    weights = checkpoint["state_dict"]
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def is_teacher(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint is a teacher's own: with a depth branch, and no teacher beside it as a student's has."""
    parts = {name.split(".")[0] for name in weights_of(checkpoint, "objective.")}
    return "depth_branch" in parts and "teacher" not in parts


def trained_detector(checkpoint: dict[str, Any], path: Path | str) -> Detector:
    """The detector of a checkpoint. Raises ModelError where its model is unknown or not its weights'."""
    detector = build(checkpoint["model_name"], stored_classes(checkpoint))
    try:
        detector.load_state_dict(weights_of(checkpoint, "detector."))
    except Exception as error:  # of whatever stands there for a tensor
        what = (str(error).splitlines() or [type(error).__name__])[-1].strip()[:200]
        raise ModelError(f"{path} does not hold the weights of {checkpoint['model_name']}: {what}") from error
    require_finite(detector, path)
    return detector


def history(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """What `KeepCheckpoints` added: epochs, best, best_epoch and metrics. Raises TrainingError where it did not."""
    if "run" not in checkpoint:
        raise TrainingError(f"{path} has no history to go on from; it can be validated and exported")
    return checkpoint["run"]


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
