"""How training asks CaDDN; see `monodle_teaching` for what a detector gives to be taught."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from add_model.detectors.caddn import CaDDN, Ground
from add_model.detectors.caddn_loss import caddn_loss
from add_model.detectors.decoded import Decoded
from add_model.detectors.monodle_loss import identity


def look(detector: CaDDN, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Ground:
    """Images (B, H, W, 3) and their P -> the ground that all else is read from."""
    return detector.look(images, P)


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
