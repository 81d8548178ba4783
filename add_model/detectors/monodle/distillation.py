"""How ADD distils MonoDLE: where depth enters, which features and which responses are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from add_model.detectors.centre_distillation import CentreAdapter, CentreTargets, answer_losses, soft_answers
from add_model.detectors.monodle.detector import MonoDLE
from add_model.detectors.monodle.foreground import Foreground, foreground
from add_model.geometry.heading import HEADING_BINS

_TRUST = 1.0  # metres at the reference focal length: a teacher that is wrong by this counts exp(-1)


@dataclass(frozen=True)
class MonoDLETargets(CentreTargets[Tensor]):
    """cells: those that see an object, where the teacher answers."""

    cells: Foreground


class MonoDLEAdapter(CentreAdapter[MonoDLE, Tensor, MonoDLETargets]):
    """Responses are compared at all cells that see an object."""

    def neck_map(self, features: Tensor) -> Tensor:
        return features

    def features_of(self, neck_map: Tensor, P: Tensor) -> Tensor:
        return neck_map

    def teacher_targets(
        self,
        teacher: MonoDLE,
        teacher_features: Tensor,
        student: MonoDLE,
        student_features: Tensor,
        targets: Mapping[str, Tensor],
        P: Tensor,
    ) -> MonoDLETargets:
        cells = foreground(targets, *student_features.shape[2:])
        answers, trust = teacher_answers(teacher, teacher_features, cells)
        return MonoDLETargets(teacher, teacher_features, targets, P, answers, trust, cells)

    def foreground_tokens(self, teacher_targets: MonoDLETargets) -> Tensor:
        return teacher_targets.cells.inside

    def regression_losses(
        self, detector: MonoDLE, features: Tensor, teacher_targets: MonoDLETargets
    ) -> dict[str, Tensor]:
        cells = teacher_targets.cells
        weight = cells.weight * teacher_targets.trust
        return regression_losses(detector, features, cells, teacher_targets.answers, weight)


def ground_truth_answers(cells: Foreground) -> dict[str, Tensor]:
    """What a teacher that is always right would answer at these cells."""
    answers = {name: cells.truth[name] for name in ("depth", "offset_3d", "size_3d", "offset_2d", "size_2d")}
    answers["bins"] = functional.one_hot(cells.truth["heading_bin"], HEADING_BINS).float()
    answers["residuals"] = cells.truth["heading_residual"][..., None].expand(-1, -1, HEADING_BINS)
    return answers


@torch.no_grad()
def teacher_answers(teacher: MonoDLE, features: Tensor, cells: Foreground) -> tuple[dict[str, Tensor], Tensor]:
    """What a teacher answers at these cells, and the trust (B, K) in each answer by its error in depth."""
    answers = soft_answers(teacher.regress_precisely(features, cells.cell))
    return answers, torch.exp(-(answers["depth"] - cells.truth["depth"]).abs() / _TRUST)


def regression_losses(
    detector: MonoDLE, features: Tensor, cells: Foreground, answers: Mapping[str, Tensor], weight: Tensor
) -> dict[str, Tensor]:
    """The detector's regression losses at chosen cells, summed by weights (B, K)."""
    return answer_losses(detector.regress_precisely(features, cells.cell), answers, weight)
