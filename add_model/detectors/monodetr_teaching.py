"""How training asks MonoDETR; see `monodle_teaching` for what a detector gives to be taught."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from add_model.detectors.decoded import Decoded
from add_model.detectors.monodetr import MonoDETR, Queries
from add_model.detectors.monodetr_loss import monodetr_loss
from add_model.detectors.monodle_loss import identity


def look(detector: MonoDETR, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Queries:
    """Images (B, H, W, 3) -> the answers that all else is read from."""
    return detector.look(images, P)


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
