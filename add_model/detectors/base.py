"""What every detector answers, and what it takes to score an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from add_model.geometry.camera import Camera
from add_model.labels import Labels

_DEPTH_TOLERANCE = 1.0  # metres


@dataclass(frozen=True)
class CandidateBatch:
    """The best K candidates of each image, best first: what prediction and export return.

    scores (B, K) in [0, 1]; labels (B, K) index CLASSES; boxes (B, K, 7) in P's frame; boxes2d (B, K, 4) in pixels
    of the network's input; depth_std (B, K) metres.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    boxes2d: Tensor
    depth_std: Tensor


def depth_certainty(depth_std: Tensor) -> Tensor:
    """The share of a Laplace distribution of this standard deviation, metres, that lies within the tolerance."""
    return 1 - torch.exp(-math.sqrt(2) * _DEPTH_TOLERANCE / depth_std)


def best_first(scores: Tensor, labels: Tensor, boxes: Tensor, boxes2d: Tensor, depth_std: Tensor) -> CandidateBatch:
    """Candidates in any order, as `CandidateBatch` has them, sorted by their scores."""
    scores, order = scores.sort(dim=1, descending=True)
    pick = lambda values: values.gather(1, order[..., None].expand(-1, -1, values.shape[2]))  # noqa: E731
    return CandidateBatch(scores, labels.gather(1, order), pick(boxes), pick(boxes2d), depth_std.gather(1, order))


class TargetEncoder(Protocol):
    """How labels become what a detector is taught: its attribute `target_encoder`. Runs in loader processes: numpy alone."""

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict:
        """Targets of one image as a dict of arrays, of the same shapes for all images of one size.

        depth_map (H, W): metres, 0 unknown, where the frames come with one. `mask` (M,) says which of the objects' rows
        are real; losses are divided by their number.
        """
