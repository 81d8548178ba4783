"""CaDDN (Reading et al., 'Categorical Depth Distribution Network for Monocular 3D Object Detection', CVPR 2021).

The network predicts a distribution over depth bins for every cell of the image. Image features, spread over depth by
these distributions, are sampled into voxels, which are collapsed to a bird's-eye map on which anchors are classified
and refined. Where this differs from the paper: voxels stand in the camera's own frame, not in a LiDAR's, since a
robot's camera may have none beside it; depth bins are at a reference focal length, while voxels and boxes are in
metres; cells of unknown depth do not count in the depth loss; NMS runs after the network (`add_model.nms`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import CandidateBatch, Detector, take
from add_model.detectors.caddn.anchors import HEADINGS, AnchorTargetEncoder, Grid, decode_residuals
from add_model.detectors.caddn.depth_targets import DepthTargets, nearest_known
from add_model.detectors.caddn.features import AnchorOutputs, BevFeatures
from add_model.detectors.caddn.frustum import Frustum, sample_voxels
from add_model.detectors.caddn.loss import caddn_loss
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.losses import ONE_PROCESS, Normaliser
from add_model.detectors.target_assignment import Limits
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import REFERENCE_FOCAL, lift, own_projection, project, reference_focal_scale
from add_model.networks.bev import BirdsEyeNetwork
from add_model.networks.convolutions import conv_norm_relu
from add_model.networks.normalise import Normalise
from add_model.nms import NmsSettings

_NEAR = 0.1  # metres: corners behind the camera are projected as if they lay at this depth


class CaDDN(Detector[BevFeatures]):
    """Features are those of the ground before the camera, see `BevFeatures`.

    Args:
        frustum: normalised images -> image features and depth logits.
        network: the bird's-eye network.
        grid: the voxels.
        bins: how many depth bins there are.
        collapsed: channels of the collapsed voxels.
        max_detections: how many anchors become candidates.
        focal: pixels; depth bins stay at the reference focal length, and objects within the same limits are trained
            on, seen larger or smaller.
        classes: what it finds.
        depth_targets: which depth of a cell of the image its depth distribution is trained on.
        published_means: what its losses are divided by, see `caddn_loss`.
    """

    nms = NmsSettings(bev_iou=0.1)  # several anchors detect the same object

    def __init__(
        self,
        frustum: Frustum,
        network: BirdsEyeNetwork,
        grid: Grid,
        bins: int,
        collapsed: int = 64,
        max_detections: int = 200,
        focal: float = 2 * REFERENCE_FOCAL,
        classes: ClassSpec = KITTI_CLASSES,
        depth_targets: DepthTargets = nearest_known,
        published_means: bool = False,
    ) -> None:
        super().__init__()
        self.frustum, self.network, self.max_detections = frustum, network, max_detections
        self.focal, self.classes, self.published_means = focal, classes, published_means
        zoom = focal / REFERENCE_FOCAL
        self.target_encoder = AnchorTargetEncoder(
            grid,
            stride=network.stride,
            bins=DepthBins(bins, grid.low[0] / zoom, grid.high[0] / zoom),
            map_stride=frustum.stride,
            limits=Limits.seen_at(focal),
            classes=classes,
            depth_targets=depth_targets,
        )
        self.collapse = conv_norm_relu(frustum.channels * grid.shape[2], collapsed, 1)
        self.anchors_per_cell = len(classes) * len(HEADINGS)
        self.label = nn.Conv2d(network.channels, self.anchors_per_cell * len(classes), 1)
        self.box = nn.Conv2d(network.channels, self.anchors_per_cell * 7, 1)
        self.direction = nn.Conv2d(network.channels, self.anchors_per_cell * 2, 1)
        nn.init.constant_(self.label.bias, -math.log(99))  # a probability of 0.01 (focal loss, section 4.1)
        nn.init.normal_(self.box.weight, std=0.001)
        self.normalise = Normalise(frustum.backbone)
        z, x, y = grid.centres()
        points = np.stack(np.broadcast_arrays(x, y[:, None, None], z[:, None]), -1)  # (heights, rows, columns, 3)
        buffers = {"points": points, "anchors": self.target_encoder.anchors.reshape(-1, 7)}
        buffers |= {"depths": [*self.target_encoder.bins.middles, self.target_encoder.bins.far]}
        buffers |= {"corners": box3d.corners(np.array([[0.0, 0, 0, 1, 1, 1, 0]]))[0]}
        for name, value in buffers.items():
            self.register_buffer(name, torch.as_tensor(np.array(value, np.float32)), persistent=False)

    @property
    def backbone(self) -> nn.Module:
        """The part that ImageNet weights are for."""
        return self.frustum.backbone

    @property
    def published_part(self) -> nn.Module:
        """See `Detector`."""
        return self.frustum if hasattr(self.frustum, "load_weights") else self.backbone

    def extract_features(self, images: Tensor, P: Tensor) -> BevFeatures:
        """See `Detector`."""
        features, depth_logits = self.image_features(images)
        collapsed = self.lift_to_bev(features, self.depth_distribution(depth_logits), P, images.shape[1:3])
        return BevFeatures(self.network(collapsed), collapsed, depth_logits)

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, 3) uint8 RGB -> image features (B, C, h, w), depth logits (B, bins + 1, h, w)."""
        return self.frustum(self.normalise(images))

    def depth_distribution(self, depth_logits: Tensor) -> Tensor:
        """Depth logits (B, bins + 1, h, w) -> the probability of each bin (B, bins, h, w)."""
        return depth_logits.softmax(1)[:, :-1]

    def lift_to_bev(self, features: Tensor, distribution: Tensor, P: Tensor, image_size: Sequence[int]) -> Tensor:
        """Lift image features into voxels and collapse these over height.

        Args:
            features: (B, C, h, w) of the image.
            distribution: (B, bins, h, w) the probability of each depth bin.
            P: (B, 3, 4) of the images.
            image_size: (height, width) of the images in pixels.

        Returns:
            (B, C', voxel rows, voxel columns), the input of the bird's-eye network.
        """
        height, width = image_size
        bins = self.target_encoder.bins
        voxels = sample_voxels(features.float(), distribution.float(), P, self.points, bins, width, height)
        return self.collapse(voxels.flatten(1, 2))

    def losses(
        self, features: BevFeatures, targets: Mapping[str, Tensor], normaliser: Normaliser = ONE_PROCESS
    ) -> dict[str, Tensor]:
        """See `Detector`."""
        outputs = self.anchor_outputs(features)
        return caddn_loss(outputs, features.depth_logits, targets, self.anchors, normaliser, self.published_means)

    def decode(self, features: BevFeatures, P: Tensor) -> CandidateBatch:
        """See `Detector`."""
        outputs = self.anchor_outputs(features)
        best, label = outputs.class_logits.max(-1)
        scores, anchor = best.sigmoid().topk(self.max_detections, dim=1)
        direction = take(outputs.direction_logits, anchor).argmax(-1).to(outputs.residuals.dtype)
        own_boxes = decode_residuals(take(outputs.residuals, anchor), direction, self.anchors[anchor])
        camera = own_projection(P)[:, None]
        u, v, depth = project(camera, *own_boxes[..., :3].unbind(-1))
        centre = torch.stack(lift(P[:, None], u, v, depth), -1)
        boxes = torch.cat([centre, own_boxes[..., 3:]], -1)
        boxes2d = self._project_boxes(own_boxes, camera)
        depth_std = self._depth_std(features.depth_logits, u, v) * reference_focal_scale(camera)
        return CandidateBatch(scores, take(label, anchor), boxes, boxes2d, depth_std)

    def anchor_outputs(self, features: BevFeatures) -> AnchorOutputs:
        """What the heads predict for all anchors."""
        return AnchorOutputs(*(self._by_anchor(head, features) for head in (self.label, self.box, self.direction)))

    def class_logits(self, features: BevFeatures) -> Tensor:
        """(B, A, C): class logits of all anchors."""
        return self._by_anchor(self.label, features)

    def regress_at(self, cell_features: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (K, 7) and direction logits (K, 2) of anchors (K,), from the features (K, C) of their cells."""
        outputs = []
        for head in (self.box, self.direction):
            values = functional.linear(cell_features, head.weight.flatten(1), head.bias).float()
            values = values.unflatten(1, (self.anchors_per_cell, -1))
            outputs.append(values[torch.arange(anchor.shape[0], device=anchor.device), anchor % self.anchors_per_cell])
        return outputs[0], outputs[1]

    def cell_of(self, anchor: Tensor) -> Tensor:
        """The cells of the bird's-eye map, row by row, on which anchors (...) stand."""
        return torch.div(anchor, self.anchors_per_cell, rounding_mode="floor")

    def _by_anchor(self, head: nn.Module, features: BevFeatures) -> Tensor:
        values = head(features.bev_map).float().permute(0, 2, 3, 1)
        return values.flatten(1).unflatten(1, (len(self.anchors), -1))

    def _project_boxes(self, boxes: Tensor, camera: Tensor) -> Tensor:
        """Boxes (B, K, 7) in the camera's own frame -> 2D boxes (B, K, 4) around their corners, pixels."""
        offset = self.corners * boxes[:, :, None, [3, 5, 4]]
        cosine, sine = boxes[:, :, None, 6].cos(), boxes[:, :, None, 6].sin()
        x = boxes[:, :, None, 0] + cosine * offset[..., 0] + sine * offset[..., 2]
        z = boxes[:, :, None, 2] + cosine * offset[..., 2] - sine * offset[..., 0]
        y = boxes[:, :, None, 1] + offset[..., 1]
        u, v, _ = project(camera[:, :, None], x, y, z.clamp(min=_NEAR))
        return torch.stack([u.amin(-1), v.amin(-1), u.amax(-1), v.amax(-1)], -1)

    def _depth_std(self, depth_logits: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """The standard deviation of the depth distribution at pixels (B, K), at the reference focal length."""
        probability = depth_logits.float().softmax(1)
        depths = self.depths[:, None, None]
        mean = (probability * depths).sum(1, keepdim=True)
        std = (probability * (depths - mean) ** 2).sum(1, keepdim=True).clamp(min=1e-4).sqrt()
        rows, columns = depth_logits.shape[2:]
        stride = self.frustum.stride
        grid = torch.stack([2 * (u + 0.5) / (stride * columns) - 1, 2 * (v + 0.5) / (stride * rows) - 1], -1)
        sampled = functional.grid_sample(std, grid[:, :, None], padding_mode="border", align_corners=False)
        return sampled[:, 0, :, 0]
