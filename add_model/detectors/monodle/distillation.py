"""How ADD teaches MonoDLE: where depth enters, which features are compared, which responses are passed on.

The parts of the framework (`add_model.distillation`) that depend on the detector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.losses import laplacian_loss
from add_model.detectors.monodle.detector import MonoDLE
from add_model.detectors.monodle.foreground import Foreground, foreground
from add_model.detectors.monodle.loss import monodle_loss, precise_regression
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.losses import soft_focal_loss, soft_heading_loss
from add_model.distillation.position_encoding import Encoding, at_reference, map_points, own_points
from add_model.distillation.target_objects import TargetObjects, object_shape
from add_model.geometry.camera import reference_focal_scale
from add_model.geometry.heading import HEADING_BINS, decode_heading

losses = monodle_loss  # the detector's own
ESTIMATES: tuple[str, ...] = ()  # losses of a depth estimator whose place a teacher's depth takes: there is none
_TRUST = 1.0  # metres at the reference focal length by which a teacher may be wrong until it counts exp(-1)


def branch(detector: MonoDLE) -> nn.Module:
    """What a teacher has beside its student: the way of depth into the backbone's maps and the features."""
    return DepthBranch(detector.backbone.channels, detector.backbone.strides, detector.neck.channels)


def look(detector: MonoDLE, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Tensor:
    """Images (B, H, W, 3) and, for a teacher, their depth (B, H, W) -> the features that all else is read from."""
    if branch is None:
        return detector.features(images)
    return detector.features(images, branch(at_reference(depth, P)))


def channels(detector: MonoDLE) -> int:
    """Of the tokens."""
    return detector.neck.channels


def tokens(detector: MonoDLE, features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, N, C), a token for each cell."""
    return features.flatten(2).transpose(1, 2)


def summary(detector: MonoDLE, tokens: Tensor, features: Tensor) -> Tensor:
    """Tokens (B, N, C) -> means over squares of 16 pixels, (B, N', C)."""
    factor = max(1, 16 // detector.target_encoder.stride)
    return functional.avg_pool2d(_map(tokens, features), factor).flatten(2).transpose(1, 2)


def token_points(
    detector: MonoDLE, encoding: Encoding, features: Tensor, P: Tensor, depth: Tensor | None
) -> Tensor | None:
    """(B, N, D, 3) metres: where the cells look, as the encoding wants it; None for no encoding."""
    return map_points(encoding, P, depth, *features.shape[2:], detector.target_encoder.stride)


@dataclass(frozen=True)
class Lesson:
    """What a teacher passes on of a batch: its features `taught`, and what it answers at the cells that see an object,
    with how far each answer is to be trusted (B, K).
    """

    teacher: MonoDLE
    taught: Tensor
    targets: Mapping[str, Tensor]
    P: Tensor
    cells: Foreground
    answers: Mapping[str, Tensor]
    trust: Tensor


def lesson(
    teacher: MonoDLE, taught: Tensor, detector: MonoDLE, features: Tensor, targets: Mapping[str, Tensor], P: Tensor
) -> Lesson:
    """What a teacher that sees `taught` has to say to a student that sees `features` of images with these P."""
    cells = seen_cells(features, targets)
    return Lesson(teacher, taught, targets, P, cells, *answers_at(teacher, taught, cells))


def seen_tokens(lesson: Lesson) -> Tensor:
    """(B, N): which tokens see an object."""
    return lesson.cells.seen


def objects(lesson: Lesson) -> TargetObjects:
    """The labelled objects."""
    targets, detector = lesson.targets, lesson.teacher
    centres = object_points(detector, targets, lesson.P, lesson.taught.shape[3])
    heading = decode_heading(targets["heading_bin"], targets["heading_residual"])
    return TargetObjects(centres, targets["label"], object_shape(targets["size_3d"], heading), targets["mask"])


def object_points(detector: MonoDLE, targets: Mapping[str, Tensor], P: Tensor, columns: int) -> Tensor:
    """(B, M, 3): the labelled objects' centres in the camera's own frame, metres; NaN for rows without an object."""
    stride, cell = detector.target_encoder.stride, targets["cell"]
    u = (cell % columns + 0.5 + targets["offset_3d"][..., 0]) * stride - 0.5
    v = (cell // columns + 0.5 + targets["offset_3d"][..., 1]) * stride - 0.5
    return own_points(P, u, v, targets["depth"] * reference_focal_scale(P)[:, None])


def responses(detector: MonoDLE, features: Tensor, lesson: Lesson) -> dict[str, Tensor]:
    """How regression differs from the teacher's, in decoded units, where its student sees an object; summed."""
    return regression_loss(detector, features, lesson.cells, lesson.answers, lesson.cells.weight * lesson.trust)


def adapted_responses(adapted: Tensor, features: Tensor, lesson: Lesson) -> dict[str, Tensor]:
    """The same of what the teacher's heads read from its student's adapted tokens (B, N, C)."""
    return responses(lesson.teacher, _map(adapted, features), lesson)


def scores(detector: MonoDLE, features: Tensor, lesson: Lesson) -> Tensor:
    """How the heatmap differs from the teacher's, summed."""
    with torch.no_grad():
        wanted = lesson.teacher.heat(lesson.taught).sigmoid()
    return soft_focal_loss(detector.heat(features), wanted, lesson.targets["ignore"])


def seen_cells(features: Tensor, targets: Mapping[str, Tensor]) -> Foreground:
    """The cells that see an object."""
    return foreground(targets, *features.shape[2:])


def truth_at(cells: Foreground) -> dict[str, Tensor]:
    """What an all-knowing teacher would answer at these cells."""
    wanted = {name: cells.truth[name] for name in ("depth", "offset_3d", "size_3d", "offset_2d", "size_2d")}
    wanted["bins"] = functional.one_hot(cells.truth["heading_bin"], HEADING_BINS).float()
    wanted["residuals"] = cells.truth["heading_residual"][..., None].expand(-1, -1, HEADING_BINS)
    return wanted


@torch.no_grad()
def answers_at(teacher: MonoDLE, features: Tensor, cells: Foreground) -> tuple[dict[str, Tensor], Tensor]:
    """What a teacher answers at these cells, and how far each answer is to be trusted (B, K) by its error in depth."""
    outputs = precise_regression(teacher, features, cells.cell)
    bins, residuals = outputs["heading"].split(HEADING_BINS, dim=-1)
    wanted = {name: outputs[name] for name in ("depth", "offset_3d", "size_3d", "offset_2d", "size_2d")}
    wanted |= {"bins": bins.softmax(-1), "residuals": residuals}
    return wanted, torch.exp(-(outputs["depth"] - cells.truth["depth"]).abs() / _TRUST)


def regression_loss(
    detector: MonoDLE, features: Tensor, cells: Foreground, wanted: Mapping[str, Tensor], weight: Tensor
) -> dict[str, Tensor]:
    """The detector's regression losses at chosen cells, in decoded units, summed by weights (B, K).

    How uncertain a depth is weighs its error, and learns nothing here: how far it is from a teacher's answer, at any
    cell that sees the object, is not how wrong it is where detections are read.
    """
    outputs = precise_regression(detector, features, cells.cell)
    part = {
        name: (outputs[name] - wanted[name]).abs().mean(-1) for name in ("offset_3d", "size_3d", "offset_2d", "size_2d")
    }
    part["depth"] = laplacian_loss(outputs["depth"], outputs["log_variance"].detach(), wanted["depth"])
    part["heading"] = soft_heading_loss(outputs["heading"], wanted["bins"], wanted["residuals"])
    return {name: (value * weight).sum() for name, value in part.items()}


def _map(tokens: Tensor, features: Tensor) -> Tensor:
    """(B, N, C) -> (B, C, h, w) of the features' shape."""
    return tokens.transpose(1, 2).unflatten(2, features.shape[2:])
