"""Distillation from a teacher of another backbone, whose tokens are matched by a projection. Beyond ADD's paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.base import Detector
from add_model.detectors.centre_distillation import CentreAdapter, owners
from add_model.distillation.losses import feature_loss, soft_focal_loss
from add_model.distillation.position_encoding import Encoding
from add_model.registry import adapter_for
from add_model.registry import build as build_detector
from training.checkpoints import load_checkpoint, trained_detector
from training.data.collation import Batch
from training.errors import TrainingError
from training.objectives.add import LossWeight
from training.objectives.base import Adapter, LossContext, Objective, TrainingObjective, require_depth
from training.objectives.distilled import DistilledObjective
from training.objectives.teacher import trained_branch


@dataclass(frozen=True)
class ProjectedDistillation(TrainingObjective):
    """The detector's own losses, and those by which it learns from a frozen teacher with another backbone or size.

    Not in ADD's paper, whose teacher has the student's architecture: the student's tokens, behind ADD's self-attention
    adapter, are projected to the teacher's channels, and the teacher's map is brought to the student's cells. The
    teacher sees the student's views, scaled to its own focal length. For MonoDLE and GUPNet, whose tokens are a map's
    cells. None of the weights has been tuned.

    Args:
        teacher: Checkpoint of a run with TeacherTraining; null where a checkpoint of this run holds it.
        teacher_model: Its model's name.
        encoding: Of the tokens' positions in the adapter.
        layers: Of the self-attention adapter; 0 for none.
        adapter_drop_prob: Share of images whose tokens go past the adapter.
        background_weight: What a token that belongs to no object counts in the feature loss, where others count 1.
        features: The projected features.
        classification: The heatmap.
    """

    teacher: str | None
    teacher_model: str
    encoding: Encoding = Encoding.point
    layers: int = 1
    adapter_drop_prob: float = 0.5
    background_weight: float = 0.1
    features: LossWeight = LossWeight(160.0)  # noqa: RUF009 - frozen
    classification: LossWeight = LossWeight(1.0)  # noqa: RUF009 - frozen

    @property
    def active(self) -> dict[str, LossWeight]:
        """The losses that have a weight, by name."""
        every = {"features": self.features, "classification": self.classification}
        return {name: part for name, part in every.items() if part.weight}

    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """The frozen teacher, the self-attention adapter and the projection."""
        teacher_adapter = adapter_for(self.teacher_model)
        for kind in (adapter, teacher_adapter):
            if not isinstance(kind, CentreAdapter):
                raise TrainingError(
                    "ProjectedDistillation is for detectors whose tokens are cells of a map, MonoDLE and GUPNet, as"
                    f" student and as teacher; not for one with {type(kind).__name__}"
                )
        if self.teacher is None:
            teacher = build_detector(self.teacher_model, detector.classes)
            return ProjectedObjective(self, adapter, teacher_adapter, detector, teacher, None)
        checkpoint = load_checkpoint(self.teacher)
        if checkpoint["model_name"] != self.teacher_model:
            raise TrainingError(
                f"the teacher {self.teacher} is a {checkpoint['model_name']}: give it as model.objective.teacher_model"
            )
        teacher = trained_detector(checkpoint, self.teacher)
        if teacher.classes.names != detector.classes.names:
            raise TrainingError(
                f"the teacher {self.teacher} finds {', '.join(teacher.classes.names)}, the student"
                f" {', '.join(detector.classes.names)}: both need the same classes, in the same order"
            )
        branch = trained_branch(checkpoint, self.teacher, teacher, teacher_adapter)
        return ProjectedObjective(self, adapter, teacher_adapter, detector, teacher, branch)


class ProjectedObjective(DistilledObjective):
    """See `ProjectedDistillation`. A depth branch of None is one that adds nothing."""

    def __init__(
        self,
        config: ProjectedDistillation,
        adapter: CentreAdapter[Any, Any, Any],
        teacher_adapter: CentreAdapter[Any, Any, Any],
        detector: Detector,
        teacher: Detector,
        depth_branch: nn.Module | None,
    ) -> None:
        depth_branch = depth_branch or teacher_adapter.depth_branch(teacher)
        super().__init__(config, adapter, teacher, depth_branch)
        self.teacher_adapter = teacher_adapter
        self.zoom = teacher.focal / detector.focal
        # Processes that train together need a gradient of every parameter: what is switched off has none.
        if "features" in config.active:
            channels = adapter.token_channels(detector)
            self.add_adapter(channels, positioned=bool(config.layers))
            self.projection = nn.Linear(channels, teacher_adapter.token_channels(teacher))
            nn.init.eye_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)

    def distilled_losses(self, detector: Detector, features: Any, context: LossContext) -> dict[str, Tensor]:
        """See `DistilledObjective`."""
        adapter, batch, active = self.detector_adapter, context.batch, self.config.active
        teacher, depth_branch = self.folded_teacher()
        student_map = adapter.neck_map(features)
        with torch.no_grad():
            seen = scaled(batch, self.zoom, teacher.size_multiple)
            teacher_map = self.teacher_adapter.neck_map(
                self.teacher_adapter.teacher_features(
                    teacher, seen.images, seen.P, require_depth(seen.depth), depth_branch
                )
            )
        losses = {}
        if "features" in active:
            projected = self.projection(self.adapted_tokens(detector, features, context)[0])
            teacher_tokens = to_cells(teacher_map, student_map).flatten(2).transpose(1, 2)
            inside = owners(batch.targets, *student_map.shape[2:]) >= 0
            weight = torch.where(inside, 1.0, self.config.background_weight)
            losses["features"] = feature_loss(projected, teacher_tokens, weight)
        if "classification" in active:
            with torch.no_grad():
                heatmap = functional.adaptive_max_pool2d(teacher.heatmap_head(teacher_map), student_map.shape[2:])
            logits = detector.heatmap_head(student_map)
            loss = soft_focal_loss(logits, heatmap.sigmoid(), batch.targets["ignore"])
            losses["classification"] = loss / context.object_count
        return losses


def scaled(batch: Batch, zoom: float, multiple: int) -> Batch:
    """The images, P and depth of a batch as a camera of `zoom` times the focal length has them.

    Sides are the multiples next to that, of which P has the exact factors. Depth keeps its metres: it is copied from
    the nearest pixel, since means over edges are nowhere.
    """
    rows, columns = (max(1, round(side * zoom / multiple)) * multiple for side in batch.images.shape[1:3])
    if (rows, columns) == tuple(batch.images.shape[1:3]):
        return batch
    images = functional.interpolate(
        batch.images.permute(0, 3, 1, 2).float(), (rows, columns), mode="bilinear", antialias=True
    )
    # Pixel centres as `Camera.resize` has them.
    sx, sy = columns / batch.images.shape[2], rows / batch.images.shape[1]
    warp = batch.P.new_tensor([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
    depth = require_depth(batch.depth)
    depth = functional.interpolate(depth[:, None], (rows, columns), mode="nearest-exact")[:, 0]
    images = images.round().clamp(0, 255).to(batch.images.dtype).permute(0, 2, 3, 1)
    return batch._replace(images=images, P=warp @ batch.P, depth=depth)


def to_cells(teacher_map: Tensor, student_map: Tensor) -> Tensor:
    """A teacher's map (B, C, h', w') on the student's cells (B, C, h, w): means where it is finer."""
    if teacher_map.shape[2:] == student_map.shape[2:]:
        return teacher_map
    return functional.interpolate(
        teacher_map, student_map.shape[2:], mode="bilinear", align_corners=False, antialias=True
    )
