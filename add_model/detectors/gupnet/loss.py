"""GUPNet's losses (Lu et al., ICCV 2021, and its published code): heatmap, 2D box, 3D centre, depth, size, heading."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from add_model.detectors.centre_loss import centre_losses
from add_model.detectors.losses import ONE_PROCESS, Normaliser, laplacian_loss


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

    def sizes(outputs: Mapping[str, Tensor], target: Mapping[str, Tensor], count: Tensor) -> Tensor:
        return size_loss(outputs["size_3d"], outputs["height_log_variance"], target["size_3d"]) / count

    return centre_losses(heatmap_logits, outputs, targets, sizes, normaliser)


def size_loss(size: Tensor, height_log_variance: Tensor, target: Tensor) -> Tensor:
    """L1 of lengths and widths, Laplacian loss of heights, a third each, summed over objects.

    Args:
        size: (N, 3) length, width, height.
        height_log_variance: (N,).
        target: (N, 3).
    """
    height = laplacian_loss(size[:, 2], height_log_variance, target[:, 2])
    return ((size - target)[:, :2].abs().sum() + height.sum()) / 3
