"""What a student loses by differing from its teacher; pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from add_model.geometry.heading import HEADING_BINS


def feature_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    """Smooth L1 of tokens (B, N, C) in units of the teacher's spread of each channel, by weights (B, N) >= 0."""
    difference = (student - teacher) / _spread(teacher.flatten(0, 1))
    each = functional.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none").mean(-1)
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def embedding_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Smooth L1 of objects' embeddings (B, M, C), in units of the teacher's spread, over the mask (B, M).

    Plus what the objects' likeness to each other differs by: relations are what a student can keep even where the
    single embedding is out of its reach (Park et al., 'Relational Knowledge Distillation', CVPR 2019).
    """
    ours, theirs = student[mask], teacher[mask]
    if len(theirs) < 2:
        return student.sum() * 0
    mean, spread = theirs.mean(0), _spread(theirs)
    ours, theirs = (ours - mean) / spread, (theirs - mean) / spread
    relations = [functional.normalize(e, dim=1) @ functional.normalize(e, dim=1).T for e in (ours, theirs)]
    return functional.smooth_l1_loss(ours, theirs) + functional.mse_loss(*relations)


def _spread(values: Tensor) -> Tensor:
    """Standard deviations (C,) of values (N, C), none below a quarter of what is usual among the channels.

    A channel that a teacher hardly uses would else outweigh all others: a student's differences from it are vast in
    units of next to nothing.
    """
    spread = values.std(0)
    usual = spread.square().mean().sqrt()
    return spread.clamp(min=(usual / 4).clamp(min=1e-3))


def soft_focal_loss(logits: Tensor, wanted: Tensor, ignore: Tensor) -> Tensor:
    """Quality focal loss (Li et al., NeurIPS 2020) towards probabilities `wanted`, summed over cells not ignored."""
    return (soft_focal(logits, wanted) * ~ignore).sum()


def soft_focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """The same of each logit."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return cross_entropy * (logits.sigmoid() - wanted).abs() ** 2


def soft_heading_loss(heading: Tensor, bins: Tensor, residuals: Tensor) -> Tensor:
    """Of headings coded as (..., 24), see `encode_heading`, towards bins' probabilities and residuals (..., 12)."""
    scores, found = heading.split(HEADING_BINS, dim=-1)
    chosen = functional.cross_entropy(scores.transpose(1, -1), bins.transpose(1, -1), reduction="none")
    return chosen + (bins * (found - residuals).abs()).sum(-1)
