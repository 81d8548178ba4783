"""Distillation with attention: ADD (Wu et al., AAAI 2023), as this project reconstructs it (docs/distillation.md)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.distillation.attention import SelfAttentionAdapter, TargetAttention
from add_model.distillation.losses import embedding_loss, feature_loss
from add_model.distillation.objects import Objects
from add_model.distillation.parts import parts_of
from add_model.distillation.position import Encoding, PositionalEncoding
from add_model.labels import CLASSES
from training.checkpoints import load_checkpoint, trained_detector
from training.files import TrainingError
from training.methods import AloneLearner, Learner, Method, Step, trained_branch


@dataclass(frozen=True)
class Distil(Method):
    """ADD: the detector's losses, and what its teacher passes on. A weight of 0 switches a part off.

    teacher: checkpoint of a run with `Teach`, of the same model; None where a checkpoint of this run fills it in
    encoding: of the positions of self-attention and targets; layers: of the self-attention adapter, 0 for none
    bypass: share of images whose tokens go past the adapter: it would else learn what its student should
    features: weight of the intermediate features' loss, behind the adapter
    background: what a token that sees no object counts in it against one that does
    adapted: weight of what the teacher's frozen heads read from the adapted features where they see an object
    targets: weight of the target-aware cross-attention's loss
    regression, heatmap: weights of the responses; heatmap's is that of class scores in detectors without one
    warm_up: share of the training over which all weights rise from 0; fade: share at its end over which they fall to 0
    """

    teacher: str | None
    encoding: Encoding = Encoding.point
    layers: int = 1
    bypass: float = 0.5
    features: float = 160.0
    background: float = 0.1
    adapted: float = 0.5
    targets: float = 0.5
    regression: float = 0.0
    heatmap: float = 1.0
    warm_up: float = 0.1
    fade: float = 0.5

    def strength(self, progress: float) -> float:
        """What all weights are multiplied by when this share of the training is done."""
        rise = min(1.0, progress / self.warm_up) if self.warm_up else 1.0
        fall = min(1.0, (1.0 - progress) / self.fade) if self.fade else 1.0
        return rise * fall

    def learner(self, detector: nn.Module) -> Learner:
        """The frozen teacher, the adapter and the attention."""
        if self.teacher is None:
            return Distiller(self, detector, copy.deepcopy(detector), parts_of(detector).branch(detector))
        return Distiller(self, detector, *frozen_teacher(self.teacher, detector))


def frozen_teacher(path: str, student: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The detector and the depth branch of a checkpoint. Raises TrainingError where they don't fit the student."""
    checkpoint = load_checkpoint(path)
    detector = trained_detector(checkpoint, path)
    if detector.state_dict().keys() != student.state_dict().keys():
        name = checkpoint["model_name"]
        raise TrainingError(f"the teacher {path} is a {name}: it must be the student's identical architecture")
    return detector, trained_branch(checkpoint, path, detector)


class Distiller(AloneLearner):
    """What ADD has beside the student."""

    def __init__(self, method: Distil, detector: nn.Module, teacher: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.method, channels = method, parts_of(detector).channels(detector)
        self.teacher, self.branch = (
            module.requires_grad_(False).to(memory_format=torch.channels_last) for module in (teacher, branch)
        )
        self.adapter = SelfAttentionAdapter(channels, method.layers)
        points = 8 if method.encoding is Encoding.frustum else 1
        self.position = PositionalEncoding(channels, points)
        self.place = PositionalEncoding(channels)
        self.target = TargetAttention(channels, len(CLASSES))

    def train(self, mode: bool = True) -> Distiller:
        """The teacher stays as it is: its norms' statistics must not drift."""
        super().train(mode)
        self.teacher.eval()
        self.branch.eval()
        return self

    def losses(self, detector: nn.Module, step: Step) -> dict[str, Tensor]:
        parts, batch, method = parts_of(detector), step.batch, self.method
        seen, found = self.own(detector, step)
        with torch.no_grad():
            taught = parts.look(self.teacher, batch.images, batch.P, step.depth, self.branch)
            lesson = parts.lesson(self.teacher, taught, detector, seen, batch.targets, batch.P)
        passed = {}
        if method.regression:
            dense = parts.responses(detector, seen, lesson)
            passed["regression"] = method.regression * sum(dense.values()) / step.objects
        if method.heatmap:
            passed[f"response_{parts.SCORES}"] = method.heatmap * parts.scores(detector, seen, lesson) / step.objects
        if method.features or method.adapted or method.targets:
            passed |= self._intermediate(detector, seen, lesson, step)
        strength = method.strength(step.progress)
        return found | {f"add_{name}": strength * value for name, value in passed.items()}

    def _intermediate(self, detector: nn.Module, seen: Any, lesson: Any, step: Step) -> dict[str, Tensor]:
        parts, method = parts_of(detector), self.method
        ours, theirs = parts.tokens(detector, seen), parts.tokens(detector, lesson.taught)
        points = parts.token_points(detector, method.encoding, seen, step.batch.P, step.depth)
        positions = torch.zeros_like(ours) if points is None else self.position(points).expand_as(ours)
        through = (torch.rand(len(ours), device=ours.device) >= method.bypass).nonzero(as_tuple=True)
        changed = self.adapter(ours[through], positions[through], lambda tokens: parts.summary(detector, tokens, seen))
        adapted = ours.index_put(through, changed)
        passed = {}
        if method.features:
            weight = torch.where(parts.seen_tokens(lesson), 1.0, method.background)
            passed["features"] = method.features * feature_loss(adapted, theirs, weight)
        if method.adapted:
            dense = parts.adapted_responses(adapted, seen, lesson)
            passed["adapted"] = method.adapted * sum(dense.values()) / step.objects
        if method.targets:
            passed["targets"] = method.targets * self._targets(parts.objects(lesson), positions, adapted, theirs)
        return passed

    def _targets(self, objects: Objects, positions: Tensor, adapted: Tensor, theirs: Tensor) -> Tensor:
        objects = objects.filled()
        mask = objects.mask
        places = self.place(objects.centre[:, :, None])
        ours_read, theirs_read = self.target(places, objects, positions, adapted, theirs)
        truth = torch.cat([objects.centre[..., 2:].log(), objects.shape], -1)[mask]
        asked = sum(functional.l1_loss(self.target.reader(read[mask]), truth) for read in (ours_read, theirs_read))
        return embedding_loss(ours_read, theirs_read, mask) + (asked if mask.any() else 0)
