"""How ADD teaches MonoDLE: where depth enters, which features are compared, which responses are passed on.

The parts of the framework (`add_model.distillation`) that depend on the detector; `add_model.distillation.parts` hands
them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.coder import HEADING_BINS, reference_focal_scale
from add_model.detectors.decoded import Decoded
from add_model.detectors.monodle import MonoDLE
from add_model.detectors.monodle_loss import identity, laplacian_loss, monodle_loss
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.foreground import Foreground, foreground
from add_model.distillation.losses import soft_focal_loss
from add_model.distillation.position import Encoding, frustum_points, image_points, own_points, surface_points

_TRUST = 1.0  # metres at the reference focal length by which a teacher may be wrong until it counts exp(-1)


def branch(detector: MonoDLE) -> nn.Module:
    """What a teacher has beside its student: the way of depth into the backbone's maps and the features."""
    return DepthBranch(detector.backbone.channels, detector.backbone.strides, detector.neck.channels)


def look(detector: MonoDLE, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Tensor:
    """Images (B, H, W, 3) and, for a teacher, their depth (B, H, W) -> the features that all else is read from.

    A teacher sees depth as it has to answer: at the reference focal length. In metres it would have to guess each
    view's zoom, which images do not show, and could not pass on what its student cannot see either.
    """
    if branch is None:
        return detector.features(images)
    return detector.features(images, branch(depth / reference_focal_scale(P)[:, None, None]))


def losses(
    detector: MonoDLE,
    features: Tensor,
    targets: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = identity,
    processes: int = 1,
) -> dict[str, Tensor]:
    """The detector's own losses."""
    return monodle_loss(detector, features, targets, total, processes)


def detect(detector: MonoDLE, features: Tensor, P: Tensor) -> Decoded:
    """What the features hold."""
    return detector.detect(features, P)


def tokens(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, N, C)."""
    return features.flatten(2).transpose(1, 2)


def untokens(tokens: Tensor, features: Tensor) -> Tensor:
    """(B, N, C) -> (B, C, h, w) of the features' shape."""
    return tokens.transpose(1, 2).unflatten(2, features.shape[2:])


def summary(tokens: Tensor, features: Tensor, stride: int) -> Tensor:
    """Tokens (B, N, C) of the features' cells of `stride` pixels -> means over squares of 16 pixels, (B, N', C)."""
    factor = max(1, 16 // stride)
    return functional.avg_pool2d(untokens(tokens, features), factor).flatten(2).transpose(1, 2)


def token_points(encoding: Encoding, features: Tensor, P: Tensor, depth: Tensor | None, stride: int) -> Tensor | None:
    """(B, N, D, 3) metres: where the cells look, as the encoding wants it; None for no encoding."""
    rows, columns = features.shape[2:]
    if encoding is Encoding.point:
        return surface_points(P, depth, stride)
    if encoding is Encoding.frustum:
        return frustum_points(P, rows, columns, stride)
    return image_points(P, rows, columns, stride) if encoding is Encoding.image else None


def object_points(detector: MonoDLE, targets: Mapping[str, Tensor], P: Tensor, columns: int) -> Tensor:
    """(B, M, 3): the labelled objects' centres in the camera's own frame, metres; NaN for rows without an object."""
    stride, cell = detector.coder.stride, targets["cell"]
    u = (cell % columns + 0.5 + targets["offset_3d"][..., 0]) * stride - 0.5
    v = (cell // columns + 0.5 + targets["offset_3d"][..., 1]) * stride - 0.5
    return own_points(P, u, v, targets["depth"] * reference_focal_scale(P)[:, None])


def object_shape(targets: Mapping[str, Tensor]) -> Tensor:
    """(B, M, 5): sizes off the class mean in metres, sine and cosine of the heading against the viewing ray."""
    heading = targets["heading_bin"] * (2 * torch.pi / HEADING_BINS) + targets["heading_residual"]
    return torch.cat([targets["size_3d"], heading.sin()[..., None], heading.cos()[..., None]], -1)


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
    outputs = teacher.regress(features, cells.cell)
    bins, residuals = outputs["heading"].split(HEADING_BINS, dim=-1)
    wanted = {name: outputs[name] for name in ("depth", "offset_3d", "size_3d", "offset_2d", "size_2d")}
    wanted |= {"bins": bins.softmax(-1), "residuals": residuals}
    return wanted, torch.exp(-(outputs["depth"] - cells.truth["depth"]).abs() / _TRUST)


def regression_loss(
    detector: MonoDLE, features: Tensor, cells: Foreground, wanted: Mapping[str, Tensor], weight: Tensor
) -> dict[str, Tensor]:
    """The detector's regression losses at chosen cells, in decoded units, summed by weights (B, K)."""
    outputs = detector.regress(features, cells.cell)
    part = {
        name: (outputs[name] - wanted[name]).abs().mean(-1) for name in ("offset_3d", "size_3d", "offset_2d", "size_2d")
    }
    part["depth"] = laplacian_loss(outputs["depth"], outputs["log_variance"], wanted["depth"])
    bins, residuals = outputs["heading"].split(HEADING_BINS, dim=-1)
    part["heading"] = functional.cross_entropy(bins.transpose(1, 2), wanted["bins"].transpose(1, 2), reduction="none")
    part["heading"] = part["heading"] + (wanted["bins"] * (residuals - wanted["residuals"]).abs()).sum(-1)
    return {name: (value * weight).sum() for name, value in part.items()}


def heatmap_loss(detector: MonoDLE, features: Tensor, teacher: MonoDLE, taught: Tensor, ignore: Tensor) -> Tensor:
    """How the heatmap differs from the teacher's, summed."""
    with torch.no_grad():
        wanted = teacher.heat(taught).sigmoid()
    return soft_focal_loss(detector.heat(features), wanted, ignore)
