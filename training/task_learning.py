"""Hierarchical Task Learning (GUPNet, Lu et al., ICCV 2021, section 4.3, and its published code).

3D losses begin when the 2D ones, on whose quality they depend, have settled: a loss weighs t^(1 - c), where t grows
from 0 to 1 over the training, and c tells how much less the losses before it fall than they did at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
from torch import Tensor

_WINDOW = 5  # epochs

# The losses of `centre_losses`, by those that each waits for.
WAITS_FOR = {
    "offset_3d": ("size_2d", "offset_2d"),
    "size_3d": ("size_2d", "offset_2d"),
    "heading": ("size_2d", "offset_2d"),
    "depth": ("size_2d", "size_3d", "offset_2d"),
}


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

    The published code also measures the losses once before training, and looks at those of one epoch earlier.
    """

    def __init__(self) -> None:
        self._past: dict[str, list[float]] = {}
        self._first: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        self._batches = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds, so that a resumed run goes on with the same weights."""
        return {"past": self._past, "first": self._first, "sums": self._sums, "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._past, self._first = state_dict["past"], state_dict["first"]
        self._sums, self._batches = state_dict["sums"], state_dict["batches"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Set the module's `loss_weights`."""
        epoch, past = trainer.current_epoch, self._past
        if not past or len(next(iter(past.values()))) < _WINDOW:
            pl_module.loss_weights = dict.fromkeys(WAITS_FOR, 0.0)
            return
        if not self._first:
            self._first = {name: fall(values) for name, values in past.items()}
        share = min(1.0, (epoch - _WINDOW) / max(1, trainer.max_epochs - _WINDOW))
        pl_module.loss_weights = task_weights(past, self._first, share)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the losses, as the module logs them: of all processes."""
        for name in ("heatmap", "offset_2d", "size_2d", *WAITS_FOR):
            value: Tensor = trainer.callback_metrics[f"train/{name}"]
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._batches += 1

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the epoch's means."""
        for name, total in self._sums.items():
            self._past[name] = [*self._past.get(name, []), total / self._batches][-_WINDOW:]
        self._sums, self._batches = {}, 0
