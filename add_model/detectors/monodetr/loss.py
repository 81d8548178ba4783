"""MonoDETR's losses: queries are matched to objects as sets, the depth map to objects' 2D boxes (its section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from add_model.detectors.focal_losses import ALPHA, depth_map_loss, sigmoid_focal_loss
from add_model.detectors.losses import (
    ONE_PROCESS,
    Normaliser,
    dimension_aware_loss,
    heading_loss,
    laplacian_loss,
)
from add_model.detectors.monodetr.features import DecoderOutputs, sides_to_box2d

# The published weights of losses and of matching costs; all others are 1.
_LABEL, _CENTRE, _SIDES, _OVERLAP = 2.0, 10.0, 5.0, 2.0


def monodetr_loss(
    features: DecoderOutputs,
    targets: Mapping[str, Tensor],
    unit: Tensor,
    groups: int = 1,
    normaliser: Normaliser = ONE_PROCESS,
) -> dict[str, Tensor]:
    """The losses of a batch by name, summed over decoder layers; their sum is minimised.

    Each group of queries finds every object once, so sums are divided by the number of objects times that of groups;
    that of the depth map by the number of cells that are not ignored.

    Args:
        features: of all layers.
        targets: of `SetTargetEncoder.encode`, stacked.
        unit: (2,) pixels in x and y, relative to which errors in the image count.
        groups: into how many groups the queries are split.
        normaliser: see `Detector.losses`.
    """
    count = normaliser.count(targets["mask"]) * groups
    losses: dict[str, Tensor] = {}
    for layer in range(len(features.logits)):
        for name, value in _layer_losses(features, layer, targets, unit, groups, normaliser).items():
            losses[name] = losses.get(name, 0) + value / count
    bins, depth_logits = targets["depth_bin"], features.encoder_outputs.depth_logits
    last = depth_logits.shape[1] - 1  # the class of cells without an object, and of objects beyond the bins
    depth = depth_map_loss(depth_logits.float(), bins.clamp(max=last), bins != last)
    losses["depth_map"] = depth / normaliser.count(bins >= 0)
    return losses


def _layer_losses(
    features: DecoderOutputs,
    layer: int,
    targets: Mapping[str, Tensor],
    unit: Tensor,
    groups: int,
    normaliser: Normaliser,
) -> dict[str, Tensor]:
    """Summed over matched queries and objects."""
    image, query, row = match_layer(features, layer, targets, unit, groups)
    target = {key: values[image, row] for key, values in targets.items() if key not in ("mask", "depth_bin")}
    logits = features.logits[layer]
    one_hot = torch.zeros_like(logits)
    one_hot[image, query, target["label"]] = 1
    with torch.no_grad():
        not_counted = ignored(features.centre[layer], targets) & (one_hot == 0)
    output = features.at(layer, image, query)
    boxes2d = sides_to_box2d(output["centre"], output["sides"])
    target_boxes2d = sides_to_box2d(target["centre"], target["sides"])
    target_size = target["size_3d"]
    return {
        "label": _LABEL * (sigmoid_focal_loss(logits, one_hot) * ~not_counted).sum(),
        "centre": _CENTRE * ((output["centre"] - target["centre"]) / unit).abs().sum(),
        "sides": _SIDES * ((output["sides"] - target["sides"]) / unit.repeat(2)).abs().sum(),
        "overlap": _OVERLAP * (1 - generalised_iou(boxes2d, target_boxes2d)).sum(),
        "depth": laplacian_loss(output["depth"], output["log_variance"], target["depth"]).sum(),
        "size_3d": dimension_aware_loss(output["size"], target_size, target_size.clamp(min=0.1), normaliser),
        "heading": heading_loss(output["heading"], target["heading_bin"], target["heading_residual"]),
    }


@torch.no_grad()
def match_layer(
    features: DecoderOutputs, layer: int, targets: Mapping[str, Tensor], unit: Tensor, groups: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Match a layer's queries to objects, once in each group: (image, query, row of the target), each (K,)."""
    outputs = features.logits[layer], features.centre[layer], features.sides[layer]
    return match(matching_cost(*outputs, targets, unit), targets["mask"], groups)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., CVPR 2019) of 2D boxes (..., 4), broadcast against each other."""
    low_a, high_a, low_b, high_b = a[..., :2], a[..., 2:], b[..., :2], b[..., 2:]
    common = _area(torch.maximum(low_a, low_b), torch.minimum(high_a, high_b))
    union = (_area(low_a, high_a) + _area(low_b, high_b) - common).clamp(min=1e-6)
    enclosing = _area(torch.minimum(low_a, low_b), torch.maximum(high_a, high_b)).clamp(min=1e-6)
    return common / union - (enclosing - union) / enclosing


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)


def matching_cost(logits: Tensor, centre: Tensor, sides: Tensor, targets: Mapping[str, Tensor], unit: Tensor) -> Tensor:
    """(B, Q, M): the cost of matching each query to each object, by class, 2D box and projected 3D centre."""
    probability = logits.sigmoid()
    positive = ALPHA * (1 - probability) ** 2 * -functional.logsigmoid(logits)
    negative = (1 - ALPHA) * probability**2 * -functional.logsigmoid(-logits)
    label = targets["label"][:, None].expand(-1, logits.shape[1], -1)
    cost = _LABEL * (positive - negative).gather(2, label)
    cost = cost + _CENTRE * _distances(centre, targets["centre"], unit)
    cost = cost + _SIDES * _distances(sides, targets["sides"], unit.repeat(2))
    boxes2d, target_boxes2d = sides_to_box2d(centre, sides), sides_to_box2d(targets["centre"], targets["sides"])
    return cost - _OVERLAP * generalised_iou(boxes2d[:, :, None], target_boxes2d[:, None])


def _distances(a: Tensor, b: Tensor, unit: Tensor) -> Tensor:
    """(B, Q, M) between (B, Q, D) and (B, M, D), in units."""
    return ((a[:, :, None] - b[:, None]) / unit).abs().sum(-1)


def match(cost: Tensor, mask: Tensor, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest assignment within each image and group of queries: (image, query, row of the target), each (K,).

    Where there are more objects than queries, the most expensive ones stay unmatched.

    Args:
        cost: (B, groups * N, M).
        mask: (B, M) which rows are objects.
        groups: of N queries each.
    """
    costs, masks = np.nan_to_num(cost.cpu().numpy(), nan=1e9, posinf=1e9, neginf=-1e9), mask.cpu().numpy()
    matches = []
    for image, real in enumerate(masks):
        objects = np.flatnonzero(real)
        for group, part in enumerate(np.split(costs[image][:, objects], groups)):
            query, chosen = linear_sum_assignment(part)
            matches.append(np.stack([np.full(len(query), image), query + group * len(part), objects[chosen]]))
    return tuple(torch.from_numpy(np.concatenate(matches, 1)).to(cost.device))


def ignored(centre: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """(B, Q, C): classes that do not count as wrong for a query at centre (B, Q, 2)."""
    low, high = targets["ignored"][:, None, :, :2], targets["ignored"][:, None, :, 2:]
    inside = ((centre[:, :, None] >= low) & (centre[:, :, None] <= high)).all(-1)  # (B, Q, M)
    return (inside[..., None] & targets["ignored_class"][:, None]).any(2)
