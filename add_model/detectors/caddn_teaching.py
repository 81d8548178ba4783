"""How ADD teaches CaDDN: depth takes the place of its estimate. `monodle_teaching` has all that there is to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from add_model.coder import reference_focal_scale
from add_model.detectors.caddn import CaDDN, Ground
from add_model.detectors.caddn_loss import caddn_loss
from add_model.detectors.decoded import Decoded
from add_model.detectors.monodle_loss import identity
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.position import cell_depth


def branch(detector: CaDDN) -> nn.Module:
    """What a teacher has beside its student: a way of depth into the image's features."""
    return DepthBranch([detector.frustum.channels], [detector.frustum.stride], detector.frustum.channels)


def look(detector: CaDDN, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Ground:
    """Images (B, H, W, 3) and their P -> the ground that all else is read from.

    A teacher's depth (B, H, W) takes the place of the depths that the detector estimates, which goes on learning to
    beside it.
    """
    if branch is None:
        return detector.look(images, P)
    stride = detector.frustum.stride
    cells = cell_depth(depth, stride).unflatten(1, (depth.shape[1] // stride, -1))
    return detector.look(images, P, cells / reference_focal_scale(P)[:, None, None], sum(branch(depth)))


def losses(
    detector: CaDDN,
    ground: Ground,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The detector's own losses."""
    return caddn_loss(detector, ground, targets, total, processes)


def detect(detector: CaDDN, ground: Ground, P: Tensor) -> Decoded:
    """What the ground holds."""
    return detector.detect(ground, P)
