"""The baseline: a detector trained alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from add_model.detectors.base import Detector
from training.objectives.base import Adapter, LossContext, Objective, TrainingObjective


@dataclass(frozen=True)
class Baseline(TrainingObjective):
    """The detector's own losses, without depth."""

    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """Nothing beside the detector."""
        return BaselineObjective()


class BaselineObjective(Objective):
    """See `Baseline`."""

    def extract_features(self, detector: Detector, images: Tensor, P: Tensor, depth: Tensor | None) -> Any:
        """See `Objective`."""
        return detector.extract_features(images, P)

    def losses(self, detector: Detector, context: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        return features_and_losses(detector, context)[1]


def features_and_losses(detector: Detector, context: LossContext) -> tuple[Any, dict[str, Tensor]]:
    """A student's features of the batch, and the detector's own losses."""
    batch = context.batch
    features = detector.extract_features(batch.images, batch.P)
    return features, detector.losses(features, batch.targets, context.normaliser)
