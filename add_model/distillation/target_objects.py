"""The labelled objects, as target-aware cross-attention queries them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TargetObjects:
    """M rows for each image, filled from the first on.

    centre (B, M, 3): metres in the camera's own optical frame, NaN in rows without an object
    label (B, M): index of the class
    shape (B, M, 5): from `object_shape`
    mask (B, M): which rows are real
    detector_query (B, M, C): the detector's own query of each object, None for detectors without queries
    """

    centre: Tensor
    label: Tensor
    shape: Tensor
    mask: Tensor
    detector_query: Tensor | None = None

    def filled(self) -> TargetObjects:
        """Without the rows at the end that no image fills."""
        count = filled_rows(self.mask)
        rows = (self.centre, self.label, self.shape, self.mask, self.detector_query)
        return TargetObjects(*(None if part is None else part[:, :count] for part in rows))


def filled_rows(mask: Tensor) -> int:
    """How many rows the fullest image fills, by the mask (B, M) of rows, filled from the first on; one at least.

    Most rows are empty in every image of a batch, and work grows with them.
    """
    return max(1, int(mask.sum(1).max()))


def object_shape(size: Tensor, heading: Tensor) -> Tensor:
    """Sizes (B, M, 3) off the class mean in metres, headings (B, M) against the viewing ray -> (B, M, 5)."""
    return torch.cat([size, heading.sin()[..., None], heading.cos()[..., None]], -1)
