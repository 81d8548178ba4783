"""Losses between student and teacher; pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from add_model.geometry.heading import HEADING_BINS


def feature_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the smooth L1 between tokens, in units of the teacher's standard deviation by channel.

    Args:
        student: (B, N, C).
        teacher: (B, N, C).
        weight: (B, N), at least 0.
    """
    difference = (student - teacher) / _spread(teacher.flatten(0, 1))
    each = functional.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none").mean(-1)
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def embedding_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Smooth L1 between objects' embeddings, in units of the teacher's standard deviation, plus a relational loss.

    The relational loss compares the cosine similarities of all pairs of objects: a student can keep these even where
    the single embedding is out of its reach (Park et al., 'Relational Knowledge Distillation', CVPR 2019).

    Args:
        student: (B, M, C).
        teacher: (B, M, C).
        mask: (B, M), which rows are objects.
    """
    student, teacher = student[mask], teacher[mask]
    if len(teacher) < 2:
        return student.sum() * 0
    mean, spread = teacher.mean(0), _spread(teacher)
    student, teacher = (student - mean) / spread, (teacher - mean) / spread
    relations = [functional.normalize(e, dim=1) @ functional.normalize(e, dim=1).T for e in (student, teacher)]
    return functional.smooth_l1_loss(student, teacher) + functional.mse_loss(*relations)


def _spread(values: Tensor) -> Tensor:
    """Standard deviations (C,) of values (N, C), none below a quarter of their root mean square.

    Without this floor a channel that the teacher hardly uses would outweigh all others.
    """
    spread = values.std(0)
    typical = spread.square().mean().sqrt()
    return spread.clamp(min=(typical / 4).clamp(min=1e-3))


def soft_focal_loss(logits: Tensor, target: Tensor, ignore: Tensor) -> Tensor:
    """Quality focal loss (Li et al., NeurIPS 2020) towards probabilities, summed where not ignored."""
    return (soft_focal(logits, target) * ~ignore).sum()


def soft_focal(logits: Tensor, target: Tensor) -> Tensor:
    """Quality focal loss of each logit towards a probability."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return cross_entropy * (logits.sigmoid() - target).abs() ** 2


def soft_heading_loss(heading: Tensor, bin_probabilities: Tensor, residuals: Tensor) -> Tensor:
    """Cross entropy of heading bins plus the expected L1 of their residuals, for each object.

    Args:
        heading: (..., 24), 12 bin scores and 12 residuals, see `geometry.heading`.
        bin_probabilities: (..., 12).
        residuals: (..., 12).
    """
    scores, student_residuals = heading.split(HEADING_BINS, dim=-1)
    bins = functional.cross_entropy(scores.transpose(1, -1), bin_probabilities.transpose(1, -1), reduction="none")
    return bins + (bin_probabilities * (student_residuals - residuals).abs()).sum(-1)
