"""What the distillation of centre-based detectors shares: a token is a cell of the neck's map."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.base import Detector
from add_model.detectors.losses import laplacian_loss
from add_model.distillation.adapter import DistillationAdapter, Features, TeacherTargets
from add_model.distillation.depth_branch import DepthBranch, maps_with_depth
from add_model.distillation.losses import soft_focal_loss, soft_heading_loss
from add_model.distillation.position_encoding import Encoding, at_reference, map_points, own_points
from add_model.distillation.target_objects import TargetObjects, object_shape
from add_model.geometry.camera import reference_focal_scale
from add_model.geometry.heading import HEADING_BINS, decode_heading

_ATTENDED_STRIDE = 16  # pixels
_BOX_PARTS = ("offset_3d", "size_3d", "offset_2d", "size_2d")


@dataclass(frozen=True)
class CentreTargets(TeacherTargets[Features]):
    """P (B, 3, 4); what the teacher answers at K cells of each image, and its trust (B, K) in each answer."""

    P: Tensor
    answers: Mapping[str, Tensor]
    trust: Tensor


AnyDetector = TypeVar("AnyDetector", bound=Detector[Any])
AnyTargets = TypeVar("AnyTargets", bound=CentreTargets[Any])


class CentreAdapter(DistillationAdapter[AnyDetector, Features, AnyTargets]):
    """Of a detector with a backbone, a neck, a heatmap_head and a KeypointEncoder."""

    @abstractmethod
    def neck_map(self, features: Features) -> Tensor:
        """The neck's map (B, C, h, w) in the detector's features."""

    @abstractmethod
    def features_of(self, neck_map: Tensor, P: Tensor) -> Features:
        """The detector's features with this map, of images with these P (B, 3, 4)."""

    def depth_branch(self, detector: AnyDetector) -> nn.Module:
        """Depth joins the backbone's maps and the neck's."""
        return DepthBranch(detector.backbone.channels, detector.backbone.strides, detector.neck.channels)

    def teacher_features(
        self, detector: AnyDetector, images: Tensor, P: Tensor, depth: Tensor, branch: nn.Module
    ) -> Features:
        *backbone_additions, neck_addition = branch(at_reference(depth, P))
        maps = maps_with_depth(detector.backbone, detector.normalise(images), backbone_additions)
        return self.features_of(detector.neck(maps) + neck_addition, P)

    def token_channels(self, detector: AnyDetector) -> int:
        return detector.neck.channels

    def shared_heads(self, detector: AnyDetector) -> tuple[nn.Module, ...]:
        return (detector.heatmap_head,)

    def tokens(self, detector: AnyDetector, features: Features) -> Tensor:
        return self.neck_map(features).flatten(2).transpose(1, 2)

    def attended_tokens(self, detector: AnyDetector, tokens: Tensor, features: Features) -> Tensor:
        """Means over squares of 16 pixels."""
        factor = max(1, _ATTENDED_STRIDE // detector.target_encoder.stride)
        token_map = _as_map(tokens, self.neck_map(features))
        return functional.avg_pool2d(token_map, factor).flatten(2).transpose(1, 2)

    def token_positions(
        self, detector: AnyDetector, encoding: Encoding, features: Features, P: Tensor, depth: Tensor | None
    ) -> Tensor | None:
        shape = self.neck_map(features).shape[2:]
        return map_points(encoding, P, depth, *shape, detector.target_encoder.stride)

    def foreground_tokens(self, teacher_targets: AnyTargets) -> Tensor:
        shape = self.neck_map(teacher_targets.teacher_features).shape[2:]
        return owners(teacher_targets.targets, *shape) >= 0

    def object_queries(self, teacher_targets: AnyTargets) -> TargetObjects:
        targets, columns = teacher_targets.targets, self.neck_map(teacher_targets.teacher_features).shape[3]
        centres = object_centres(targets, teacher_targets.P, columns, teacher_targets.teacher.target_encoder.stride)
        heading = decode_heading(targets["heading_bin"], targets["heading_residual"])
        return TargetObjects(centres, targets["label"], object_shape(targets["size_3d"], heading), targets["mask"])

    def adapted_losses(
        self, adapted_tokens: Tensor, features: Features, teacher_targets: AnyTargets
    ) -> dict[str, Tensor]:
        adapted_map = _as_map(adapted_tokens, self.neck_map(features))
        adapted_features = self.features_of(adapted_map, teacher_targets.P)
        return self.regression_losses(teacher_targets.teacher, adapted_features, teacher_targets)

    def classification_loss(self, detector: AnyDetector, features: Features, teacher_targets: AnyTargets) -> Tensor:
        with torch.no_grad():
            teacher_map = self.neck_map(teacher_targets.teacher_features)
            soft_target = teacher_targets.teacher.heatmap_head(teacher_map).sigmoid()
        logits = detector.heatmap_head(self.neck_map(features))
        return soft_focal_loss(logits, soft_target, teacher_targets.targets["ignore"])


def object_centres(targets: Mapping[str, Tensor], P: Tensor, columns: int, stride: int) -> Tensor:
    """(B, M, 3): the labelled objects' centres in the camera's own frame, metres; NaN for rows without an object."""
    cell = targets["cell"]
    u = (cell % columns + 0.5 + targets["offset_3d"][..., 0]) * stride - 0.5
    v = (cell // columns + 0.5 + targets["offset_3d"][..., 1]) * stride - 0.5
    return own_points(P, u, v, targets["depth"] * reference_focal_scale(P)[:, None])


def soft_answers(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs (B, K, ...) as `KeypointEncoder.decode` reads them -> what a student is to answer."""
    bins, residuals = outputs["heading"].split(HEADING_BINS, dim=-1)
    answers = {name: outputs[name] for name in ("depth", *_BOX_PARTS)}
    return answers | {"bins": bins.softmax(-1), "residuals": residuals}


def answer_losses(outputs: Mapping[str, Tensor], answers: Mapping[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    """How outputs (B, K, ...) differ from `soft_answers`, in decoded units, summed by weights (B, K).

    The uncertainty of a depth weighs its error and gets no gradient here: how far a depth is from a teacher's is not
    how wrong it is.
    """
    losses = {name: (outputs[name] - answers[name]).abs().mean(-1) for name in _BOX_PARTS}
    losses["depth"] = laplacian_loss(outputs["depth"], outputs["log_variance"].detach(), answers["depth"])
    losses["heading"] = soft_heading_loss(outputs["heading"], answers["bins"], answers["residuals"])
    return {name: (value * weight).sum() for name, value in losses.items()}


def owners(targets: Mapping[str, Tensor], rows: int, columns: int) -> Tensor:
    """Targets of `KeypointEncoder.encode`, stacked -> (B, rows * columns) the object each cell sees, -1 for none.

    An object is seen within its 2D box, nearer objects cover farther ones, and every object has its own cell.
    """
    centre = places(targets["cell"], columns) + targets["offset_2d"]
    half = targets["size_2d"][:, :, None] / 2
    every = torch.arange(rows * columns, device=centre.device)
    away = (places(every, columns) - centre[:, :, None]).abs()
    covered = (away <= half).all(-1) & targets["mask"][:, :, None]  # (B, M, N)
    depth = torch.where(covered, targets["depth"][:, :, None], torch.inf)
    nearest, index = depth.min(dim=1)
    index = torch.where(nearest.isinf(), -1, index)
    own = targets["cell"][:, :, None] == every
    own &= targets["mask"][:, :, None]
    depth = torch.where(own, targets["depth"][:, :, None], torch.inf)
    nearest, at_home = depth.min(dim=1)
    return torch.where(nearest.isinf(), index, at_home)


def places(cell: Tensor, columns: int) -> Tensor:
    """Cells (...) -> (..., 2) as (column, row)."""
    return torch.stack([cell % columns, cell // columns], -1).float()


def _as_map(tokens: Tensor, neck_map: Tensor) -> Tensor:
    """(B, N, C) -> (B, C, h, w) of the map's shape."""
    return tokens.transpose(1, 2).unflatten(2, neck_map.shape[2:])
