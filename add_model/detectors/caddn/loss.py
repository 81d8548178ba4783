"""CaDDN's losses: anchors' classes, boxes and directions, and the depth of each cell (its section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from add_model.detectors.caddn.anchors import encode_residuals
from add_model.detectors.caddn.detector import CaDDN, Ground
from add_model.detectors.focal_losses import depth_map_loss, sigmoid_focal_loss
from add_model.detectors.losses import identity, shared_count

_BOX, _DIRECTION, _DEPTH = 2.0, 0.2, 3.0  # the published weights; that of the class is 1
_BETA = 1 / 9  # below this error the smooth L1 loss is a square


def caddn_loss(
    detector: CaDDN,
    ground: Ground,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The losses of a batch by name; their sum is what is minimised.

    targets from `AnchorCoder.encode`, stacked. total, processes: see `monodle_loss`; sums over anchors are divided by
    the number of those that answer for an object, that of the depth map by the cells of known depth.
    """
    logits, residuals, directions = detector.answers(ground)
    owner = targets["anchor_object"].flatten(1).long()
    mine = owner >= 0
    count = shared_count(mine, total, processes)
    image, anchor = mine.nonzero(as_tuple=True)
    row = owner[image, anchor]
    one = torch.zeros_like(logits)
    one[image, anchor, targets["label"][image, row]] = 1
    losses = {"label": (sigmoid_focal_loss(logits, one) * (owner > -2)[..., None]).sum() / count}
    wanted, direction = encode_residuals(targets["box"][image, row], detector.anchors[anchor])
    found = residuals[image, anchor]
    # Headings count by the sine of their difference: half a turn is the direction's to tell.
    error = torch.cat([found[:, :6] - wanted[:, :6], torch.sin(found[:, 6:] - wanted[:, 6:])], 1)
    smooth = functional.smooth_l1_loss(error, torch.zeros_like(error), beta=_BETA, reduction="sum")
    losses["box"] = _BOX * smooth / count
    turned = functional.cross_entropy(directions[image, anchor], direction, reduction="sum")
    losses["direction"] = _DIRECTION * turned / count
    depth = depth_map_loss(ground.depth_logits.float(), targets["depth_bin"], targets["depth_foreground"])
    losses["depth_map"] = _DEPTH * depth / shared_count(targets["depth_bin"] >= 0, total, processes)
    return losses
