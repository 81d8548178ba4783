"""GUPNet (Lu et al., 'Geometry Uncertainty Projection Network for Monocular 3D Object Detection', ICCV 2021).

A centre-based detector: a heatmap of projected 3D centres and, at its peaks, the 2D box. The box's region of the map
gives the 3D size, the heading and the centre. Depth is f H / h, from the object's height H in metres and its box's h in
pixels, plus a learnt bias; its uncertainty is that of H, projected alike, plus the bias's.

Where this differs from the paper and its published code:

- The learnt bias and the coordinate maps that regions get are at the reference focal length, and so is the
  uncertainty in training (`detectors.keypoint_encoder`). Where that is the camera's own they are equal.
- All losses weigh 1; Hierarchical Task Learning, the paper's schedule of weights, is `training.task_learning`.
- A small size's score is its heatmap peak times the probability that its depth is right to a metre, not exp(-sigma).
- A cell's centre is half a cell from its corner, as `KeypointEncoder` has it, also where regions are pooled. The
  published code puts cell j at pixel 4 j, which is 1.5 pixels off.
- Coordinate maps are in the camera's own frame. The published code adds the fourth column of P: 6 cm in KITTI.
- Small sizes' headings count against the ray to the 3D centre, not to the 2D box's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import CandidateBatch, Detector, Score, best_first, certain_score
from add_model.detectors.decoding import MAX_LOG_VARIANCE, decode_depth, top_peaks
from add_model.detectors.gupnet.features import MapFeatures
from add_model.detectors.gupnet.geometric_depth import coordinate_maps, depth_from_height
from add_model.detectors.gupnet.loss import gupnet_loss
from add_model.detectors.gupnet.roi_heads import RoIHeads
from add_model.detectors.heatmap import heatmap_head
from add_model.detectors.keypoint_encoder import KeypointEncoder, Radius, gaussian_radius
from add_model.detectors.losses import ONE_PROCESS, Normaliser
from add_model.detectors.sparse_heads import SparseHeads
from add_model.detectors.target_assignment import Limits
from add_model.distillation.target_objects import filled_rows
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.geometry.heading import HEADING_BINS
from add_model.networks.backbone import Backbone
from add_model.networks.normalise import Normalise
from add_model.networks.roi_align import roi_align
from add_model.nms import NmsSettings

BINS = 7  # along each side of a region
OUTPUTS_2D = {"offset_2d": 2, "size_2d": 2}
OUTPUTS_3D = {
    "depth": 2,  # coded bias and log variance
    "offset_3d": 2,
    "size_3d": 4,  # and the log variance of the height
    "heading": 2 * HEADING_BINS,
}


class GUPNet(Detector[MapFeatures]):
    """See the module.

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
        box_heading: see `KeypointEncoder`.
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
        box_heading: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.max_detections = backbone, neck, max_detections
        self.focal, self.classes = focal, classes
        self.nms, self.score = nms, score
        self.target_encoder = KeypointEncoder(classes, backbone.strides[0], Limits.seen_at(focal), radius, box_heading)
        self.heatmap_head = heatmap_head(neck.channels, hidden, len(classes), 0.1)  # as published
        self.box_heads = SparseHeads(neck.channels, hidden, OUTPUTS_2D)
        self.box_heads.start_small()  # boxes start without size, as published
        self.roi_heads = RoIHeads(neck.channels + 2 + len(classes), hidden, OUTPUTS_3D)
        self.normalise = Normalise(backbone)
        if box_heading:  # weights that were trained against another ray do not fit, and must not load
            self.register_buffer("heading_against_box_centre", torch.ones(()))
        self.register_buffer("mean_sizes", torch.tensor(classes.mean_sizes), persistent=False)

    def extract_features(self, images: Tensor, P: Tensor) -> MapFeatures:
        """See `Detector`."""
        return MapFeatures(self.neck(self.backbone(self.normalise(images))), P)

    def losses(
        self, features: MapFeatures, targets: Mapping[str, Tensor], normaliser: Normaliser = ONE_PROCESS
    ) -> dict[str, Tensor]:
        """See `Detector`."""
        heatmap = self.heatmap_head(features.neck_map)
        targets = filled(targets)
        outputs = self.regress_precisely(features, targets)
        return gupnet_loss(heatmap, outputs, targets, normaliser)

    def decode(self, features: MapFeatures, P: Tensor) -> CandidateBatch:
        """See `Detector`."""
        heatmap = self.heatmap_head(features.neck_map).sigmoid()
        scores, label, cell = top_peaks(heatmap, self.max_detections)
        outputs = self.regress(features, cell, label)
        boxes, boxes2d, depth_std = self.target_encoder.decode(
            cell, heatmap.shape[3], label, outputs, P, self.mean_sizes
        )
        return best_first(self.score(scores, depth_std), label, boxes, boxes2d, depth_std)

    def regress(
        self, features: MapFeatures, cell: Tensor, label: Tensor, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The quantities of `KeypointEncoder.decode`, and height_log_variance.

        Args:
            features: from `extract_features`.
            cell: (B, K) row * w + column.
            label: (B, K) index of the class there.
            mask: (B, K), which rows are real: the others have no region and no meaning; None for all.

        Returns:
            By name, (B, K, ...); depth and log_variance at the reference focal length.
        """
        neck_map, P, stride = features.neck_map, features.P, self.target_encoder.stride
        outputs = self.box_heads(neck_map, cell)
        boxes = cell_boxes(cell, neck_map.shape[3], outputs["offset_2d"], outputs["size_2d"])
        regions = self.regions(features, boxes, label)
        outputs |= _rowwise(self.roi_heads, regions, mask)
        size, size_log_variance = outputs["size_3d"].split((3, 1), dim=-1)
        height_log_variance = size_log_variance[..., 0].clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
        height = self.mean_sizes[label][..., 2] + size[..., 2]
        projected, projected_log_variance = depth_from_height(
            height, height_log_variance, outputs["size_2d"][..., 1] * stride, P
        )
        bias, bias_log_variance = decode_depth(outputs["depth"])
        return outputs | {
            "size_3d": size,
            "height_log_variance": height_log_variance,
            "depth": projected + bias,
            "log_variance": torch.logaddexp(projected_log_variance, bias_log_variance),
        }

    def regions(self, features: MapFeatures, boxes: Tensor, label: Tensor) -> Tensor:
        """What the heads of regions read: (B, K, C + 2 + classes, BINS, BINS) map, coordinate maps and one-hot class.

        Args:
            features: from `extract_features`.
            boxes: (B, K, 4) in cells.
            label: (B, K).
        """
        pooled = roi_align(features.neck_map, boxes, BINS)
        places = coordinate_maps(boxes * self.target_encoder.stride - 0.5, features.P, BINS)
        kind = functional.one_hot(label, len(self.classes)).to(pooled.dtype)
        kind = kind[..., None, None].expand(-1, -1, -1, BINS, BINS)
        return torch.cat([pooled, places, kind], 2)

    def regress_precisely(self, features: MapFeatures, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`regress` at the labelled objects' cells, in single precision: half would round depth to one part in 256."""
        neck_map = features.neck_map
        with torch.autocast(neck_map.device.type, enabled=False):
            single = MapFeatures(neck_map.float(), features.P)
            return self.regress(single, targets["cell"], targets["label"], targets["mask"])


def cell_boxes(cell: Tensor, columns: int, offset: Tensor, size: Tensor) -> Tensor:
    """2D boxes (B, K, 4) in cells, by the offsets (B, K, 2) of their centres from cells (B, K), and their sizes."""
    row = cell // columns
    centre = torch.stack([cell - row * columns, row], -1) + 0.5 + offset  # ONNX's remainder takes no symbolic size
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def filled(targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Targets of `KeypointEncoder.encode`, stacked -> without the rows at the end that no image fills."""
    rows = filled_rows(targets["mask"])
    return {name: value if name in ("heatmap", "ignore") else value[:, :rows] for name, value in targets.items()}


def _rowwise(heads: RoIHeads, regions: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """Heads of N regions each -> of regions (B, K, ...), 0 where there is none by the mask."""
    if mask is None:
        return {name: value.unflatten(0, regions.shape[:2]) for name, value in heads(regions.flatten(0, 1)).items()}
    place, outputs = mask.nonzero(as_tuple=True), {}
    for name, value in heads(regions[place]).items():
        outputs[name] = value.new_zeros(*mask.shape, value.shape[1]).index_put(place, value)
    return outputs
