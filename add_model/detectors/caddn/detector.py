"""CaDDN (Reading et al., 'Categorical Depth Distribution Network for Monocular 3D Object Detection', CVPR 2021).

Every cell of the image says how probable each depth bin is; its features, spread over depth by that, are sampled into
voxels, which are collapsed to a bird's-eye map and searched for objects with anchors. Where this differs from the
paper: voxels stand in the camera's own frame, not in a LiDAR's, since a robot's camera may have none beside it; depth
bins are at a reference focal length , while voxels and boxes are in metres; cells whose depth is not
known are not taught any; suppression follows the graph (`add_model.nms`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.base import CandidateBatch
from add_model.detectors.caddn.anchors import HEADINGS, AnchorTargetEncoder, Grid, decode_residuals
from add_model.detectors.caddn.frustum import sample_voxels
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import CLASSES, Limits
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import REFERENCE_FOCAL, lift, own_projection, project, reference_focal_scale
from add_model.networks.normalise import Normalise

_NEAR = 0.1  # metres: corners behind the camera are taken to lie there when they are projected


@dataclass(frozen=True)
class Ground:
    """What all else is read from: the joined bird's-eye features (B, C, rows, columns), depth logits (B, bins + 1, h,
    w), and the collapsed voxels `bev` (B, C, ...) that the bird's-eye network is given.
    """

    features: Tensor
    depth_logits: Tensor
    bev: Tensor


class CaDDN(nn.Module):
    """frustum: normalised images -> features and depth logits, with `.backbone`, `.stride`, `.channels`; network: the
    bird's-eye network. focal: as `MonoDLE` has it. candidates: how many anchors are answered with.
    """

    nms_bev_iou = 0.1  # of several anchors that answer for one object, the best stays

    def __init__(
        self,
        frustum: nn.Module,
        network: nn.Module,
        grid: Grid,
        bins: int,
        collapsed: int = 64,
        candidates: int = 200,
        focal: float = 2 * REFERENCE_FOCAL,
    ) -> None:
        super().__init__()
        self.frustum, self.network, self.focal, self.candidates = frustum, network, focal, candidates
        zoom = focal / REFERENCE_FOCAL
        self.target_encoder = AnchorTargetEncoder(
            grid,
            stride=network.stride,
            bins=DepthBins(bins, grid.low[0] / zoom, grid.high[0] / zoom),
            map_stride=frustum.stride,
            limits=Limits.seen_at(focal),
        )
        self.collapse = nn.Sequential(
            nn.Conv2d(frustum.channels * grid.shape[2], collapsed, 1, bias=False), nn.BatchNorm2d(collapsed), nn.ReLU()
        )
        each = len(CLASSES) * len(HEADINGS)
        self.label = nn.Conv2d(network.channels, each * len(CLASSES), 1)
        self.box = nn.Conv2d(network.channels, each * 7, 1)
        self.direction = nn.Conv2d(network.channels, each * 2, 1)
        nn.init.constant_(self.label.bias, -math.log(99))  # starts at a probability of 0.01 (focal loss, section 4.1)
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
        """The one that ImageNet weights are for."""
        return self.frustum.backbone

    def forward(self, images: Tensor, P: Tensor) -> CandidateBatch:
        """Images (B, H, W, 3) uint8 RGB, sides multiples of 32, and their P (B, 3, 4) -> the best candidates."""
        return self.detect(self.look(images, P), P)

    def look(self, images: Tensor, P: Tensor, given: Tensor | None = None, added: Tensor | float = 0.0) -> Ground:
        """Images and their P -> the ground before the cameras.

        given (B, h, w): a teacher's depth at the reference focal length, 0 unknown, which takes the place of the
        predicted distribution where it is known. added (B, C, h, w): what it adds to the image's features.
        """
        height, width = images.shape[1:3]
        images = self.normalise(images)
        features, logits = self.frustum(images)
        distribution = logits.softmax(1)[:, :-1]
        if given is not None:
            distribution = torch.where(given[:, None] > 0, self._sure(given).to(distribution.dtype), distribution)
        bins = self.target_encoder.bins
        voxels = sample_voxels((features + added).float(), distribution.float(), P, self.points, bins, width, height)
        bev = self.collapse(voxels.flatten(1, 2))
        return Ground(self.network(bev), logits, bev)

    def _sure(self, depth: Tensor) -> Tensor:
        """Depth (B, h, w) -> (B, bins, h, w): shared by the two bins between whose middles it lies."""
        place = self.target_encoder.bins.position(depth)[:, None] - 0.5
        index = torch.arange(self.target_encoder.bins.count, device=depth.device)[:, None, None]
        return (1 - (place - index).abs()).clamp(min=0)

    def cell_of(self, anchor: Tensor) -> Tensor:
        """The cells of the joined features, row by row, on which anchors (...) stand."""
        return torch.div(anchor, len(CLASSES) * len(HEADINGS), rounding_mode="floor")

    def answers_at(self, seen: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (K, 7) and direction logits (K, 2) of anchors (K,), from the features (K, C) of their cells."""
        each = len(CLASSES) * len(HEADINGS)
        parts = []
        for layer in (self.box, self.direction):
            values = functional.linear(seen, layer.weight.flatten(1), layer.bias).float().unflatten(1, (each, -1))
            parts.append(values[torch.arange(len(anchor), device=anchor.device), anchor % each])
        return tuple(parts)

    def answers(self, ground: Ground) -> tuple[Tensor, Tensor, Tensor]:
        """Of each anchor: class logits (B, A, C), residuals (B, A, 7), direction logits (B, A, 2)."""
        return tuple(self._of_anchors(layer, ground) for layer in (self.label, self.box, self.direction))

    def class_logits(self, ground: Ground) -> Tensor:
        """Of each anchor: class logits (B, A, C)."""
        return self._of_anchors(self.label, ground)

    def _of_anchors(self, layer: nn.Module, ground: Ground) -> Tensor:
        values = layer(ground.features).float().permute(0, 2, 3, 1)
        return values.flatten(1).unflatten(1, (len(self.anchors), -1))

    def detect(self, ground: Ground, P: Tensor) -> CandidateBatch:
        """The best anchors' boxes for images with these P (B, 3, 4)."""
        logits, residuals, directions = self.answers(ground)
        best, label = logits.max(-1)
        scores, anchor = best.sigmoid().topk(self.candidates, dim=1)
        pick = lambda values: values.gather(1, anchor[..., None].expand(-1, -1, values.shape[2]))  # noqa: E731
        direction = pick(directions).argmax(-1).to(residuals.dtype)
        own = decode_residuals(pick(residuals), direction, self.anchors[anchor])
        camera = own_projection(P)[:, None]
        u, v, depth = project(camera, *own[..., :3].unbind(-1))
        place = torch.stack(lift(P[:, None], u, v, depth), -1)
        boxes = torch.cat([place, own[..., 3:]], -1)
        boxes2d = self._rectangles(own, camera)
        depth_std = self._spread(ground.depth_logits, u, v) * reference_focal_scale(camera)
        return CandidateBatch(scores, label.gather(1, anchor), boxes, boxes2d, depth_std)

    def _rectangles(self, boxes: Tensor, camera: Tensor) -> Tensor:
        """Boxes (B, K, 7) in the camera's own frame -> what encloses their corners (B, K, 4), pixels."""
        offset = self.corners * boxes[:, :, None, [3, 5, 4]]
        cosine, sine = boxes[:, :, None, 6].cos(), boxes[:, :, None, 6].sin()
        x = boxes[:, :, None, 0] + cosine * offset[..., 0] + sine * offset[..., 2]
        z = boxes[:, :, None, 2] + cosine * offset[..., 2] - sine * offset[..., 0]
        y = boxes[:, :, None, 1] + offset[..., 1]
        u, v, _ = project(camera[:, :, None], x, y, z.clamp(min=_NEAR))
        return torch.stack([u.amin(-1), v.amin(-1), u.amax(-1), v.amax(-1)], -1)

    def _spread(self, logits: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """The standard deviation of the depth distribution at pixels (B, K), at the reference focal length."""
        probability = logits.float().softmax(1)
        depths = self.depths[:, None, None]
        mean = (probability * depths).sum(1, keepdim=True)
        spread = (probability * (depths - mean) ** 2).sum(1, keepdim=True).clamp(min=1e-4).sqrt()
        rows, columns = logits.shape[2:]
        stride = self.frustum.stride
        places = torch.stack([2 * (u + 0.5) / (stride * columns) - 1, 2 * (v + 0.5) / (stride * rows) - 1], -1)
        return functional.grid_sample(spread, places[:, :, None], padding_mode="border", align_corners=False)[
            :, 0, :, 0
        ]
