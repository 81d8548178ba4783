"""MonoDLE's losses (Ma et al., CVPR 2021, section 4): heatmap, 2D box, 3D centre, depth, size, heading."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from add_model.detectors.centre_loss import centre_losses
from add_model.detectors.losses import ONE_PROCESS, Normaliser, dimension_aware_loss


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

    def size_loss(outputs: Mapping[str, Tensor], target: Mapping[str, Tensor], count: Tensor) -> Tensor:
        size = target["size_3d"] + mean_sizes[target["label"]]
        return dimension_aware_loss(outputs["size_3d"], target["size_3d"], size, normaliser) / (3 * count)

    return centre_losses(heatmap_logits, outputs, targets, size_loss, normaliser)
