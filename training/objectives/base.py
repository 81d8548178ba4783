"""What is minimised in training: a configuration, and the module that it builds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from add_model.detectors.base import Detector
from add_model.detectors.losses import Normaliser
from add_model.distillation.adapter import DistillationAdapter
from training.data.collation import Batch
from training.errors import TrainingError

Adapter = DistillationAdapter[Any, Any, Any]

# Options that name another run's checkpoint. A checkpoint of this run holds those weights too.
CHECKPOINT_OPTIONS = ("teacher", "depth_branch")


def require_depth(depth: Tensor | None) -> Tensor:
    """The depth that a teacher sees. Raises TrainingError where there is none."""
    if depth is None:
        raise TrainingError(
            "this objective needs depth: give data.depth lidar, object or dense (MixedData: every source)"
        )
    return depth


@dataclass(frozen=True)
class LossContext:
    """One training step: its batch, and what sums are divided by."""

    batch: Batch
    normaliser: Normaliser

    @property
    def object_count(self) -> Tensor:
        """What losses that are summed over objects are divided by."""
        return self.normaliser.count(self.batch.targets["mask"])

    @property
    def depth(self) -> Tensor:
        """The batch's depth. Raises TrainingError where the frames come without."""
        return require_depth(self.batch.depth)


class Objective(nn.Module, ABC):
    """What training holds beside the detector; nothing of it is exported.

    Attributes:
        sees_depth: whether `extract_features` looks at depth, so that validation frames must come with it
        teacher_depth: the source of the depth that its teacher was trained with, None where that is not known
    """

    sees_depth: bool = False
    teacher_depth: str | None = None

    @abstractmethod
    def extract_features(self, detector: Detector, images: Tensor, P: Tensor, depth: Tensor | None) -> Any:
        """What validation decodes detections from."""

    @abstractmethod
    def losses(self, detector: Detector, context: LossContext) -> dict[str, Tensor]:
        """The losses of a batch by name; their sum by `weights` is minimised."""

    def weights(self, progress: float) -> Mapping[str, float]:
        """Weights of losses that do not count 1, when this share of the training is done."""
        return {}


class TrainingObjective(ABC):
    """What a configuration names as model.objective. (No dataclass itself: its subclasses have fields of their own.)"""

    @abstractmethod
    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """The module for a detector and how ADD reaches into it."""
