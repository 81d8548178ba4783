"""What training minimises: the baseline, a teacher with depth, and distillation (ADD)."""

from training.objectives.add import ADDDistillation, LossWeight
from training.objectives.base import LossContext, Objective, TrainingObjective
from training.objectives.baseline import Baseline
from training.objectives.projected import ProjectedDistillation
from training.objectives.teacher import TeacherTraining

__all__ = [
    "ADDDistillation",
    "Baseline",
    "LossContext",
    "LossWeight",
    "Objective",
    "ProjectedDistillation",
    "TeacherTraining",
    "TrainingObjective",
]
