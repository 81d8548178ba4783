"""CaDDN's losses: anchors' classes, boxes and directions, and the depth of each cell (its section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from add_model.detectors.caddn.anchors import encode_residuals
from add_model.detectors.caddn.features import AnchorOutputs
from add_model.detectors.focal_losses import depth_map_loss, sigmoid_focal_loss
from add_model.detectors.losses import ONE_PROCESS, Normaliser

_BOX, _DIRECTION, _DEPTH = 2.0, 0.2, 3.0  # the published weights; that of the class is 1
_BETA = 1 / 9  # below this error the smooth L1 loss is a square


def caddn_loss(
    outputs: AnchorOutputs,
    depth_logits: Tensor,
    targets: Mapping[str, Tensor],
    anchors: Tensor,
    normaliser: Normaliser = ONE_PROCESS,
    published_means: bool = False,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is minimised.

    Sums over anchors are divided by the number of positive anchors, that of the depth map by the number of cells whose
    depth is trained on.

    Args:
        outputs: of all anchors.
        depth_logits: (B, bins + 1, h, w).
        targets: of `AnchorTargetEncoder.encode`, stacked.
        anchors: (A, 7) boxes.
        normaliser: see `Detector.losses`.
        published_means: whether each image's sum over anchors is divided by its own positive ones, and these means are
            averaged, and that over the depth map by all cells. Otherwise they are divided by all images' positive
            anchors and by the cells of known depth.
    """
    logits = outputs.class_logits
    anchor_object = targets["anchor_object"].flatten(1).long()
    positive = anchor_object >= 0
    share = _shares(positive, normaliser, published_means)
    image, anchor = positive.nonzero(as_tuple=True)
    row = anchor_object[image, anchor]
    one_hot = torch.zeros_like(logits)
    one_hot[image, anchor, targets["label"][image, row]] = 1
    counted = (anchor_object > -2)[..., None]
    losses = {"label": ((sigmoid_focal_loss(logits, one_hot) * counted).sum((1, 2)) * share).sum()}
    target, direction = encode_residuals(targets["box"][image, row], anchors[anchor])
    residuals = outputs.residuals[image, anchor]
    # Headings count by the sine of their difference: the direction classifier resolves half a turn.
    error = torch.cat([residuals[:, :6] - target[:, :6], torch.sin(residuals[:, 6:] - target[:, 6:])], 1)
    smooth = functional.smooth_l1_loss(error, torch.zeros_like(error), beta=_BETA, reduction="none")
    losses["box"] = _BOX * (smooth.sum(1) * share[image]).sum()
    cross_entropy = functional.cross_entropy(outputs.direction_logits[image, anchor], direction, reduction="none")
    losses["direction"] = _DIRECTION * (cross_entropy * share[image]).sum()
    depth = depth_map_loss(depth_logits.float(), targets["depth_bin"], targets["depth_foreground"])
    counted_cells = (targets["depth_bin"] >= 0) | published_means
    losses["depth_map"] = _DEPTH * depth / normaliser.count(counted_cells)
    return losses


def _shares(positive: Tensor, normaliser: Normaliser, per_image: bool) -> Tensor:
    """(B,): what each image's sums are multiplied by, from which of its anchors are positive (B, A)."""
    if per_image:
        return 1 / (positive.sum(1).clamp(min=1) * len(positive))
    return (1 / normaliser.count(positive)).expand(len(positive))
