"""GUPNet's losses (Lu et al., ICCV 2021, and its published code): heatmap, 2D box, 3D centre, depth, size, heading."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from add_model.detectors.focal_losses import gaussian_focal_loss
from add_model.detectors.losses import ONE_PROCESS, Normaliser, heading_loss, laplacian_loss


def gupnet_loss(
    heatmap_logits: Tensor,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    normaliser: Normaliser = ONE_PROCESS,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is minimised.

    Args:
        heatmap_logits: (B, C, h, w).
        outputs: of `GUPNet.regress` at the objects' cells (B, M).
        targets: of `KeypointEncoder.encode`, stacked.
        normaliser: see `Detector.losses`.
    """
    mask = targets["mask"]
    count = normaliser.count(mask)
    losses = {"heatmap": gaussian_focal_loss(heatmap_logits, targets["heatmap"], targets["ignore"]) / count}
    outputs = {key: value[mask] for key, value in outputs.items()}
    target = {key: targets[key][mask] for key in targets if key not in ("heatmap", "ignore", "mask", "cell")}
    for key in ("offset_2d", "size_2d", "offset_3d"):
        losses[key] = (outputs[key] - target[key]).abs().sum() / (2 * count)
    losses["depth"] = laplacian_loss(outputs["depth"], outputs["log_variance"], target["depth"]).sum() / count
    losses["size_3d"] = size_loss(outputs["size_3d"], outputs["height_log_variance"], target["size_3d"]) / count
    losses["heading"] = heading_loss(outputs["heading"], target["heading_bin"], target["heading_residual"]) / count
    return losses


def size_loss(size: Tensor, height_log_variance: Tensor, target: Tensor) -> Tensor:
    """L1 of lengths and widths, Laplacian loss of heights, a third each, summed over objects.

    Args:
        size: (N, 3) length, width, height.
        height_log_variance: (N,).
        target: (N, 3).
    """
    height = laplacian_loss(size[:, 2], height_log_variance, target[:, 2])
    return ((size - target)[:, :2].abs().sum() + height.sum()) / 3
