"""Controls of the distillation study: is it the teacher that helps, or just more supervision? For MonoDLE alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from add_model.detectors.base import Detector
from add_model.detectors.monodle.detector import MonoDLE
from add_model.detectors.monodle.distillation import ground_truth_answers, regression_losses
from add_model.detectors.monodle.foreground import foreground
from add_model.distillation.position_encoding import reference_depth
from training.errors import TrainingError
from training.objectives.base import Adapter, LossContext, Objective, TrainingObjective
from training.objectives.baseline import BaselineObjective, features_and_losses


def require_monodle(detector: Detector) -> MonoDLE:
    """The detector. Raises TrainingError for another kind."""
    if not isinstance(detector, MonoDLE):
        kind = type(detector).__name__
        raise TrainingError(
            f"this control is for MonoDLE alone: train {kind} with model.objective Baseline, TeacherTraining or"
            " ADDDistillation"
        )
    return detector


@dataclass(frozen=True)
class DenseDepth(TrainingObjective):
    """The detector's losses, and each cell's depth from a head that only training has."""

    weight: float = 1.0

    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """The head."""
        return DenseDepthObjective(require_monodle(detector), self.weight)


class DenseDepthObjective(BaselineObjective):
    """See `DenseDepth`."""

    def __init__(self, detector: MonoDLE, weight: float) -> None:
        super().__init__()
        self.weight, channels = weight, detector.neck.channels
        self.head = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 1, 1))

    def losses(self, detector: MonoDLE, context: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        features, losses = features_and_losses(detector, context)
        # At the reference focal length: metres would hang on the view's scale, which images do not show.
        depth = reference_depth(context.depth, context.batch.P, detector.target_encoder.stride)
        known = depth > 0
        error = (self.head(features)[:, 0] - depth.clamp(min=1).log() / math.log(10)).abs()
        return losses | {"dense_depth": (error * known).sum() / context.normaliser.count(known)}

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        return {"dense_depth": self.weight}


@dataclass(frozen=True)
class DenseTruth(TrainingObjective):
    """The detector's losses, and its regression at every cell that sees an object, towards the ground truth."""

    weight: float = 1.0

    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """Nothing beside the detector."""
        require_monodle(detector)
        return DenseTruthObjective(self.weight)


class DenseTruthObjective(BaselineObjective):
    """See `DenseTruth`."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def losses(self, detector: MonoDLE, context: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        features, losses = features_and_losses(detector, context)
        cells = foreground(context.batch.targets, *features.shape[2:])
        dense = regression_losses(detector, features, cells, ground_truth_answers(cells), cells.weight)
        return losses | {"dense_truth": sum(dense.values()) / context.object_count}

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        return {"dense_truth": self.weight}
