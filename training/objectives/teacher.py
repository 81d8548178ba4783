"""A teacher: the student's identical architecture, which also sees ground-truth depth (ADD, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from add_model.detectors.base import Detector
from add_model.renamed_keys import below
from training.checkpoints import is_teacher, load_checkpoint
from training.errors import TrainingError, require_not_negative, require_share
from training.objectives.base import Adapter, LossContext, Objective, TrainingObjective, require_depth


@dataclass(frozen=True)
class TeacherTraining(TrainingObjective):
    """The detector's own losses, for a detector that also sees ground-truth depth.

    Args:
        depth_loss_weight: Weight of the losses of the detector's own depth estimator (CaDDN, MonoDETR), whose place the
            ground truth takes where it is known. MonoDLE has none.
        depth_drop_prob: Share of images whose depth is hidden in training. The teacher then has to read images too,
            and its features stay within a student's reach.
        depth_branch: Checkpoint of a teacher of the same model, whose depth branch this one begins with; null begins as
            its student.
    """

    depth_loss_weight: float = 1.0
    depth_drop_prob: float = 0.5
    depth_branch: str | None = None

    def build(self, detector: Detector, adapter: Adapter) -> Objective:
        """The depth branch."""
        if self.depth_branch is None:
            return TeacherObjective(self, adapter, adapter.depth_branch(detector))
        checkpoint = load_checkpoint(self.depth_branch)
        return TeacherObjective(self, adapter, trained_branch(checkpoint, self.depth_branch, detector, adapter))


class TeacherObjective(Objective):
    """See `TeacherTraining`."""

    sees_depth = True

    def __init__(self, config: TeacherTraining, adapter: Adapter, depth_branch: nn.Module) -> None:
        super().__init__()
        require_share("model.objective.depth_drop_prob", config.depth_drop_prob)
        require_not_negative("model.objective.depth_loss_weight", config.depth_loss_weight)
        self.config, self.adapter, self.depth_branch = config, adapter, depth_branch

    def extract_features(self, detector: Detector, images: Tensor, P: Tensor, depth: Tensor | None) -> Any:
        """See `Objective`."""
        return self.adapter.teacher_features(detector, images, P, require_depth(depth), self.depth_branch)

    def losses(self, detector: Detector, context: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        batch, depth = context.batch, context.depth
        shown = torch.rand(len(depth), 1, 1, device=depth.device) >= self.config.depth_drop_prob
        features = self.extract_features(detector, batch.images, batch.P, depth * shown)
        return detector.losses(features, batch.targets, context.normaliser)

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        # Weighted, not left out: processes that train together need a gradient, if 0, of every parameter.
        return dict.fromkeys(self.adapter.depth_estimator_losses, self.config.depth_loss_weight)


def trained_branch(checkpoint: dict[str, Any], path: Path | str, detector: Detector, adapter: Adapter) -> nn.Module:
    """A teacher's depth branch; its `depth_source` is what the teacher was trained with, None in older checkpoints.

    Raises TrainingError for what is no teacher of the same model.
    """
    if not is_teacher(checkpoint):
        raise TrainingError(f"{path} is no teacher: train one with model.objective TeacherTraining")
    branch = adapter.depth_branch(detector)
    try:
        branch.load_state_dict(below(checkpoint["state_dict"], "objective.depth_branch."))
    except RuntimeError as error:
        raise TrainingError(f"{path} is a teacher of {checkpoint['model_name']}, not of this model") from error
    branch.depth_source = checkpoint.get("depth_source")
    return branch


def other_depth(trained: str | None, seen: str | None) -> str | None:
    """A line for people where a teacher sees another source of depth than it was trained with."""
    if None in (trained, seen) or trained == seen:
        return None
    return f"the teacher was trained with {trained} depth and now sees {seen} depth, at which it may be worse"
