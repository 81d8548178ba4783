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
        size_loss: from outputs and targets of the N objects whose 3D size is trained on, and what sums are divided by,
            the 3D size's loss.
        normaliser: see `Detector.losses`.
    """
    mask, mask_3d = targets["mask"], targets["mask_3d"]
    count, count_3d = normaliser.count(mask), normaliser.count(mask_3d)
    losses = {"heatmap": gaussian_focal_loss(heatmap_logits, targets["heatmap"], targets["ignore"]) / count}
    of_objects = [key for key in targets if key not in ("heatmap", "ignore", "mask", "mask_3d", "cell")]

    def chosen(which: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        index = which.nonzero(as_tuple=True)  # once: on a GPU it waits for the device
        return {key: value[index] for key, value in outputs.items()}, {key: targets[key][index] for key in of_objects}

    output, target = chosen(mask)
    output_3d, target_3d = chosen(mask_3d)
    for key in ("offset_2d", "size_2d"):
        losses[key] = (output[key] - target[key]).abs().sum() / (2 * count)
    losses["offset_3d"] = (output_3d["offset_3d"] - target_3d["offset_3d"]).abs().sum() / (2 * count_3d)
    depth = laplacian_loss(output_3d["depth"], output_3d["log_variance"], target_3d["depth"])
    losses["depth"] = depth.sum() / count_3d
    losses["size_3d"] = size_loss(output_3d, target_3d, count_3d)
    losses["heading"] = heading_loss(output["heading"], target["heading_bin"], target["heading_residual"]) / count
    return losses
