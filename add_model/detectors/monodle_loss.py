"""MonoDLE's losses (Ma et al., CVPR 2021, section 4): heatmap, 2D box, 3D centre, depth, size, heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from add_model.coder import HEADING_BINS
from add_model.detectors.monodle import MonoDLE


def identity(value: Tensor) -> Tensor:
    """The total over processes where there is one process."""
    return value


def shared_count(counted: Tensor, total: Callable[[Tensor], Tensor], processes: int) -> Tensor:
    """By what a process divides a sum over what is true in `counted`; total, processes: see `monodle_loss`."""
    return total(counted.sum().float()).clamp(min=1) / processes


def monodle_loss(
    detector: MonoDLE,
    features: Tensor,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is what is minimised.

    features (B, C, h, w) from `detector.features`, targets from `Coder.encode`, stacked. `total` sums a tensor
    over all training processes: losses are divided by the number of objects of the whole batch, wherever they are, and
    multiplied by the number of processes, over which gradients are averaged afterwards.
    """
    mask = targets["mask"]
    count = shared_count(mask, total, processes)
    logits = detector.heat(features)
    losses = {"heatmap": focal_loss(logits, targets["heatmap"], targets["ignore"]) / count}
    outputs = {key: value[mask] for key, value in precise_regression(detector, features, targets["cell"]).items()}
    wanted = {key: targets[key][mask] for key in targets if key not in ("heatmap", "ignore", "mask", "cell")}
    for key in ("offset_2d", "size_2d", "offset_3d"):
        losses[key] = (outputs[key] - wanted[key]).abs().sum() / (2 * count)
    losses["depth"] = laplacian_loss(outputs["depth"], outputs["log_variance"], wanted["depth"]).sum() / count
    size = wanted["size_3d"] + detector.mean_sizes[wanted["label"]]
    losses["size_3d"] = dimension_aware_loss(outputs["size_3d"], wanted["size_3d"], size, total) / (3 * count)
    losses["heading"] = heading_loss(outputs["heading"], wanted["heading_bin"], wanted["heading_residual"]) / count
    return losses


def precise_regression(detector: MonoDLE, features: Tensor, cell: Tensor) -> dict[str, Tensor]:
    """`MonoDLE.regress` in single precision.

    Half would round depth to one part in 256, more than what is to be learnt.
    """
    with torch.autocast(features.device.type, enabled=False):
        return detector.regress(features.float(), cell)


def focal_loss(logits: Tensor, heatmap: Tensor, ignore: Tensor) -> Tensor:
    """CenterNet's penalty-reduced focal loss, summed over cells that are not ignored (a peak is never ignored)."""
    positive = heatmap >= 1
    probability = logits.sigmoid()
    hit = -functional.logsigmoid(logits) * (1 - probability) ** 2
    miss = -functional.logsigmoid(-logits) * probability**2 * (1 - heatmap) ** 4
    return torch.where(positive, hit, miss * ~ignore).sum()


def laplacian_loss(depth: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """The negative log likelihood of a Laplace distribution, up to a constant (Kendall and Gal, 2017)."""
    return 2**0.5 * torch.exp(-log_variance / 2) * (depth - target).abs() + log_variance / 2


def dimension_aware_loss(
    size: Tensor, target: Tensor, full_size: Tensor, total: Callable[[Tensor], Tensor] = identity
) -> Tensor:
    """Summed L1 relative to the object's own size, rescaled to the plain L1's magnitude (MonoDLE, section 4.3)."""
    error = (size - target).abs()
    relative = error / full_size
    with torch.no_grad():
        compensation = total(error.sum()) / total(relative.sum()).clamp(min=1e-6)
    return relative.sum() * compensation


def heading_loss(heading: Tensor, bin_index: Tensor, residual: Tensor) -> Tensor:
    """Cross entropy over bins plus L1 of the true bin's residual, summed."""
    scores, residuals = heading.split(HEADING_BINS, dim=-1)
    chosen = residuals.gather(1, bin_index[:, None])[:, 0]
    return functional.cross_entropy(scores, bin_index, reduction="sum") + (chosen - residual).abs().sum()
