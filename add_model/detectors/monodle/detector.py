"""MonoDLE (Ma et al., 'Delving into Localization Errors for Monocular 3D Object Detection', CVPR 2021).

A centre-based detector: a heatmap of projected 3D centres, and at its peaks depth with its uncertainty, 3D size,
heading and the 2D box. Where this differs from the paper: regression heads are computed at the peaks only, depth is
coded at a reference focal length (`detectors.keypoint_encoder`), and a detection's score stays within [0, 1]: of small
sizes it is the heatmap peak times the probability that the depth is right to a metre.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import CandidateBatch, Detector, Score, best_first, certain_score
from add_model.detectors.decoding import decode_depth, decode_depth_by_deviation, top_peaks
from add_model.detectors.heatmap import heatmap_head
from add_model.detectors.keypoint_encoder import KeypointEncoder, Radius, gaussian_radius
from add_model.detectors.losses import ONE_PROCESS, Normaliser
from add_model.detectors.monodle.loss import monodle_loss
from add_model.detectors.sparse_heads import SparseHeads
from add_model.detectors.target_assignment import Limits
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.geometry.heading import HEADING_BINS
from add_model.networks.backbone import Backbone
from add_model.networks.normalise import Normalise
from add_model.nms import NmsSettings

OUTPUTS = {
    "offset_3d": 2,
    "depth": 2,  # coded depth and log variance
    "size_3d": 3,
    "heading": 2 * HEADING_BINS,
    "offset_2d": 2,
    "size_2d": 2,
}


class MonoDLE(Detector[Tensor]):
    """Features are the neck's map (B, C, H / stride, W / stride).

    Args:
        backbone: images -> feature maps.
        neck: feature maps -> (B, C, h, w) at the finest one's stride.
        hidden: channels within each head.
        max_detections: how many peaks of the heatmap become candidates.
        focal: pixels; depth stays coded at the reference focal length, and objects within the same limits are trained
            on, seen larger or smaller.
        classes: what it finds.
        radius: of the heatmap's peaks, see `KeypointEncoder`.
        nms: how repeated detections are suppressed; None for not at all.
        score: of candidates.
        likely_start: whether heads start with likely answers (peaks of a probability of 0.01, 20 m), or, as published,
            with 0.1 and weights near zero.
        log_deviation: whether the depth head answers the logarithm of depth's deviation, as published, or of its
            variance.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: nn.Module,
        hidden: int = 256,
        max_detections: int = 50,
        focal: float = REFERENCE_FOCAL,
        classes: ClassSpec = KITTI_CLASSES,
        radius: Radius = gaussian_radius,
        nms: NmsSettings | None = NmsSettings(),  # noqa: B008 - frozen
        score: Score = certain_score,
        likely_start: bool = True,
        log_deviation: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.max_detections = backbone, neck, max_detections
        self.focal, self.classes = focal, classes
        self.nms, self.score = nms, score
        self.target_encoder = KeypointEncoder(classes, backbone.strides[0], Limits.seen_at(focal), radius)
        # As the focal loss was published (section 4.1), or this detector.
        probability = 0.01 if likely_start else 0.1
        self.heatmap_head = heatmap_head(neck.channels, hidden, len(classes), probability)
        self.heads, self.log_deviation = SparseHeads(neck.channels, hidden, OUTPUTS), log_deviation
        if likely_start:
            nn.init.constant_(self.heads.outputs["depth"].bias[0], -3.0)  # starts at a depth of about 20 m
        else:
            self.heads.start_small()
        self.normalise = Normalise(backbone)
        if log_deviation:  # weights that were trained for the variance do not fit, and must not load
            self.register_buffer("depth_answers_log_deviation", torch.ones(()))
        self.register_buffer("mean_sizes", torch.tensor(classes.mean_sizes), persistent=False)

    def extract_features(self, images: Tensor, P: Tensor) -> Tensor:
        """See `Detector`."""
        return self.neck(self.backbone(self.normalise(images)))

    def losses(
        self, features: Tensor, targets: Mapping[str, Tensor], normaliser: Normaliser = ONE_PROCESS
    ) -> dict[str, Tensor]:
        """See `Detector`."""
        logits = self.heatmap_head(features)
        outputs = self.regress_precisely(features, targets["cell"])
        return monodle_loss(logits, outputs, targets, self.mean_sizes, normaliser)

    def decode(self, features: Tensor, P: Tensor) -> CandidateBatch:
        """See `Detector`."""
        heatmap = self.heatmap_head(features).sigmoid()
        scores, label, cell = top_peaks(heatmap, self.max_detections)
        outputs = self.regress(features, cell)
        boxes, boxes2d, depth_std = self.target_encoder.decode(
            cell, heatmap.shape[3], label, outputs, P, self.mean_sizes
        )
        return best_first(self.score(scores, depth_std), label, boxes, boxes2d, depth_std)

    def regress(self, features: Tensor, cell: Tensor) -> dict[str, Tensor]:
        """The quantities of `KeypointEncoder.decode` at cells (B, K) of the features."""
        outputs = self.heads(features, cell)
        decode = decode_depth_by_deviation if self.log_deviation else decode_depth
        depth, log_variance = decode(outputs["depth"])
        return outputs | {"depth": depth, "log_variance": log_variance}

    def regress_precisely(self, features: Tensor, cell: Tensor) -> dict[str, Tensor]:
        """`regress` in single precision: half would round depth to one part in 256, more than what is to be learnt."""
        with torch.autocast(features.device.type, enabled=False):
            return self.regress(features.float(), cell)
