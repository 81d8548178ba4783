"""How ADD distils CaDDN: depth replaces its estimate, tokens are cells of the bird's-eye map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.caddn.anchors import decode_residuals
from add_model.detectors.caddn.detector import CaDDN
from add_model.detectors.caddn.features import BevFeatures
from add_model.detectors.caddn.footprint_cells import footprint_cells
from add_model.detectors.depth_bins import DepthBins
from add_model.distillation.adapter import DistillationAdapter, TeacherTargets
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.losses import soft_focal_loss
from add_model.distillation.position_encoding import Encoding, at_reference, image_points, reference_depth
from add_model.distillation.target_objects import TargetObjects, object_shape

_TOKEN_SIDE, _ATTENDED_SIDE = 0.8, 3.2  # metres, about: of a token, and of what tokens attend to
_PILLAR_POINTS = 8  # of each token, in the encoding `frustum`
_TRUST = 1.0  # metres on the ground: a teacher that is wrong by this counts exp(-1)


@dataclass(frozen=True)
class CaDDNTargets(TeacherTargets[BevFeatures]):
    """The teacher's boxes at the K anchors that are positive.

    image, anchor (K,): which anchors they are
    boxes (K, 7): in the camera's own frame
    residuals (K, 7)
    directions (K, 2): probabilities
    weight (K,): the anchors of an object sum to 1, to less where the teacher is wrong
    """

    image: Tensor
    anchor: Tensor
    boxes: Tensor
    residuals: Tensor
    directions: Tensor
    weight: Tensor


class CaDDNAdapter(DistillationAdapter[CaDDN, BevFeatures, CaDDNTargets]):
    """A token is the mean of a square of cells of the bird's-eye map, so that N stays affordable on a CPU."""

    depth_estimator_losses = ("depth_map",)

    def depth_branch(self, detector: CaDDN) -> nn.Module:
        """Depth joins the image features."""
        return DepthBranch([detector.frustum.channels], [detector.frustum.stride], detector.frustum.channels)

    def teacher_features(
        self, detector: CaDDN, images: Tensor, P: Tensor, depth: Tensor, branch: nn.Module
    ) -> BevFeatures:
        """Known depth also replaces the estimated distribution."""
        features, depth_logits = detector.image_features(images)
        estimated = detector.depth_distribution(depth_logits)
        known = reference_depth(depth, P, detector.frustum.stride)
        exact = two_bin_distribution(known, detector.target_encoder.bins).to(estimated.dtype)
        distribution = torch.where(known[:, None] > 0, exact, estimated)
        addition = sum(branch(at_reference(depth, P)))
        collapsed = detector.lift_to_bev(features + addition, distribution, P, images.shape[1:3])
        return BevFeatures(detector.network(collapsed), collapsed, depth_logits)

    def token_channels(self, detector: CaDDN) -> int:
        return detector.network.channels

    def tokens(self, detector: CaDDN, features: BevFeatures) -> Tensor:
        """Means over squares of 0.8 m."""
        return _pool(features.bev_map, _cells_along(detector, _TOKEN_SIDE)).flatten(2).transpose(1, 2)

    def attended_tokens(self, detector: CaDDN, tokens: Tensor, features: BevFeatures) -> Tensor:
        """Means over squares of 3.2 m."""
        square = _cells_along(detector, _TOKEN_SIDE)
        rows = -(-features.bev_map.shape[2] // square)
        maps = tokens.transpose(1, 2).unflatten(2, (rows, -1))
        return _pool(maps, max(1, _cells_along(detector, _ATTENDED_SIDE) // square)).flatten(2).transpose(1, 2)

    def token_positions(
        self, detector: CaDDN, encoding: Encoding, features: BevFeatures, P: Tensor, depth: Tensor | None
    ) -> Tensor | None:
        """(1, N, D, 3), since tokens have the same positions in all images.

        `point` is the middle of a token's pillar, `frustum` points from its bottom to its top, `image` its place in the
        map without its metres.
        """
        rows, columns = (-(-side // _cells_along(detector, _TOKEN_SIDE)) for side in features.bev_map.shape[2:])
        if encoding is Encoding.none:
            return None
        if encoding is Encoding.image:
            return image_points(P[:1], rows, columns, 1)
        heights = _PILLAR_POINTS if encoding is Encoding.frustum else 1
        low, high = -detector.target_encoder.grid.high[2], -detector.target_encoder.grid.low[2]
        y = low + (high - low) / heights * (torch.arange(heights, device=P.device) + 0.5)
        x, z = token_centres(detector, features)[:, None].unbind(-1)
        return torch.stack(torch.broadcast_tensors(x, y, z), -1)[None]

    @torch.no_grad()
    def teacher_targets(
        self,
        teacher: CaDDN,
        teacher_features: BevFeatures,
        student: CaDDN,
        student_features: BevFeatures,
        targets: Mapping[str, Tensor],
        P: Tensor,
    ) -> CaDDNTargets:
        anchor_object = targets["anchor_object"].flatten(1).long()
        image, anchor = (anchor_object >= 0).nonzero(as_tuple=True)
        row = anchor_object[image, anchor]
        cell_features = _features_at(teacher, teacher_features, image, anchor)
        boxes, residuals, direction_logits = _decode_at(teacher, cell_features, anchor)
        count = torch.zeros_like(targets["mask"], dtype=boxes.dtype)
        count.index_put_((image, row), torch.ones_like(boxes[:, 0]), accumulate=True)
        error = (boxes[:, [0, 2]] - targets["box"][image, row][:, [0, 2]]).norm(dim=-1)
        weight = torch.exp(-error / _TRUST) / count[image, row]
        directions = direction_logits.softmax(-1)
        return CaDDNTargets(teacher, teacher_features, targets, image, anchor, boxes, residuals, directions, weight)

    def foreground_tokens(self, teacher_targets: CaDDNTargets) -> Tensor:
        """Those in an object's footprint, at least one of each object."""
        centres = token_centres(teacher_targets.teacher, teacher_targets.teacher_features)
        return footprint_cells(teacher_targets.targets["box"], teacher_targets.targets["mask"], centres)

    def object_queries(self, teacher_targets: CaDDNTargets) -> TargetObjects:
        box, label, mask = (teacher_targets.targets[name] for name in ("box", "label", "mask"))
        size = box[..., 3:6] - box.new_tensor(teacher_targets.teacher.classes.mean_sizes)[label]
        heading = box[..., 6] - torch.atan2(box[..., 0], box[..., 2])
        centre = torch.where(mask[..., None], box[..., :3], torch.nan)
        return TargetObjects(centre, label, object_shape(size, heading), mask)

    def regression_losses(
        self, detector: CaDDN, features: BevFeatures, teacher_targets: CaDDNTargets
    ) -> dict[str, Tensor]:
        """At the positive anchors, in metres and radians."""
        cell_features = _features_at(detector, features, teacher_targets.image, teacher_targets.anchor)
        return _regression_losses(detector, cell_features, teacher_targets)

    def adapted_losses(
        self, adapted_tokens: Tensor, features: BevFeatures, teacher_targets: CaDDNTargets
    ) -> dict[str, Tensor]:
        """Each cell of the student's map changes by as much as its token."""
        teacher, image, anchor = teacher_targets.teacher, teacher_targets.image, teacher_targets.anchor
        square, columns = _cells_along(teacher, _TOKEN_SIDE), features.bev_map.shape[3]
        cell = teacher.cell_of(anchor)
        # Only the cells of positive anchors are changed: a whole new map would be much larger.
        token = cell // columns // square * -(-columns // square) + cell % columns // square
        change = (adapted_tokens - self.tokens(teacher, features))[image, token]
        return _regression_losses(teacher, _features_at(teacher, features, image, anchor) + change, teacher_targets)

    def classification_loss(self, detector: CaDDN, features: BevFeatures, teacher_targets: CaDDNTargets) -> Tensor:
        """Of all anchors that the detector's own loss counts, summed as if each object had one positive anchor."""
        anchor_object = teacher_targets.targets["anchor_object"].flatten(1)
        with torch.no_grad():
            soft_target = teacher_targets.teacher.class_logits(teacher_targets.teacher_features).sigmoid()
        loss = soft_focal_loss(detector.class_logits(features), soft_target, (anchor_object == -2)[..., None])
        return loss * teacher_targets.targets["mask"].sum() / max(1, len(teacher_targets.anchor))


def two_bin_distribution(depth: Tensor, bins: DepthBins) -> Tensor:
    """Depth (B, h, w) -> (B, bins, h, w): probabilities of the two bins between whose middles it lies."""
    position = bins.position(depth)[:, None] - 0.5
    index = torch.arange(bins.count, device=depth.device)[:, None, None]
    return (1 - (position - index).abs()).clamp(min=0)


def token_centres(detector: CaDDN, features: BevFeatures) -> Tensor:
    """(N, 2): the tokens' centres on the ground as (x, z), metres in the camera's own frame."""
    cells = detector.anchors[:, [0, 2]].unflatten(0, (*features.bev_map.shape[2:], -1))[:, :, 0]
    return _pool(cells.permute(2, 0, 1)[None], _cells_along(detector, _TOKEN_SIDE))[0].flatten(1).T


def _features_at(detector: CaDDN, features: BevFeatures, image: Tensor, anchor: Tensor) -> Tensor:
    """(K, C): the bird's-eye map at the cells on which anchors (K,) of images (K,) stand."""
    return features.bev_map.flatten(2)[image, :, detector.cell_of(anchor)]


def _regression_losses(detector: CaDDN, cell_features: Tensor, teacher_targets: CaDDNTargets) -> dict[str, Tensor]:
    """Of the detector's boxes at the positive anchors, from the features (K, C) of their cells."""
    boxes, residuals, direction_logits = _decode_at(detector, cell_features, teacher_targets.anchor)
    error = (boxes - teacher_targets.boxes).abs()
    # Headings by the sine of their difference, as in the detector's own loss: the direction classifier resolves half a
    # turn.
    losses = {
        "centre": error[:, :3].sum(-1),
        "size_3d": error[:, 3:6].mean(-1),
        "heading": torch.sin(residuals[:, 6] - teacher_targets.residuals[:, 6]).abs(),
        "direction": functional.cross_entropy(direction_logits, teacher_targets.directions, reduction="none"),
    }
    return {name: (value * teacher_targets.weight).sum() for name, value in losses.items()}


def _decode_at(detector: CaDDN, cell_features: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, residuals (K, 7) and direction logits (K, 2) of anchors (K,), from the features (K, C) of their cells."""
    residuals, direction_logits = detector.regress_at(cell_features, anchor)
    boxes = decode_residuals(residuals, direction_logits.argmax(-1), detector.anchors[anchor])
    return boxes, residuals, direction_logits


def _cells_along(detector: CaDDN, side: float) -> int:
    """How many cells of the bird's-eye map are about this many metres, at least one."""
    return max(1, round(side / (detector.target_encoder.grid.sides[0] * detector.target_encoder.stride)))


def _pool(maps: Tensor, square: int) -> Tensor:
    """Means over squares of cells; those at the edge may be smaller."""
    return functional.avg_pool2d(maps, square, ceil_mode=True, count_include_pad=False)
