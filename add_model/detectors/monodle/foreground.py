"""The cells that see an object: where distillation teaches most, and what the truth is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from add_model.distillation.target_objects import filled_rows

_TOLD = ("label", "depth", "heading_bin", "heading_residual", "size_3d", "offset_3d", "offset_2d", "size_2d")


@dataclass(frozen=True)
class Foreground:
    """The cells of each image that see an object, and what K of them see.

    seen (B, h * w) which cells see one; cell (B, K) row * w + column; mask (B, K) which of them are real; weight (B, K)
    each object's cells sum to 1; truth: the targets of `KeypointEncoder.encode` for each cell's object, as its own cell's are,
    (B, K, ...).
    """

    seen: Tensor
    cell: Tensor
    mask: Tensor
    weight: Tensor
    truth: Mapping[str, Tensor]


def owners(targets: Mapping[str, Tensor], rows: int, columns: int) -> Tensor:
    """Targets of `KeypointEncoder.encode`, stacked -> (B, rows * columns) the index of the object each cell sees, -1 for none.

    An object is seen within its 2D box, nearer objects cover farther ones, and every object has its own cell.
    """
    centre = _places(targets["cell"], columns) + targets["offset_2d"]
    half = targets["size_2d"][:, :, None] / 2
    every = torch.arange(rows * columns, device=centre.device)
    away = (_places(every, columns) - centre[:, :, None]).abs()
    covered = (away <= half).all(-1) & targets["mask"][:, :, None]  # (B, M, N)
    depth = torch.where(covered, targets["depth"][:, :, None], torch.inf)
    nearest, index = depth.min(dim=1)
    index = torch.where(nearest.isinf(), -1, index)
    own = targets["cell"][:, :, None] == every
    own &= targets["mask"][:, :, None]
    depth = torch.where(own, targets["depth"][:, :, None], torch.inf)
    nearest, at_home = depth.min(dim=1)
    return torch.where(nearest.isinf(), index, at_home)


def foreground(targets: Mapping[str, Tensor], rows: int, columns: int, most: int = 96) -> Foreground:
    """What there is to see in each image, told of at most `most` cells of it: an even choice where there are more."""
    filled = filled_rows(targets["mask"])
    targets = {name: targets[name][:, :filled] for name in ("mask", "cell", *_TOLD)}
    owner = owners(targets, rows, columns)
    seen = owner >= 0
    # Where there are more than fit, each object keeps its first cells in an order that is scattered over the map.
    scattered = (torch.arange(rows * columns, device=owner.device) * 7919) % 104729
    own = torch.zeros_like(seen).scatter(1, targets["cell"], targets["mask"])
    rank = torch.where(own, -1, torch.where(seen, scattered, 1 << 30))
    cell = rank.topk(min(most, rows * columns), dim=1, largest=False).indices
    mask, index = seen.gather(1, cell), owner.gather(1, cell).clamp(min=0)
    cells = torch.zeros_like(targets["depth"]).scatter_add(1, index, mask.to(targets["depth"].dtype))
    weight = mask / cells.gather(1, index).clamp(min=1)
    truth = {}
    for name in _TOLD:
        values = targets[name]
        wide = index if values.ndim == 2 else index[..., None].expand(-1, -1, values.shape[2])
        truth[name] = values.gather(1, wide)
    # Offsets lead to the object's centre from wherever it is seen.
    home = targets["cell"].gather(1, index)
    shift = _places(home, columns) - _places(cell, columns)
    truth["offset_3d"], truth["offset_2d"] = truth["offset_3d"] + shift, truth["offset_2d"] + shift
    return Foreground(seen, cell, mask, weight, truth)


def _places(cell: Tensor, columns: int) -> Tensor:
    """Cells (...) -> (..., 2) as (column, row)."""
    return torch.stack([cell % columns, cell // columns], -1).float()
