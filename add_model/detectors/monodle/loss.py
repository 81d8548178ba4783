"""MonoDLE's losses (Ma et al., CVPR 2021, section 4): heatmap, 2D box, 3D centre, depth, size, heading."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from add_model.detectors.focal_losses import gaussian_focal_loss
from add_model.detectors.losses import (
    ONE_PROCESS,
    Normaliser,
    dimension_aware_loss,
    heading_loss,
    laplacian_loss,
)


def monodle_loss(
    heatmap_logits: Tensor,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    mean_sizes: Tensor,
    normaliser: Normaliser = ONE_PROCESS,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is minimised.

    Args:
        heatmap_logits: (B, C, h, w).
        outputs: of `MonoDLE.regress` at the objects' cells (B, M).
        targets: of `KeypointEncoder.encode`, stacked.
        mean_sizes: (C, 3) metres.
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
    size = target["size_3d"] + mean_sizes[target["label"]]
    losses["size_3d"] = dimension_aware_loss(outputs["size_3d"], target["size_3d"], size, normaliser) / (3 * count)
    losses["heading"] = heading_loss(outputs["heading"], target["heading_bin"], target["heading_residual"]) / count
    return losses
