"""The losses that centre-based detectors share: of targets of `KeypointEncoder` at the objects' own cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from add_model.detectors.focal_losses import gaussian_focal_loss
from add_model.detectors.losses import ONE_PROCESS, Normaliser, heading_loss, laplacian_loss

SizeLoss = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]


def centre_losses(
    heatmap_logits: Tensor,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    size_loss: SizeLoss,
    normaliser: Normaliser = ONE_PROCESS,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is minimised.

    Args:
        heatmap_logits: (B, C, h, w).
        outputs: of the detector's `regress` at the objects' cells (B, M).
        targets: of `KeypointEncoder.encode`, stacked.
        size_loss: from outputs and targets of the N real objects and what sums are divided by, the 3D size's loss.
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
    losses["size_3d"] = size_loss(outputs, target, count)
    losses["heading"] = heading_loss(outputs["heading"], target["heading_bin"], target["heading_residual"]) / count
    return losses
