"""MonoDLE (Ma et al., 'Delving into Localization Errors for Monocular 3D Object Detection', CVPR 2021).

A centre-based detector: a heatmap of projected 3D centres, and at its peaks depth with its uncertainty, 3D size,
heading and the 2D box. Where this differs from the paper: regression heads are computed at the peaks only, depth is
coded at a reference focal length (`detectors.keypoint_encoder`), and a detection's score is its heatmap peak times the
probability that its depth is right to a metre, which stays within [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.base import CandidateBatch, best_first, depth_certainty
from add_model.detectors.decoding import decode_depth
from add_model.detectors.keypoint_encoder import KeypointEncoder
from add_model.detectors.sparse_heads import SparseHeads
from add_model.detectors.target_assignment import CLASSES, MEAN_SIZES, Limits
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.geometry.heading import HEADING_BINS
from add_model.networks.normalise import Normalise

OUTPUTS = {
    "offset_3d": 2,
    "depth": 2,  # coded depth and log variance
    "size_3d": 3,
    "heading": 2 * HEADING_BINS,
    "offset_2d": 2,
    "size_2d": 2,
}


class MonoDLE(nn.Module):
    """backbone: images -> feature maps, with `.channels`, `.strides`, MEAN and STD; neck: maps -> (B, C, h, w) at the
    finest one's stride.

    focal: the focal length, pixels, to which images are scaled for this network. Depth stays coded at the target_encoder's
    reference focal length, and what is taught stays the same, seen larger or smaller.
    """

    nms_bev_iou = 1.0  # a heatmap's peaks are apart: no more than `without_duplicates` always does

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        hidden: int = 256,
        peaks: int = 50,
        focal: float = REFERENCE_FOCAL,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.peaks, self.focal = backbone, neck, peaks, focal
        self.target_encoder = KeypointEncoder(backbone.strides[0], Limits.seen_at(focal))
        self.heat = nn.Sequential(
            nn.Conv2d(neck.channels, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, len(CLASSES), 1)
        )
        nn.init.constant_(
            self.heat[-1].bias, -math.log(99)
        )  # starts at a probability of 0.01 (focal loss, section 4.1)
        self.heads = SparseHeads(neck.channels, hidden, OUTPUTS)
        nn.init.constant_(self.heads.outputs["depth"].bias[0], -3.0)  # starts at a depth of about 20 m
        self.normalise = Normalise(backbone)
        self.register_buffer("mean_sizes", torch.tensor(MEAN_SIZES), persistent=False)

    def features(self, images: Tensor, added: Sequence[Tensor] | None = None) -> Tensor:
        """Images (B, H, W, 3) uint8 RGB, sides multiples of 32 -> (B, C, H / stride, W / stride).

        added: what a teacher's depth adds to the backbone's maps and, the last, to the features themselves.
        """
        images = self.normalise(images)
        if added is None:
            return self.neck(self.backbone(images))
        return self.neck(self.backbone(images, added[:-1])) + added[-1]

    def regress(self, features: Tensor, cell: Tensor) -> dict[str, Tensor]:
        """The quantities of `KeypointEncoder` at cells (B, K) of the features."""
        return _quantities(self.heads(features, cell))

    def forward(self, images: Tensor, P: Tensor) -> CandidateBatch:
        """Images (B, H, W, 3) uint8 RGB and their P (B, 3, 4) -> the best candidates."""
        return self.detect(self.features(images), P)

    def detect(self, features: Tensor, P: Tensor) -> CandidateBatch:
        """The best candidates of features (B, C, h, w) of images with these P (B, 3, 4)."""
        heat = self.heat(features).sigmoid()
        scores, label, cell = top_peaks(heat, self.peaks)
        outputs = self.regress(features, cell)
        boxes, boxes2d, depth_std = self.target_encoder.decode(cell, heat.shape[3], label, outputs, P, self.mean_sizes)
        return best_first(scores * depth_certainty(depth_std), label, boxes, boxes2d, depth_std)


def top_peaks(heat: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The local maxima of heat (B, C, h, w) -> (scores, class index, cell as row * w + column), each (B, count)."""
    peaks = heat * (functional.max_pool2d(heat, 3, stride=1, padding=1) == heat)
    scores, index = peaks.flatten(1).topk(count, dim=1)
    cells = heat.shape[2] * heat.shape[3]
    label = index // cells
    return scores, label, index - label * cells  # ONNX's remainder takes no symbolic size


def _quantities(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    quantities = dict(raw)
    quantities["depth"], quantities["log_variance"] = decode_depth(raw["depth"])
    return quantities
