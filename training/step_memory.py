"""A training step's memory, measured: real steps with small batches of rendered streets."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from add_model.detectors.losses import ONE_PROCESS
from training.command import TrainingCommand
from training.data.collation import collate
from training.data.data_module import Loaders
from training.data.frame_sources import CachedFrames, WorldFrames
from training.data.views import TrainingViews
from training.data.world import World
from training.lightning_module import LitDetector
from training.objectives import LossContext
from training.progress_bar import counted

_KITTI = World(width=1242, height=375, focal=721.5)  # rendered streets of KITTI's size
_STREETS = CachedFrames(WorldFrames(_KITTI, 0, 1000, "dense"))
_GB = 2**30


class LiveTensors(TorchDispatchMode):
    """The memory of all tensors that live, and its highest value, bytes: what an allocator would have to hold.

    Counts whatever torch's operators return, on any device, and nothing that they use within themselves.
    """

    def __init__(self, present: Sequence[torch.Tensor] = ()) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known: dict[int, weakref.finalize] = {}
        for tensor in present:
            self._add(tensor)

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operator and count what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known[key] = weakref.finalize(storage, self._remove, key, size)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)

    def _remove(self, key: int, size: int) -> None:
        del self._known[key]
        self.bytes -= size


class _Command(TrainingCommand):
    """fit, up to where the training would begin."""

    def _require_files(self, model: Any) -> None:
        """None: what a step needs does not hang on the weights."""
        self._forget_files(model)

    def fit(self, model: LitDetector, **arguments: Any) -> None:
        """Nothing."""


def measure(module: LitDetector, loaders: Loaders, frames: int, precision: str, device: torch.device) -> float:
    """The peak memory of a training step with a batch of so many frames, GB."""
    detector = module.detector
    views = TrainingViews(lambda _: _STREETS, frames, loaders.augmentation, detector.target_encoder, 0, detector.focal)
    batch = move_data_to_device(collate([views[i] for i in range(frames)]), device)
    module.to(device).train()
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.0)

    def step() -> None:
        half = torch.autocast(device.type, torch.bfloat16) if precision == "bf16-mixed" else contextlib.nullcontext()
        with half:
            sum(module.objective.losses(detector, LossContext(batch, ONE_PROCESS)).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # the optimizer's own tensors are there from the second one on
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) / _GB
    present = [*module.parameters(), *module.buffers(), *batch.targets.values(), batch.images, batch.depth]
    present += [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    with LiveTensors(present) as live:
        step()
    return live.peak / _GB


def measure_recipe(
    fit_options: Sequence[str], batches: Sequence[int], precisions: Sequence[str]
) -> tuple[str, int, Mapping[str, Mapping[int, float]]]:
    """Measure what a recipe's training step needs.

    Args:
        fit_options: the recipe and more, as for fit.
        batches: numbers of frames.
        precisions: 32-true, bf16-mixed.

    Returns:
        The device, the recipe's whole batch, and {precision: {frames: GB}}.
    """
    with TemporaryDirectory() as folder:
        command = _Command(["fit", *fit_options, "--run-dir", folder])
        device = command.trainer.strategy.root_device
        batch = command.datamodule.batch_size * command.trainer.accumulate_grad_batches
        peaks: dict[str, dict[int, float]] = {}
        pairs = [(precision, frames) for precision in precisions for frames in sorted(set(batches))]
        for precision, frames in counted(pairs, "batches", "measure"):
            peak = measure(command.model, command.datamodule, frames, precision, device)
            peaks.setdefault(precision, {})[frames] = peak
    return str(device), batch, peaks
