"""How ADD teaches MonoDETR: depth takes the place of its map. `monodle_teaching` has all that there is to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from add_model.coder import reference_focal_scale
from add_model.detectors.decoded import Decoded
from add_model.detectors.monodetr import MonoDETR, Queries
from add_model.detectors.monodetr_loss import monodetr_loss
from add_model.detectors.monodle_loss import identity
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.position import cell_depth


def branch(detector: MonoDETR) -> nn.Module:
    """What a teacher has beside its student: a way of depth into the features that the depth map is read from."""
    return DepthBranch([detector.channels], [detector.coder.stride], detector.channels)


def look(detector: MonoDETR, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Queries:
    """Images (B, H, W, 3) -> the answers that all else is read from.

    A teacher's depth (B, H, W) takes the place of the depth map that the detector predicts, which goes on learning to
    beside it; where it is unknown the map is as far away as for no object.
    """
    if branch is None:
        return detector.look(images, P)
    stride = detector.coder.stride
    cells = cell_depth(depth, stride).unflatten(1, (depth.shape[1] // stride, -1))
    near = cells / reference_focal_scale(P)[:, None, None]
    far = detector.coder.bins.far
    return detector.look(images, P, torch.where(cells > 0, near.clamp(max=far), far), sum(branch(depth)))


def losses(
    detector: MonoDETR,
    seen: Queries,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The detector's own losses."""
    return monodetr_loss(detector, seen, targets, total, processes)


def detect(detector: MonoDETR, seen: Queries, P: Tensor) -> Decoded:
    """What the answers hold."""
    return detector.detect(seen, P)
