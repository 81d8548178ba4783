"""Distillation with attention: ADD (Wu et al., AAAI 2023), as this project reconstructs it (see docs/research)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from add_model.detectors.base import Detector
from add_model.distillation.adapter import TeacherTargets
from add_model.distillation.attention import TargetAttention
from add_model.distillation.losses import embedding_loss, feature_loss
from add_model.distillation.position_encoding import Encoding, PositionalEncoding
from add_model.distillation.target_objects import TargetObjects
from training.checkpoints import load_checkpoint, trained_detector
from training.errors import TrainingError, require_not_negative, require_share
from training.objectives.base import Adapter, LossContext, Objective, TrainingObjective
from training.objectives.distilled import DistilledObjective
from training.objectives.teacher import trained_branch

_INTERMEDIATE = ("features", "adapted", "targets")
_RESPONSES = ("regression", "classification")


@dataclass(frozen=True)
class LossWeight:
    """How much one of ADD's losses counts.

    Args:
        weight: Of the loss; 0 switches it off.
        warmup_fraction: Share of the training over which the weight rises from 0.
        decay_fraction: Share at the end of the training over which it falls to 0.
    """

    weight: float
    warmup_fraction: float = 0.1
    decay_fraction: float = 0.5

    def require_usable(self, option: str) -> None:
        """Raises TrainingError where a number is out of range: with a negative one the student flees its teacher."""
        require_not_negative(f"{option}.weight", self.weight)
        require_share(f"{option}.warmup_fraction", self.warmup_fraction)
        require_share(f"{option}.decay_fraction", self.decay_fraction)

    def at(self, progress: float) -> float:
        """The weight when this share of the training is done."""
        rise = min(1.0, progress / self.warmup_fraction) if self.warmup_fraction else 1.0
        fall = min(1.0, (1.0 - progress) / self.decay_fraction) if self.decay_fraction else 1.0
        return self.weight * rise * fall


@dataclass(frozen=True)
class ADDDistillation(TrainingObjective):
    """The detector's own losses, and those by which it learns from a frozen teacher.

    Args:
        teacher: Checkpoint of a run with TeacherTraining, of the same model; null where a checkpoint of this run holds
            it.
        encoding: Of the tokens' positions (an object's query always has its 3D centre's).
        layers: Of the self-attention adapter; 0 for none.
        adapter_drop_prob: Share of images whose tokens go past the adapter, which could otherwise learn what the
            student should.
        background_weight: What a token that belongs to no object counts in the feature loss, where others count 1.
        features: The intermediate features, behind the adapter.
        adapted: What the teacher's frozen heads read from the adapted features at objects.
        targets: What target-aware cross-attention reads of student and teacher.
        regression: The responses: boxes.
        classification: The responses: the heatmap or, of detectors without one, the class scores.
    """

    teacher: str | None
    encoding: Encoding = Encoding.point
    layers: int = 1
    adapter_drop_prob: float = 0.5
    background_weight: float = 0.1
    features: LossWeight = LossWeight(160.0)
    adapted: LossWeight = LossWeight(0.5)
    targets: LossWeight = LossWeight(0.5)
    regression: LossWeight = LossWeight(0.0)
    classification: LossWeight = LossWeight(1.0)

    @property
    def active(self) -> dict[str, LossWeight]:
        """The losses that have a weight, by name."""
        every = {name: getattr(self, name) for name in (*_INTERMEDIATE, *_RESPONSES)}
        return {name: part for name, part in every.items() if part.weight}

    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """The frozen teacher, the self-attention adapter and the target-aware attention."""
        if self.teacher is None:
            return ADDObjective(self, adapter, detector, copy.deepcopy(detector), adapter.depth_branch(detector))
        return ADDObjective(self, adapter, detector, *frozen_teacher(self.teacher, detector, adapter))


def frozen_teacher(path: str, student: Detector, adapter: Adapter) -> tuple[Detector, nn.Module]:
    """The detector and the depth branch of a checkpoint. Raises TrainingError where they don't fit the student."""
    checkpoint = load_checkpoint(path)
    detector = trained_detector(checkpoint, path)
    if detector.state_dict().keys() != student.state_dict().keys() or not detector.classes.same_coding(student.classes):
        name = checkpoint["model_name"]
        raise TrainingError(
            f"the teacher {path} is a {name} of {', '.join(detector.classes.names)}: it must have the student's"
            " architecture and classes"
        )
    return detector, trained_branch(checkpoint, path, detector, adapter)


class ADDObjective(DistilledObjective):
    """See `ADDDistillation`."""

    def __init__(
        self,
        config: ADDDistillation,
        adapter: Adapter,
        detector: Detector,
        teacher: Detector,
        depth_branch: nn.Module,
    ) -> None:
        super().__init__(config, adapter, teacher, depth_branch)
        channels = adapter.token_channels(detector)
        # Processes that train together need a gradient of every parameter: what is switched off has none.
        self.intermediate = not config.active.keys().isdisjoint(_INTERMEDIATE)
        if self.intermediate:
            self.add_adapter(channels, positioned=bool(config.layers) or "targets" in config.active)
        if "targets" in config.active:
            self.centre_encoding = PositionalEncoding(channels)
            self.target_attention = TargetAttention(channels, len(detector.classes))

    def distilled_losses(self, detector: Detector, features: Any, context: LossContext) -> dict[str, Tensor]:
        """See `DistilledObjective`."""
        adapter, batch, active = self.detector_adapter, context.batch, self.config.active
        teacher, depth_branch = self.folded_teacher()
        with torch.no_grad():
            teacher_features = adapter.teacher_features(teacher, batch.images, batch.P, context.depth, depth_branch)
            teacher_targets = adapter.teacher_targets(
                teacher, teacher_features, detector, features, batch.targets, batch.P
            )
        distilled = {}
        if "regression" in active:
            regression = adapter.regression_losses(detector, features, teacher_targets)
            distilled["regression"] = sum(regression.values()) / context.object_count
        if "classification" in active:
            classification = adapter.classification_loss(detector, features, teacher_targets)
            distilled["classification"] = classification / context.object_count
        if self.intermediate:
            distilled |= self._intermediate_losses(detector, features, teacher_targets, context)
        return distilled

    def _intermediate_losses(
        self, detector: Detector, features: Any, teacher_targets: TeacherTargets, context: LossContext
    ) -> dict[str, Tensor]:
        adapter, active = self.detector_adapter, self.config.active
        teacher_tokens = adapter.tokens(detector, teacher_targets.teacher_features)
        adapted, positions = self.adapted_tokens(detector, features, context)
        losses = {}
        if "features" in active:
            weight = torch.where(adapter.foreground_tokens(teacher_targets), 1.0, self.config.background_weight)
            losses["features"] = feature_loss(adapted, teacher_tokens, weight)
        if "adapted" in active:
            read_losses = adapter.adapted_losses(adapted, features, teacher_targets)
            losses["adapted"] = sum(read_losses.values()) / context.object_count
        if "targets" in active:
            objects = adapter.object_queries(teacher_targets).filled()
            losses["targets"] = self._target_loss(objects, positions, adapted, teacher_tokens, context.object_count)
        return losses

    def _target_loss(
        self,
        objects: TargetObjects,
        positions: Tensor,
        adapted_tokens: Tensor,
        teacher_tokens: Tensor,
        object_count: Tensor,
    ) -> Tensor:
        mask = objects.mask
        centres = self.centre_encoding(objects.centre[:, :, None])
        student_read, teacher_read = self.target_attention(centres, objects, positions, adapted_tokens, teacher_tokens)
        truth = torch.cat([objects.centre[..., 2:].log(), objects.shape], -1)[mask]
        errors = [
            (self.target_attention.readout(read[mask]) - truth).abs().mean(-1) for read in (student_read, teacher_read)
        ]
        return embedding_loss(student_read, teacher_read, mask) + sum(errors).sum() / object_count
