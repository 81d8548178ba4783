"""How a detector is trained: alone, as a teacher with depth, and two controls; `add` has distillation.

Each method is a configuration; its `learner` holds what training needs beside the detector. Nothing of it is exported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from add_model.detectors.losses import shared_count
from add_model.distillation.adapter import parts_of
from add_model.distillation.position_encoding import reference_depth
from training.atomic_io import TrainingError
from training.checkpoints import is_teacher, load_checkpoint, weights_of
from training.data.collation import Batch


@dataclass(frozen=True)
class LossContext:
    """One training step. total, processes: see `monodle_loss`."""

    batch: Batch
    total: Callable[[Tensor], Tensor]
    processes: int

    @property
    def objects(self) -> Tensor:
        """By what losses that are summed over objects are divided."""
        return shared_count(self.batch.targets["mask"], self.total, self.processes)

    @property
    def depth(self) -> Tensor:
        """The batch's depth. Raises TrainingError where the frames come without."""
        return require_depth(self.batch.depth)


def require_depth(depth: Tensor | None) -> Tensor:
    """The depth that a teacher sees. Raises TrainingError where there is none."""
    if depth is None:
        raise TrainingError("this method needs depth: give data.depth lidar, object or dense (MixedData: every source)")
    return depth


def require_cells(detector: nn.Module) -> None:
    """Raises TrainingError for a detector that is not taught cell by cell of the image."""
    if not hasattr(parts_of(detector), "seen_cells"):
        kind = type(detector).__name__
        raise TrainingError(
            f"this control is for MonoDLE alone: train {kind} with model.method Baseline, TeacherTraining or Distil"
        )


class Objective(Protocol):
    """What training has beside the detector (an nn.Module). sees_depth: whether `features` looks at depth."""

    sees_depth: bool

    def losses(self, detector: nn.Module, step: LossContext) -> Mapping[str, Tensor]:
        """The losses by name; their sum by `weights` is what is minimised."""

    def weights(self, progress: float) -> Mapping[str, float]:
        """Of losses that do not count 1, when this share of the training is done."""

    def features(self, detector: nn.Module, images: Tensor, P: Tensor, depth: Tensor | None) -> Any:
        """What detections are read from in validation."""


OTHERS_WEIGHTS = ("teacher", "branch")  # options that name another run, whose weights checkpoints of this one hold too


class TrainingObjective:
    """A way to train. (A plain class: configurations name its subclasses, which have no fields to tell them apart.)"""

    def learner(self, detector: nn.Module) -> Objective:
        """What it needs beside the detector."""
        raise NotImplementedError


@dataclass(frozen=True)
class Baseline(TrainingObjective):
    """The detector's own losses: the baseline."""

    def learner(self, detector: nn.Module) -> Objective:
        """Nothing beside the detector."""
        return BaselineObjective()


class BaselineObjective(nn.Module):
    """The detector's own losses, without depth."""

    sees_depth = False

    def losses(self, detector: nn.Module, step: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        return self.own(detector, step)[1]

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        return {}

    def own(self, detector: nn.Module, step: LossContext) -> tuple[Any, dict[str, Tensor]]:
        """The features of the batch, and the detector's own losses."""
        batch = step.batch
        features = self.features(detector, batch.images, batch.P, None)
        return features, parts_of(detector).losses(detector, features, batch.targets, step.total, step.processes)

    def features(self, detector: nn.Module, images: Tensor, P: Tensor, depth: Tensor | None) -> Any:
        """See `Objective`."""
        return parts_of(detector).look(detector, images, P, None, None)


@dataclass(frozen=True)
class TeacherTraining(TrainingObjective):
    """The same losses, for a detector that sees ground-truth depth as well.

    estimator: weight of what trains the detector's own depth estimator (CaDDN, MonoDETR), whose place the ground truth
    takes where it is known; with 0 it learns by detection alone, where it is not. MonoDLE has none.
    hidden: share of images whose depth it does not see in training. It then has to read images as well, and its
    features keep to what a student can follow.
    branch: checkpoint of a teacher of the same model, whose way of depth this one begins with; without one it begins as
    its student.
    """

    estimator: float = 1.0
    hidden: float = 0.5
    branch: str | None = None

    def learner(self, detector: nn.Module) -> Objective:
        """The way that depth takes into the detector."""
        if self.branch is None:
            return TeacherObjective(self, detector, parts_of(detector).branch(detector))
        return TeacherObjective(self, detector, trained_branch(load_checkpoint(self.branch), self.branch, detector))


def trained_branch(checkpoint: dict[str, Any], path: Path | str, detector: nn.Module) -> nn.Module:
    """A teacher's way of depth into this detector. Raises TrainingError for what is no teacher of the same model."""
    if not is_teacher(checkpoint):
        raise TrainingError(f"{path} is no teacher: train one with model.method TeacherTraining")
    branch = parts_of(detector).branch(detector)
    try:
        branch.load_state_dict(weights_of(checkpoint, "learner.branch."))
    except RuntimeError as error:
        raise TrainingError(f"{path} is a teacher of {checkpoint['model_name']}, not of this model") from error
    return branch


class TeacherObjective(nn.Module):
    sees_depth = True

    def __init__(self, method: TeacherTraining, detector: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.method, self.branch = method, branch
        # Weighted, not left out: processes that train together want a gradient, if 0, of every parameter.
        self.estimates = dict.fromkeys(parts_of(detector).ESTIMATES, method.estimator)

    def losses(self, detector: nn.Module, step: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        batch, parts = step.batch, parts_of(detector)
        seen = torch.rand(len(step.depth), 1, 1, device=step.depth.device) >= self.method.hidden
        features = self.features(detector, batch.images, batch.P, step.depth * seen)
        return parts.losses(detector, features, batch.targets, step.total, step.processes)

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        return self.estimates

    def features(self, detector: nn.Module, images: Tensor, P: Tensor, depth: Tensor | None) -> Any:
        """See `Objective`."""
        return parts_of(detector).look(detector, images, P, require_depth(depth), self.branch)


@dataclass(frozen=True)
class DenseDepth(TrainingObjective):
    """Control: the detector's losses, and each cell's depth from a head that only training has."""

    weight: float = 1.0

    def learner(self, detector: nn.Module) -> Objective:
        """The head."""
        require_cells(detector)
        return DenseDepthObjective(detector, self.weight)


class DenseDepthObjective(BaselineObjective):
    def __init__(self, detector: nn.Module, weight: float) -> None:
        super().__init__()
        self.weight, channels = weight, detector.neck.channels
        self.head = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 1, 1))

    def losses(self, detector: nn.Module, step: LossContext) -> dict[str, Tensor]:
        features, found = self.own(detector, step)
        # At the reference focal length: metres would hang on the view's zoom, which images do not show.
        depth = reference_depth(step.depth, step.batch.P, detector.target_encoder.stride)
        known = depth > 0
        error = (self.head(features)[:, 0] - depth.clamp(min=1).log() / math.log(10)).abs()
        return found | {"dense_depth": (error * known).sum() / shared_count(known, step.total, step.processes)}

    def weights(self, progress: float) -> dict[str, float]:
        return {"dense_depth": self.weight}


@dataclass(frozen=True)
class DenseTruth(TrainingObjective):
    """Control: the detector's losses, and its regression at every cell that sees an object, towards the truth."""

    weight: float = 1.0

    def learner(self, detector: nn.Module) -> Objective:
        """Nothing beside the detector."""
        require_cells(detector)
        return DenseTruthObjective(self.weight)


class DenseTruthObjective(BaselineObjective):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def losses(self, detector: nn.Module, step: LossContext) -> dict[str, Tensor]:
        parts, (features, found) = parts_of(detector), self.own(detector, step)
        cells = parts.seen_cells(features, step.batch.targets)
        dense = parts.regression_loss(detector, features, cells, parts.truth_at(cells), cells.weight)
        return found | {"dense_truth": sum(dense.values()) / step.objects}

    def weights(self, progress: float) -> dict[str, float]:
        return {"dense_truth": self.weight}
