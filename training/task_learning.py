"""Hierarchical Task Learning (GUPNet, Lu et al., ICCV 2021, section 4.3, and its published code).

3D losses begin when the 2D ones, on whose quality they depend, have settled: a loss weighs t^(1 - c), where t grows
from 0 to 1 over the training, and c tells how much less the losses before it fall than they did at the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import lightning
import torch

from training.errors import TrainingError
from training.lightning_module import LitDetector
from training.progress import say

_WINDOW = 5  # epochs

# The losses of `centre_losses`, by those that each waits for.
WAITS_FOR = {
    "offset_3d": ("size_2d", "offset_2d"),
    "size_3d": ("size_2d", "offset_2d"),
    "heading": ("size_2d", "offset_2d"),
    "depth": ("size_2d", "size_3d", "offset_2d"),
}
_LOSSES = ("heatmap", "offset_2d", "size_2d", *WAITS_FOR)


def fall(losses: list[float]) -> float:
    """By how much a loss falls in two epochs, on average of a window of them."""
    return sum(a - b for a, b in zip(losses[:-2], losses[2:], strict=True)) / (len(losses) - 2)


def task_weights(past: Mapping[str, list[float]], first: Mapping[str, float], share: float) -> dict[str, float]:
    """Weights of the losses in `WAITS_FOR`, at most 1.

    Args:
        past: each loss in the last epochs.
        first: `fall` of each loss in the first epochs.
        share: of the epochs after the first ones that is done, 0 to 1.
    """
    settled = {name: 1 - max(0.0, fall(past[name]) / first[name]) if first[name] else 1.0 for name in first}
    weights = {}
    for name, before in WAITS_FOR.items():
        control = 1.0
        for other in before:
            control *= settled[other]
        weights[name] = min(1.0, share ** (1 - control)) if share else float(control >= 1)
    return weights


class HierarchicalTaskLearning(lightning.Callback):
    """Sets the weights of a GUPNet's losses at the start of each epoch: 0 for 3D losses in the first five, then by
    `task_weights`. Distillation's own losses are left alone.

    As in the published code, losses are measured once before training, in a pass over all frames, and those of the
    epoch that has just ended do not count yet.
    """

    def __init__(self) -> None:
        self._past: dict[str, list[float]] = {}
        self._first: dict[str, float] = {}
        self._sums = dict.fromkeys(_LOSSES, 0.0)
        self._batches = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds, which is of whole epochs, so that a resumed run goes on with the same weights."""
        return {"past": self._past, "first": self._first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._past, self._first = state_dict["past"], state_dict["first"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: LitDetector) -> None:
        """Measure the losses before training. Raises TrainingError for a detector that has others."""
        if self._past:  # resumed
            return
        say("Hierarchical Task Learning: measuring the losses before training")
        loader = trainer.datamodule.train_dataloader()  # of its own: Lightning's is at the start of its first epoch
        with torch.no_grad(), trainer.precision_plugin.train_step_context():
            for batch in islice(loader, trainer.num_training_batches):
                losses = pl_module.losses(trainer.strategy.batch_to_device(batch))
                if missing := [name for name in _LOSSES if name not in losses]:
                    raise TrainingError(
                        "HierarchicalTaskLearning weighs the losses of MonoDLE and GUPNet; this detector has no "
                        + ", ".join(missing)
                    )
                self._add(dict(zip(losses, pl_module.of_all_processes(losses).tolist(), strict=True)))
        self._keep()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: LitDetector) -> None:
        """Set the module's `loss_weights`."""
        window = {name: values[:_WINDOW] for name, values in self._past.items()}
        if len(self._past["heatmap"]) <= _WINDOW:
            pl_module.loss_weights = dict.fromkeys(WAITS_FOR, 0.0)
            return
        if not self._first:
            self._first = {name: fall(values) for name, values in window.items()}
        steps_an_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        epochs = trainer.estimated_stepping_batches / steps_an_epoch  # max_steps may end the training before max_epochs
        share = min(1.0, (trainer.current_epoch - _WINDOW) / max(1, epochs - _WINDOW))
        pl_module.loss_weights = task_weights(window, self._first, share)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: LitDetector, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the losses, as the module logs them: of all processes."""
        self._add({name: float(trainer.callback_metrics[f"train/{name}"]) for name in _LOSSES})

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: LitDetector) -> None:
        """Keep the epoch's means."""
        self._keep()

    def _add(self, losses: Mapping[str, float]) -> None:
        for name in _LOSSES:
            self._sums[name] += losses[name]
        self._batches += 1

    def _keep(self) -> None:
        for name, total in self._sums.items():
            self._past[name] = [*self._past.get(name, []), total / self._batches][-_WINDOW - 1 :]
        self._sums, self._batches = dict.fromkeys(_LOSSES, 0.0), 0
