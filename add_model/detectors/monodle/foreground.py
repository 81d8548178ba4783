"""The cells that see an object, and the ground truth there: where distillation counts most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from add_model.detectors.centre_distillation import owners, places
from add_model.distillation.target_objects import filled_rows

_TARGETS = ("label", "depth", "heading_bin", "heading_residual", "size_3d", "offset_3d", "offset_2d", "size_2d")


@dataclass(frozen=True)
class Foreground:
    """The cells of each image that see an object, and what K of them see.

    inside (B, h * w): which cells see one
    cell (B, K): row * w + column
    mask (B, K): which of them are real
    weight (B, K): each object's cells sum to 1
    truth: by name (B, K, ...), the targets of `KeypointEncoder.encode` for each cell's object, seen from this cell
    """

    inside: Tensor
    cell: Tensor
    mask: Tensor
    weight: Tensor
    truth: Mapping[str, Tensor]


def foreground(targets: Mapping[str, Tensor], rows: int, columns: int, max_cells: int = 96) -> Foreground:
    """At most `max_cells` cells of each image that see an object: an even choice where there are more."""
    filled = filled_rows(targets["mask"])
    targets = {name: targets[name][:, :filled] for name in ("mask", "cell", *_TARGETS)}
    owner = owners(targets, rows, columns)
    inside = owner >= 0
    # Where there are more than fit, each object keeps its first cells in an order that is scattered over the map:
    # multiples of the golden ratio, whose fractions lie evenly however many of them there are.
    scattered = (torch.arange(rows * columns, device=owner.device) * 64727) % 104729
    own = torch.zeros_like(inside).scatter(1, targets["cell"], targets["mask"])
    rank = torch.where(own, -1, torch.where(inside, scattered, 1 << 30))
    cell = rank.topk(min(max_cells, rows * columns), dim=1, largest=False).indices
    mask, index = inside.gather(1, cell), owner.gather(1, cell).clamp(min=0)
    cells = torch.zeros_like(targets["depth"]).scatter_add(1, index, mask.to(targets["depth"].dtype))
    weight = mask / cells.gather(1, index).clamp(min=1)
    truth = {}
    for name in _TARGETS:
        values = targets[name]
        wide = index if values.ndim == 2 else index[..., None].expand(-1, -1, values.shape[2])
        truth[name] = values.gather(1, wide)
    # Offsets lead to the object's centre from wherever it is seen.
    home = targets["cell"].gather(1, index)
    shift = places(home, columns) - places(cell, columns)
    truth["offset_3d"], truth["offset_2d"] = truth["offset_3d"] + shift, truth["offset_2d"] + shift
    return Foreground(inside, cell, mask, weight, truth)
