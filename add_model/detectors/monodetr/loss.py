"""MonoDETR's losses: queries are matched to objects as sets, the depth map learns where objects are (section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from add_model.detectors.focal_losses import ALPHA, depth_map_loss, sigmoid_focal_loss
from add_model.detectors.losses import dimension_aware_loss, heading_loss, identity, laplacian_loss, shared_count
from add_model.detectors.monodetr.detector import MonoDETR, Queries, rectangle

# What the published code weighs losses and costs of matching with; all others count 1.
_LABEL, _CENTRE, _SIDES, _OVERLAP = 2.0, 10.0, 5.0, 2.0


def monodetr_loss(
    detector: MonoDETR,
    seen: Queries,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The losses of a batch by name, of all decoder layers; their sum is what is minimised.

    targets from `SetCoder.encode`, stacked. total, processes: see `monodle_loss`. Each group of queries has every
    object once, so sums are divided by the number of objects times that of groups; that of the depth map by its cells.
    """
    groups = detector.groups_of(seen)
    count = shared_count(targets["mask"], total, processes) * groups
    losses: dict[str, Tensor] = {}
    for layer in range(len(seen.logits)):
        for name, value in _layer_losses(detector, seen, layer, targets, total).items():
            losses[name] = losses.get(name, 0) + value / count
    bins = targets["depth_bin"]  # the last class is that of cells that see no object
    depth_logits = seen.encoded.depth_logits
    depth = depth_map_loss(depth_logits.float(), bins, bins < depth_logits.shape[1] - 1)
    losses["depth_map"] = depth / shared_count(bins >= 0, total, processes)
    return losses


def _layer_losses(
    detector: MonoDETR,
    seen: Queries,
    layer: int,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    logits, centre = seen.logits[layer], seen.centre[layer]
    image, query, row = matched(detector, seen, layer, targets)
    pick = lambda values: values[layer][image, query]  # noqa: E731
    want = {key: values[image, row] for key, values in targets.items() if key not in ("mask", "depth_bin")}
    one = torch.zeros_like(logits)
    one[image, query, want["label"]] = 1
    with torch.no_grad():
        free = ignored(centre, targets) & (one == 0)
    unit = detector.unit
    return {
        "label": _LABEL * (sigmoid_focal_loss(logits, one) * ~free).sum(),
        "centre": _CENTRE * ((pick(seen.centre) - want["centre"]) / unit).abs().sum(),
        "sides": _SIDES * ((pick(seen.sides) - want["sides"]) / unit.repeat(2)).abs().sum(),
        "overlap": _OVERLAP
        * (
            1
            - generalised_iou(rectangle(pick(seen.centre), pick(seen.sides)), rectangle(want["centre"], want["sides"]))
        ).sum(),
        "depth": laplacian_loss(pick(seen.depth), pick(seen.log_variance), want["depth"]).sum(),
        "size_3d": dimension_aware_loss(pick(seen.size), want["size_3d"], want["size_3d"].clamp(min=0.1), total),
        "heading": heading_loss(pick(seen.heading), want["heading_bin"], want["heading_residual"]),
    }


@torch.no_grad()
def matched(
    detector: MonoDETR, seen: Queries, layer: int, targets: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Which query of a layer answers for which object, once in each group: (image, query, row of the target), (K,)."""
    answers = seen.logits[layer], seen.centre[layer], seen.sides[layer]
    return match(matching_cost(*answers, targets, detector.unit), targets["mask"], detector.groups_of(seen))


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., CVPR 2019) of image rectangles (..., 4), broadcast against each other."""
    area = lambda box: (box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1)  # noqa: E731
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    union = (area(a) + area(b) - common).clamp(min=1e-6)
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    around = (high - low).clamp(min=0).prod(-1).clamp(min=1e-6)
    return common / union - (around - union) / around


def matching_cost(logits: Tensor, centre: Tensor, sides: Tensor, targets: Mapping[str, Tensor], unit: Tensor) -> Tensor:
    """(B, Q, M): what it costs to give each object to each query, in 2D and by the projected 3D centre."""
    probability = logits.sigmoid()
    hit = ALPHA * (1 - probability) ** 2 * -functional.logsigmoid(logits)
    miss = (1 - ALPHA) * probability**2 * -functional.logsigmoid(-logits)
    label = targets["label"][:, None].expand(-1, logits.shape[1], -1)
    cost = _LABEL * (hit - miss).gather(2, label)
    apart = lambda a, b, unit: ((a[:, :, None] - b[:, None]) / unit).abs().sum(-1)  # noqa: E731
    cost = cost + _CENTRE * apart(centre, targets["centre"], unit)
    cost = cost + _SIDES * apart(sides, targets["sides"], unit.repeat(2))
    boxes, wanted = rectangle(centre, sides), rectangle(targets["centre"], targets["sides"])
    return cost - _OVERLAP * generalised_iou(boxes[:, :, None], wanted[:, None])


def match(cost: Tensor, mask: Tensor, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest assignment within each image and group of queries: (image, query, row of the target), each (K,).

    cost (B, groups * N, M); mask (B, M) says which rows are objects. Where objects are more than queries, the dearest
    ones stay without.
    """
    values, rows = np.nan_to_num(cost.cpu().numpy(), nan=1e9, posinf=1e9, neginf=-1e9), mask.cpu().numpy()
    found = []
    for image, real in enumerate(rows):
        objects = np.flatnonzero(real)
        for group, part in enumerate(np.split(values[image][:, objects], groups)):
            query, chosen = linear_sum_assignment(part)
            found.append(np.stack([np.full(len(query), image), query + group * len(part), objects[chosen]]))
    return tuple(torch.from_numpy(np.concatenate(found, 1)).to(cost.device))


def ignored(centre: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """(B, Q, C): whether a query at centre (B, Q, 2) must not be punished for answering with a class."""
    low, high = targets["ignored"][:, None, :, :2], targets["ignored"][:, None, :, 2:]
    inside = ((centre[:, :, None] >= low) & (centre[:, :, None] <= high)).all(-1)  # (B, Q, M)
    return (inside[..., None] & targets["ignored_class"][:, None]).any(2)
