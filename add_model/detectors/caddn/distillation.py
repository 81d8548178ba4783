"""How ADD teaches CaDDN: depth takes the place of its estimate, tokens are cells of the ground seen from above.

What each part is for says `add_model.distillation.adapter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.caddn.anchors import decode_residuals
from add_model.detectors.caddn.detector import CaDDN, Ground
from add_model.detectors.caddn.footprint_cells import footprint_cells
from add_model.detectors.caddn.loss import caddn_loss
from add_model.detectors.target_assignment import MEAN_SIZES
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.losses import soft_focal_loss
from add_model.distillation.position_encoding import Encoding, at_reference, image_points, reference_depth
from add_model.distillation.target_objects import TargetObjects, object_shape

losses = caddn_loss  # the detector's own
ESTIMATES = ("depth_map",)  # losses of the depth estimator whose place a teacher's depth takes
_TOKEN, _SUMMARY = 0.8, 3.2  # metres: about the sides of a token, and of what tokens attend to
_HEIGHTS = 8  # of a pillar, in the encoding `frustum`
_TRUST = 1.0  # metres on the ground by which a teacher may be wrong until it counts exp(-1)


def branch(detector: CaDDN) -> nn.Module:
    """What a teacher has beside its student: a way of depth into the image's features."""
    return DepthBranch([detector.frustum.channels], [detector.frustum.stride], detector.frustum.channels)


def look(detector: CaDDN, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None) -> Ground:
    """Images (B, H, W, 3) and their P -> the ground that all else is read from.

    A teacher's depth (B, H, W) takes the place of the depths that the detector estimates, but for cells where none is
    known.
    """
    if branch is None:
        return detector.look(images, P)
    given = reference_depth(depth, P, detector.frustum.stride)
    return detector.look(images, P, given, sum(branch(at_reference(depth, P))))


def channels(detector: CaDDN) -> int:
    """Of the tokens."""
    return detector.network.channels


def tokens(detector: CaDDN, ground: Ground) -> Tensor:
    """The joined features' means over squares of cells, (B, N, C): a token each, N affordable on a CPU."""
    return _pooled(ground.features, _cells(detector, _TOKEN)).flatten(2).transpose(1, 2)


def summary(detector: CaDDN, tokens: Tensor, ground: Ground) -> Tensor:
    """Tokens (B, N, C) -> means over squares of them, (B, N', C)."""
    square = _cells(detector, _TOKEN)
    rows = -(-ground.features.shape[2] // square)
    maps = tokens.transpose(1, 2).unflatten(2, (rows, -1))
    return _pooled(maps, max(1, _cells(detector, _SUMMARY) // square)).flatten(2).transpose(1, 2)


def token_points(detector: CaDDN, encoding: Encoding, ground: Ground, P: Tensor, depth: Tensor | None) -> Tensor | None:
    """(1, N, D, 3) metres: the tokens' places in the camera's own frame, the same in every image; None for no encoding.

    `point` is the middle of a token's pillar, `frustum` points from its bottom to its top, `image` its place in the map
    without its metres.
    """
    rows, columns = (-(-side // _cells(detector, _TOKEN)) for side in ground.features.shape[2:])
    if encoding is Encoding.none:
        return None
    if encoding is Encoding.image:
        return image_points(P[:1], rows, columns, 1)
    heights = _HEIGHTS if encoding is Encoding.frustum else 1
    low, high = -detector.target_encoder.grid.high[2], -detector.target_encoder.grid.low[2]
    y = low + (high - low) / heights * (torch.arange(heights, device=P.device) + 0.5)
    x, z = token_places(detector, ground)[:, None].unbind(-1)
    return torch.stack(torch.broadcast_tensors(x, y, z), -1)[None]


def token_places(detector: CaDDN, ground: Ground) -> Tensor:
    """(N, 2): the middles of the tokens on the ground as (x, z), metres in the camera's own frame."""
    places = detector.anchors[:, [0, 2]].unflatten(0, (*ground.features.shape[2:], -1))[:, :, 0]
    return _pooled(places.permute(2, 0, 1)[None], _cells(detector, _TOKEN))[0].flatten(1).T


@dataclass(frozen=True)
class Lesson:
    """What a teacher passes on of a batch: the ground `taught`, and what it answers at the K anchors that answer for an
    object: boxes (K, 7) in the camera's own frame, residuals (K, 7), probabilities of directions (K, 2).

    image, anchor (K,): which they are; weight (K,): 1 for each object, less where the teacher is wrong.
    """

    teacher: CaDDN
    taught: Ground
    targets: Mapping[str, Tensor]
    image: Tensor
    anchor: Tensor
    boxes: Tensor
    residuals: Tensor
    directions: Tensor
    weight: Tensor


@torch.no_grad()
def lesson(
    teacher: CaDDN, taught: Ground, detector: CaDDN, ground: Ground, targets: Mapping[str, Tensor], P: Tensor
) -> Lesson:
    """What a teacher that sees `taught` has to say to a student that sees `ground`."""
    owner = targets["anchor_object"].flatten(1).long()
    image, anchor = (owner >= 0).nonzero(as_tuple=True)
    row = owner[image, anchor]
    boxes, residuals, directions = _boxes(teacher, _features_at(teacher, taught, image, anchor), anchor)
    count = torch.zeros_like(targets["mask"], dtype=boxes.dtype)
    count.index_put_((image, row), torch.ones_like(boxes[:, 0]), accumulate=True)
    wrong = (boxes[:, [0, 2]] - targets["box"][image, row][:, [0, 2]]).norm(dim=-1)
    weight = torch.exp(-wrong / _TRUST) / count[image, row]
    return Lesson(teacher, taught, targets, image, anchor, boxes, residuals, directions.softmax(-1), weight)


def seen_tokens(lesson: Lesson) -> Tensor:
    """(B, N): which tokens lie in an object's footprint; each object has one at least."""
    places = token_places(lesson.teacher, lesson.taught)
    return footprint_cells(lesson.targets["box"], lesson.targets["mask"], places)


def objects(lesson: Lesson) -> TargetObjects:
    """The labelled objects."""
    box, label, mask = (lesson.targets[name] for name in ("box", "label", "mask"))
    size = box[..., 3:6] - box.new_tensor(MEAN_SIZES)[label]
    heading = box[..., 6] - torch.atan2(box[..., 0], box[..., 2])
    return TargetObjects(
        torch.where(mask[..., None], box[..., :3], torch.nan), label, object_shape(size, heading), mask
    )


def responses(detector: CaDDN, ground: Ground, lesson: Lesson) -> dict[str, Tensor]:
    """How boxes differ from the teacher's, in metres and radians, at the anchors that answer for an object; summed."""
    return _differences(detector, _features_at(detector, ground, lesson.image, lesson.anchor), lesson)


def adapted_responses(adapted: Tensor, ground: Ground, lesson: Lesson) -> dict[str, Tensor]:
    """The same of what the teacher's heads read from its student's features, changed as its tokens (B, N, C) were."""
    teacher, image, anchor = lesson.teacher, lesson.image, lesson.anchor
    square, columns = _cells(teacher, _TOKEN), ground.features.shape[3]
    cell = teacher.cell_of(anchor)
    # Of few cells alone: the whole map would be written anew for them.
    token = cell // columns // square * -(-columns // square) + cell % columns // square
    change = (adapted - tokens(teacher, ground))[image, token]
    return _differences(teacher, _features_at(teacher, ground, image, anchor) + change, lesson)


def scores(detector: CaDDN, ground: Ground, lesson: Lesson) -> Tensor:
    """How anchors' class probabilities differ from the teacher's, summed as if each object had one anchor.

    Anchors that the detector's own loss leaves out are left out here too.
    """
    owner = lesson.targets["anchor_object"].flatten(1)
    with torch.no_grad():
        wanted = lesson.teacher.class_logits(lesson.taught).sigmoid()
    found = soft_focal_loss(detector.class_logits(ground), wanted, (owner == -2)[..., None])
    return found * lesson.targets["mask"].sum() / max(1, len(lesson.anchor))


def _features_at(detector: CaDDN, ground: Ground, image: Tensor, anchor: Tensor) -> Tensor:
    """(K, C): the joined features of the cells on which anchors (K,) of images (K,) stand."""
    return ground.features.flatten(2)[image, :, detector.cell_of(anchor)]


def _differences(detector: CaDDN, seen: Tensor, lesson: Lesson) -> dict[str, Tensor]:
    """Of what the detector answers at the lesson's anchors, from the features (K, C) of their cells."""
    boxes, residuals, directions = _boxes(detector, seen, lesson.anchor)
    apart = (boxes - lesson.boxes).abs()
    # Headings by the sine of their difference, as the detector learns them: half a turn is the direction's to tell.
    each = {
        "place": apart[:, :3].sum(-1),
        "size_3d": apart[:, 3:6].mean(-1),
        "heading": torch.sin(residuals[:, 6] - lesson.residuals[:, 6]).abs(),
        "direction": functional.cross_entropy(directions, lesson.directions, reduction="none"),
    }
    return {name: (value * lesson.weight).sum() for name, value in each.items()}


def _boxes(detector: CaDDN, seen: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, residuals (K, 7) and direction logits (K, 2) at anchors (K,), from the features (K, C) of their cells."""
    residuals, directions = detector.answers_at(seen, anchor)
    return decode_residuals(residuals, directions.argmax(-1), detector.anchors[anchor]), residuals, directions


def _cells(detector: CaDDN, side: float) -> int:
    """How many cells of the joined features are about so many metres, at least one."""
    return max(1, round(side / (detector.target_encoder.grid.sides[0] * detector.target_encoder.stride)))


def _pooled(maps: Tensor, square: int) -> Tensor:
    """Means over squares of cells; those at the edge may be smaller."""
    return functional.avg_pool2d(maps, square, ceil_mode=True, count_include_pad=False)
