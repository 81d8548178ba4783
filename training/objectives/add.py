"""Distillation with attention: ADD (Wu et al., AAAI 2023), as this project reconstructs it (docs/distillation.md)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from add_model.detectors.target_assignment import CLASSES
from add_model.distillation.adapter import parts_of
from add_model.distillation.attention import SelfAttentionAdapter, TargetAttention
from add_model.distillation.losses import embedding_loss, feature_loss
from add_model.distillation.position_encoding import Encoding, PositionalEncoding
from add_model.distillation.target_objects import TargetObjects
from training.atomic_io import TrainingError
from training.checkpoints import load_checkpoint, trained_detector
from training.objectives.baseline import BaselineObjective, LossContext, Objective, TrainingObjective, trained_branch

_INTERMEDIATE = ("features", "adapted", "targets")


@dataclass(frozen=True)
class LossWeight:
    """How much a part of ADD counts.

    weight: of its loss; 0 switches it off
    warm_up: share of the training over which the weight rises from 0; fade: share at its end over which it falls to 0
    """

    weight: float
    warm_up: float = 0.1
    fade: float = 0.5

    def at(self, progress: float) -> float:
        """What its loss is multiplied by when this share of the training is done."""
        rise = min(1.0, progress / self.warm_up) if self.warm_up else 1.0
        fall = min(1.0, (1.0 - progress) / self.fade) if self.fade else 1.0
        return self.weight * rise * fall


@dataclass(frozen=True)
class ADDDistillation(TrainingObjective):
    """ADD: the detector's losses, and the parts that its teacher passes on.

    teacher: checkpoint of a run with `TeacherTraining`, of the same model; None where a checkpoint of this run fills it in
    encoding: of the tokens' positions (an object that asks for them always has its 3D centre's)
    layers: of the self-attention adapter, 0 for none
    bypass: share of images whose tokens go past the adapter: it would else learn what its student should
    background: what a token that sees no object counts in the loss of features against one that does
    features: the intermediate features, behind the adapter
    adapted: what the teacher's frozen heads read from the adapted features where they see an object
    targets: what target-aware cross-attention reads
    regression, scores: the responses: boxes, and the heatmap or, of detectors without one, the class scores
    """

    teacher: str | None
    encoding: Encoding = Encoding.point
    layers: int = 1
    bypass: float = 0.5
    background: float = 0.1
    features: LossWeight = LossWeight(160.0)
    adapted: LossWeight = LossWeight(0.5)
    targets: LossWeight = LossWeight(0.5)
    regression: LossWeight = LossWeight(0.0)
    scores: LossWeight = LossWeight(1.0)

    @property
    def switched_on(self) -> dict[str, LossWeight]:
        """The parts that have a weight, by name."""
        every = {name: getattr(self, name) for name in ("features", "adapted", "targets", "regression", "scores")}
        return {name: part for name, part in every.items() if part.weight}

    def learner(self, detector: nn.Module) -> Objective:
        """The frozen teacher, the adapter and the attention."""
        if self.teacher is None:
            return ADDObjective(self, detector, copy.deepcopy(detector), parts_of(detector).branch(detector))
        return ADDObjective(self, detector, *frozen_teacher(self.teacher, detector))


def frozen_teacher(path: str, student: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The detector and the depth branch of a checkpoint. Raises TrainingError where they don't fit the student."""
    checkpoint = load_checkpoint(path)
    detector = trained_detector(checkpoint, path)
    if detector.state_dict().keys() != student.state_dict().keys():
        name = checkpoint["model_name"]
        raise TrainingError(f"the teacher {path} is a {name}: it must be the student's identical architecture")
    return detector, trained_branch(checkpoint, path, detector)


class ADDObjective(BaselineObjective):
    """What ADD has beside the student."""

    def __init__(self, method: ADDDistillation, detector: nn.Module, teacher: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.method, channels = method, parts_of(detector).channels(detector)
        self.teacher, self.branch = (
            module.requires_grad_(False).to(memory_format=torch.channels_last) for module in (teacher, branch)
        )
        # Processes that train together want a gradient of every parameter: what is switched off has none.
        self.intermediate = not method.switched_on.keys().isdisjoint(_INTERMEDIATE)
        if self.intermediate:
            self.adapter = SelfAttentionAdapter(channels, method.layers)
            self.position = None
            asked = method.layers or "targets" in method.switched_on
            if asked and method.encoding is not Encoding.none:
                points = 8 if method.encoding is Encoding.frustum else 1
                self.position = PositionalEncoding(channels, points)
        if "targets" in method.switched_on:
            self.place = PositionalEncoding(channels)
            self.target = TargetAttention(channels, len(CLASSES))

    def train(self, mode: bool = True) -> ADDObjective:
        """The teacher stays as it is: its norms' statistics must not drift."""
        super().train(mode)
        self.teacher.eval()
        self.branch.eval()
        return self

    def losses(self, detector: nn.Module, step: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        parts, batch, on = parts_of(detector), step.batch, self.method.switched_on
        seen, found = self.own(detector, step)
        with torch.no_grad():
            taught = parts.look(self.teacher, batch.images, batch.P, step.depth, self.branch)
            lesson = parts.lesson(self.teacher, taught, detector, seen, batch.targets, batch.P)
        passed = {}
        if "regression" in on:
            passed["regression"] = sum(parts.responses(detector, seen, lesson).values()) / step.objects
        if "scores" in on:
            passed["scores"] = parts.scores(detector, seen, lesson) / step.objects
        if self.intermediate:
            passed |= self._compared(detector, seen, lesson, step)
        return found | {f"add_{name}": value for name, value in passed.items()}

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        return {f"add_{name}": part.at(progress) for name, part in self.method.switched_on.items()}

    def _compared(self, detector: nn.Module, seen: Any, lesson: Any, step: LossContext) -> dict[str, Tensor]:
        parts, method = parts_of(detector), self.method
        ours, theirs = parts.tokens(detector, seen), parts.tokens(detector, lesson.taught)
        positions = torch.zeros_like(ours)
        if self.position is not None:
            points = parts.token_points(detector, method.encoding, seen, step.batch.P, step.depth)
            positions = self.position(points).expand_as(ours)
        through = (torch.rand(len(ours), device=ours.device) >= method.bypass).nonzero(as_tuple=True)
        changed = self.adapter(ours[through], positions[through], lambda tokens: parts.summary(detector, tokens, seen))
        adapted = ours.index_put(through, changed)
        passed = {}
        if "features" in method.switched_on:
            weight = torch.where(parts.seen_tokens(lesson), 1.0, method.background)
            passed["features"] = feature_loss(adapted, theirs, weight)
        if "adapted" in method.switched_on:
            passed["adapted"] = sum(parts.adapted_responses(adapted, seen, lesson).values()) / step.objects
        if "targets" in method.switched_on:
            passed["targets"] = self._targets(parts.objects(lesson).filled(), positions, adapted, theirs, step.objects)
        return passed

    def _targets(
        self, objects: TargetObjects, positions: Tensor, adapted: Tensor, theirs: Tensor, count: Tensor
    ) -> Tensor:
        mask = objects.mask
        places = self.place(objects.centre[:, :, None])
        ours_read, theirs_read = self.target(places, objects, positions, adapted, theirs)
        truth = torch.cat([objects.centre[..., 2:].log(), objects.shape], -1)[mask]
        wrong = [(self.target.reader(read[mask]) - truth).abs().mean(-1) for read in (ours_read, theirs_read)]
        return embedding_loss(ours_read, theirs_read, mask) + sum(wrong).sum() / count
