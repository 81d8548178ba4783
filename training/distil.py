"""Distillation with attention: ADD (Wu et al., AAAI 2023), as this project reconstructs it (docs/distillation.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.coder import CLASSES
from add_model.distillation.attention import SelfAttentionAdapter, TargetAttention
from add_model.distillation.foreground import Foreground
from add_model.distillation.losses import embedding_loss, feature_loss
from add_model.distillation.parts import parts_of
from add_model.distillation.position import Encoding, PositionalEncoding
from add_model.models import build
from training.checkpoints import load_checkpoint, weights_of
from training.files import TrainingError
from training.methods import AloneLearner, Learner, Method, Step, require_cells


@dataclass(frozen=True)
class Distil(Method):
    """ADD: the detector's losses, and what its teacher passes on. A weight of 0 switches a part off.

    teacher: checkpoint of a run with `Teach`, of the same model
    encoding: of the positions of self-attention and targets; layers: of the self-attention adapter, 0 for none
    features: weight of the intermediate features' loss, behind the adapter
    background: what a cell that sees no object counts in it against one that does
    adapted: weight of the teacher's frozen heads on the adapted features, at the cells that see an object
    targets: weight of the target-aware cross-attention's loss
    regression, heatmap: weights of the responses
    warm_up: share of the training over which all weights rise from 0
    """

    teacher: str
    encoding: Encoding = Encoding.point
    layers: int = 1
    features: float = 4.0
    background: float = 0.1
    adapted: float = 0.5
    targets: float = 0.5
    regression: float = 1.0
    heatmap: float = 1.0
    warm_up: float = 0.1

    def learner(self, detector: nn.Module) -> Learner:
        """The frozen teacher, the adapter and the attention."""
        require_cells(detector)
        return Distiller(self, detector, *frozen_teacher(self.teacher, detector))


def frozen_teacher(path: str, student: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The detector and the depth branch of a checkpoint. Raises TrainingError where they don't fit the student."""
    checkpoint = load_checkpoint(path)
    name, depth = checkpoint["model_name"], weights_of(checkpoint, "learner.branch.")
    detector = build(name)
    if not depth:
        raise TrainingError(f"{path} is no teacher: train one with model.method Teach")
    if detector.state_dict().keys() != student.state_dict().keys():
        raise TrainingError(f"the teacher {path} is a {name}: it must be the student's identical architecture")
    branch = parts_of(detector).branch(detector)
    detector.load_state_dict(weights_of(checkpoint, "detector."))
    branch.load_state_dict(depth)
    return detector, branch


class Distiller(AloneLearner):
    """What ADD has beside the student."""

    def __init__(self, method: Distil, detector: nn.Module, teacher: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.method, channels = method, detector.neck.channels
        self.teacher, self.branch = teacher.requires_grad_(False), branch.requires_grad_(False)
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
        features, found = self.own(detector, step)
        with torch.no_grad():
            taught = parts.look(self.teacher, batch.images, batch.P, step.depth, self.branch)
        cells = parts.seen_cells(features, batch.targets)
        wanted, trust = parts.answers_at(self.teacher, taught, cells)
        passed = {}
        if method.regression:
            dense = parts.regression_loss(detector, features, cells, wanted, cells.weight * trust)
            passed["regression"] = method.regression * sum(dense.values()) / step.objects
        if method.heatmap:
            heat = parts.heatmap_loss(detector, features, self.teacher, taught, batch.targets["ignore"])
            passed["response_heatmap"] = method.heatmap * heat / step.objects
        if method.features or method.adapted or method.targets:
            passed |= self._intermediate(detector, features, taught, cells, wanted, trust, step)
        rise = min(1.0, step.progress / method.warm_up) if method.warm_up else 1.0
        return found | {f"add_{name}": rise * value for name, value in passed.items()}

    def _intermediate(
        self,
        detector: nn.Module,
        features: Tensor,
        taught: Tensor,
        cells: Foreground,
        wanted: Mapping[str, Tensor],
        trust: Tensor,
        step: Step,
    ) -> dict[str, Tensor]:
        parts, batch, method = parts_of(detector), step.batch, self.method
        ours, theirs = parts.tokens(features), parts.tokens(taught)
        stride = detector.coder.stride
        points = parts.token_points(method.encoding, features, batch.P, step.depth, stride)
        positions = torch.zeros_like(ours) if points is None else self.position(points)
        adapted = self.adapter(ours, positions, lambda tokens: parts.summary(tokens, features, stride))
        passed = {}
        if method.features:
            weight = torch.full_like(ours[..., 0], method.background)
            weight = weight.scatter_reduce(1, cells.cell, cells.mask.to(weight.dtype), "amax")
            passed["features"] = method.features * feature_loss(adapted, theirs, weight)
        if method.adapted:
            through = parts.untokens(adapted, features)
            dense = parts.regression_loss(self.teacher, through, cells, wanted, cells.weight * trust)
            passed["adapted"] = method.adapted * sum(dense.values()) / step.objects
        if method.targets:
            columns = features.shape[3]
            centres = parts.object_points(detector, batch.targets, batch.P, columns)
            places = self.place(centres[:, :, None])
            shape = parts.object_shape(batch.targets)
            label = batch.targets["label"]
            mask = batch.targets["mask"]
            ours_read, theirs_read = self.target(places, label, shape, positions, adapted, theirs)
            truth = torch.cat([centres[..., 2:].log(), shape], -1)[mask]
            asked = sum(functional.l1_loss(self.target.reader(read[mask]), truth) for read in (ours_read, theirs_read))
            alike = embedding_loss(ours_read, theirs_read, mask)
            passed["targets"] = method.targets * (alike + (asked if mask.any() else 0))
        return passed
