"""How ADD teaches MonoDETR: depth takes the place of its map, queries that found the same object are compared.

What each part is for says `add_model.distillation.adapter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.losses import laplacian_loss
from add_model.detectors.monodetr.detector import MonoDETR, Queries
from add_model.detectors.monodetr.loss import matched, monodetr_loss
from add_model.detectors.monodetr.transformer import joined, separated
from add_model.detectors.target_assignment import MEAN_SIZES
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.losses import soft_focal, soft_heading_loss
from add_model.distillation.position_encoding import Encoding, at_reference, map_points, own_points, reference_depth
from add_model.distillation.target_objects import TargetObjects, object_shape
from add_model.geometry.camera import reference_focal_scale
from add_model.geometry.heading import HEADING_BINS, decode_heading

losses = monodetr_loss  # the detector's own
ESTIMATES = ("depth_map",)  # losses of the depth estimator whose place a teacher's depth takes
_TRUST = 1.0  # metres at the reference focal length by which a teacher may be wrong until it counts exp(-1)


def branch(detector: MonoDETR) -> nn.Module:
    """What a teacher has beside its student: a way of depth into the features that the depth map is read from."""
    return DepthBranch([detector.channels], [detector.target_encoder.stride], detector.channels)


def look(detector: MonoDETR, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Queries:
    """Images (B, H, W, 3) -> the answers that all else is read from.

    A teacher's depth (B, H, W) takes the place of the depth map that the detector predicts, but where none is known.
    Queries read it pixel by pixel: the nearest depth within a cell, which the tokens have, is often the ground's or
    another object's.
    """
    if branch is None:
        return detector.look(images, P)
    own, cells = at_reference(depth, P), reference_depth(depth, P, detector.target_encoder.stride)
    far = detector.target_encoder.bins.far
    encoded = detector.encode(images, cells.clamp(max=far), sum(branch(own)))
    # Where nothing is known this reads as the cells themselves do.
    coarse = functional.interpolate(encoded.depth[:, None], own.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return detector.decode(replace(encoded, depth=torch.where(own > 0, own.clamp(max=far), coarse)), P)


def channels(detector: MonoDETR) -> int:
    """Of the tokens."""
    return detector.channels


def tokens(detector: MonoDETR, seen: Queries) -> Tensor:
    """The visual encoder's cells of all scales, finest first, (B, N, C)."""
    return joined(seen.encoded.maps)


def summary(detector: MonoDETR, tokens: Tensor, seen: Queries) -> Tensor:
    """Those of the tokens (B, N, C) that are the coarser half of the scales', (B, N', C)."""
    maps = seen.encoded.maps
    return tokens[:, sum(m[0, 0].numel() for m in maps[: len(maps) // 2]) :]


def token_points(
    detector: MonoDETR, encoding: Encoding, seen: Queries, P: Tensor, depth: Tensor | None
) -> Tensor | None:
    """(B, N, D, 3) metres: where the cells of all scales look, as the encoding wants it; None for no encoding."""
    levels = [
        map_points(encoding, P, depth, *m.shape[2:], stride)
        for m, stride in zip(seen.encoded.maps, detector.strides, strict=True)
    ]
    return None if encoding is Encoding.none else torch.cat(levels, 1)


@dataclass(frozen=True)
class Lesson:
    """What a teacher passes on of a batch: its answers `taught`, of whose last layer query (B, M) found each object, -1
    for none, and is to be trusted that far (B, M), 0 for none.

    pairs: for each of a student's layers (image, its query, row of the object) of those that both found.
    """

    teacher: MonoDETR
    taught: Queries
    targets: Mapping[str, Tensor]
    P: Tensor
    query: Tensor
    trust: Tensor
    pairs: list[tuple[Tensor, Tensor, Tensor]]


@torch.no_grad()
def lesson(
    teacher: MonoDETR, taught: Queries, detector: MonoDETR, seen: Queries, targets: Mapping[str, Tensor], P: Tensor
) -> Lesson:
    """What a teacher that answers with `taught` has to say to a student that answers with `seen`."""
    image, found, row = matched(teacher, taught, -1, targets)
    query = torch.full_like(targets["label"], -1)
    query[image, row] = found
    trust = torch.zeros_like(targets["depth"])
    wrong = (taught.depth[-1][image, found] - targets["depth"][image, row]).abs()
    trust[image, row] = torch.exp(-wrong / _TRUST).to(trust.dtype)
    pairs = []
    for layer in range(len(seen.logits)):
        image, mine, row = matched(detector, seen, layer, targets)
        both = query[image, row] >= 0
        pairs.append((image[both], mine[both], row[both]))
    return Lesson(teacher, taught, targets, P, query, trust, pairs)


def seen_tokens(lesson: Lesson) -> Tensor:
    """(B, N): which tokens see an object within its 2D box; on each scale every object has one at least."""
    targets = lesson.targets
    centre = targets["centre"][:, :, None]
    low, high = centre - targets["sides"][:, :, None, :2], centre + targets["sides"][:, :, None, 2:]
    levels = []
    for m, stride in zip(lesson.taught.encoded.maps, lesson.teacher.strides, strict=True):
        rows, columns = m.shape[2:]
        place = torch.arange(rows * columns, device=m.device)
        cells = torch.stack([place % columns, place // columns], -1)
        pixels = (cells + 0.5) * stride - 0.5
        seen = ((pixels >= low) & (pixels <= high)).all(-1)
        seen |= (torch.floor((centre + 0.5) / stride) == cells).all(-1)
        levels.append((seen & targets["mask"][..., None]).any(1))
    return torch.cat(levels, 1)


def objects(lesson: Lesson) -> TargetObjects:
    """The labelled objects, each with the teacher's query that found it."""
    targets, label = lesson.targets, lesson.targets["label"]
    depth = targets["depth"] * reference_focal_scale(lesson.P)[:, None]
    centres = own_points(lesson.P, *targets["centre"].unbind(-1), depth)
    heading = decode_heading(targets["heading_bin"], targets["heading_residual"])
    shape = object_shape(targets["size_3d"] - targets["size_3d"].new_tensor(MEAN_SIZES)[label], heading)
    content = lesson.taught.content
    own = content.gather(1, lesson.query.clamp(min=0)[..., None].expand(-1, -1, content.shape[2]))
    return TargetObjects(centres, label, shape, targets["mask"], own * (lesson.query >= 0)[..., None])


def responses(detector: MonoDETR, seen: Queries, lesson: Lesson) -> dict[str, Tensor]:
    """How each layer's answers differ from the teacher's last, in decoded units, summed over objects that both found.

    Groups of queries, each of which has every object, count as one.
    """
    groups = detector.groups_of(seen)
    total: dict[str, Tensor] = {}
    for layer, pairs in enumerate(lesson.pairs):
        for name, value in _differences(seen, layer, pairs, lesson).items():
            total[name] = total.get(name, 0) + value / groups
    return total


def adapted_responses(adapted: Tensor, seen: Queries, lesson: Lesson) -> dict[str, Tensor]:
    """How the teacher's own queries answer when its decoder reads its student's adapted tokens (B, N, C); summed.

    The depth that it reads beside them is its own.
    """
    maps = separated(adapted, [m.shape[2:] for m in seen.encoded.maps])
    again = lesson.teacher.decode(replace(lesson.taught.encoded, maps=maps), lesson.P)
    image, row = (lesson.query >= 0).nonzero(as_tuple=True)
    return _differences(again, -1, (image, lesson.query[image, row], row), lesson)


def scores(detector: MonoDETR, seen: Queries, lesson: Lesson) -> Tensor:
    """How class probabilities of queries that found an object differ from those of the teacher's, summed likewise."""
    groups, total = detector.groups_of(seen), seen.logits.sum() * 0
    for logits, (image, query, row) in zip(seen.logits, lesson.pairs, strict=True):
        wanted = lesson.taught.logits[-1][image, lesson.query[image, row]].sigmoid()
        each = soft_focal(logits[image, query], wanted).sum(-1)
        total = total + (each * lesson.trust[image, row]).sum() / groups
    return total


def _differences(seen: Queries, layer: int, pairs: tuple[Tensor, Tensor, Tensor], lesson: Lesson) -> dict[str, Tensor]:
    """Of a layer's queries against the teacher's last layer's, weighted by how far that is to be trusted."""
    (image, query, row), taught = pairs, lesson.taught
    other, stride = lesson.query[image, row], lesson.teacher.target_encoder.stride
    pick = lambda name: getattr(seen, name)[layer][image, query]  # noqa: E731
    want = lambda name: getattr(taught, name)[-1][image, other]  # noqa: E731
    bins, residuals = want("heading").split(HEADING_BINS, dim=-1)
    each = {
        "centre": (pick("centre") - want("centre")).abs().mean(-1) / stride,
        "sides": (pick("sides") - want("sides")).abs().mean(-1) / stride,
        # How far a depth is from a teacher's is not how wrong it is: its uncertainty weighs, and learns nothing here.
        "depth": laplacian_loss(pick("depth"), pick("log_variance").detach(), want("depth")),
        "size_3d": (pick("size") - want("size")).abs().mean(-1),
        "heading": soft_heading_loss(pick("heading"), bins.softmax(-1), residuals),
    }
    return {name: (value * lesson.trust[image, row]).sum() for name, value in each.items()}
