"""Losses that several detectors share, and how a batch that several processes share is normalised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from add_model.geometry.heading import HEADING_BINS


class Normaliser:
    """What sums over a batch are divided by, where several training processes share the batch.

    Losses are divided by the number of objects of the whole batch, wherever they are, and multiplied by the number of
    processes, over which gradients are averaged afterwards.

    total: sums a tensor over all processes.
    """

    def __init__(self, total: Callable[[Tensor], Tensor] = lambda value: value, processes: int = 1) -> None:
        self.total, self.processes = total, processes

    def count(self, counted: Tensor) -> Tensor:
        """What this process divides a sum over the true entries of `counted` by, at least 1 / processes."""
        return self.total(counted.sum().float()).clamp(min=1) / self.processes


ONE_PROCESS = Normaliser()


def laplacian_loss(depth: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """The negative log likelihood of a Laplace distribution, up to a constant (Kendall and Gal, 2017)."""
    return 2**0.5 * torch.exp(-log_variance / 2) * (depth - target).abs() + log_variance / 2


def dimension_aware_loss(
    size: Tensor, target: Tensor, full_size: Tensor, normaliser: Normaliser = ONE_PROCESS
) -> Tensor:
    """Summed L1 relative to the object's own size, rescaled to the plain L1's magnitude (MonoDLE, section 4.3)."""
    error = (size - target).abs()
    relative = error / full_size
    with torch.no_grad():
        compensation = normaliser.total(error.sum()) / normaliser.total(relative.sum()).clamp(min=1e-6)
    return relative.sum() * compensation


def heading_loss(heading: Tensor, bin_index: Tensor, residual: Tensor) -> Tensor:
    """Cross entropy over bins plus L1 of the true bin's residual, summed."""
    scores, residuals = heading.split(HEADING_BINS, dim=-1)
    chosen = residuals.gather(1, bin_index[:, None])[:, 0]
    return functional.cross_entropy(scores, bin_index, reduction="sum") + (chosen - residual).abs().sum()
