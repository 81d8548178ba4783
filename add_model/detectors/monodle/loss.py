"""MonoDLE's losses (Ma et al., CVPR 2021, section 4): heatmap, 2D box, 3D centre, depth, size, heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from add_model.detectors.focal_losses import gaussian_focal_loss
from add_model.detectors.losses import dimension_aware_loss, heading_loss, identity, laplacian_loss, shared_count
from add_model.detectors.monodle.detector import MonoDLE


def monodle_loss(
    detector: MonoDLE,
    features: Tensor,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is what is minimised.

    features (B, C, h, w) from `detector.features`, targets from `KeypointEncoder.encode`, stacked. `total` sums a tensor
    over all training processes: losses are divided by the number of objects of the whole batch, wherever they are, and
    multiplied by the number of processes, over which gradients are averaged afterwards.
    """
    mask = targets["mask"]
    count = shared_count(mask, total, processes)
    logits = detector.heat(features)
    losses = {"heatmap": gaussian_focal_loss(logits, targets["heatmap"], targets["ignore"]) / count}
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
