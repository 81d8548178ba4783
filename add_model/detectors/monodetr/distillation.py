"""How ADD distils MonoDETR: depth replaces its depth map, queries that match the same object are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.base import take
from add_model.detectors.losses import laplacian_loss
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.detectors.monodetr.features import DecoderOutputs
from add_model.detectors.monodetr.loss import match_layer
from add_model.detectors.monodetr.transformer import flatten_maps, unflatten_maps
from add_model.distillation.adapter import DistillationAdapter, TeacherTargets
from add_model.distillation.depth_branch import DepthBranch
from add_model.distillation.losses import soft_focal, soft_heading_loss
from add_model.distillation.position_encoding import Encoding, at_reference, map_points, own_points, reference_depth
from add_model.distillation.target_objects import TargetObjects, object_shape
from add_model.geometry.camera import reference_focal_scale
from add_model.geometry.heading import HEADING_BINS, decode_heading

_TRUST = 1.0  # metres at the reference focal length: a teacher that is wrong by this counts exp(-1)


@dataclass(frozen=True)
class MonoDETRTargets(TeacherTargets[DecoderOutputs]):
    """Which queries match which objects.

    P (B, 3, 4)
    query (B, M): the teacher's last layer's query of each object, -1 for none
    trust (B, M): by the error of that query's depth, 0 for no query
    matches: for each of the student's layers (image, its query, row of the object) of objects that both match
    """

    P: Tensor
    query: Tensor
    trust: Tensor
    matches: list[tuple[Tensor, Tensor, Tensor]]


class MonoDETRAdapter(DistillationAdapter[MonoDETR, DecoderOutputs, MonoDETRTargets]):
    """A token is a cell of one of the visual encoder's maps."""

    depth_estimator_losses = ("depth_map",)

    def depth_branch(self, detector: MonoDETR) -> nn.Module:
        """Depth joins the map at whose stride the detector predicts depth."""
        return DepthBranch([detector.channels], [detector.target_encoder.stride], detector.channels)

    def teacher_features(
        self, detector: MonoDETR, images: Tensor, P: Tensor, depth: Tensor, branch: nn.Module
    ) -> DecoderOutputs:
        """Known depth also replaces the predicted depth map.

        Depth tokens encode the nearest depth within a cell. Queries sample depth pixel by pixel, since the nearest
        depth is often that of the ground or of another object.
        """
        pixel_depth, cell_depth = at_reference(depth, P), reference_depth(depth, P, detector.target_encoder.stride)
        far = detector.target_encoder.bins.far
        finest, middle, *coarser = detector.image_features(images)
        maps = [finest, middle + sum(branch(pixel_depth)), *coarser]
        predicted = detector.depth(maps)
        depth_map = torch.where(cell_depth > 0, cell_depth.clamp(max=far), predicted.depth_map)
        encoder_outputs = detector.run_encoder(maps, replace(predicted, depth_map=depth_map), images.shape[1:3])
        # Pixels of unknown depth are interpolated between cells, as where no depth is known at all.
        upsampled = functional.interpolate(depth_map[:, None], depth.shape[1:], mode="bilinear", align_corners=False)
        pixel_map = torch.where(pixel_depth > 0, pixel_depth.clamp(max=far), upsampled[:, 0])
        return detector.run_decoder(replace(encoder_outputs, depth_map=pixel_map), P)

    def token_channels(self, detector: MonoDETR) -> int:
        return detector.channels

    def tokens(self, detector: MonoDETR, features: DecoderOutputs) -> Tensor:
        """Cells of all scales, finest first."""
        return flatten_maps(features.encoder_outputs.maps)

    def attended_tokens(self, detector: MonoDETR, tokens: Tensor, features: DecoderOutputs) -> Tensor:
        """Those of the coarser half of the scales."""
        maps = features.encoder_outputs.maps
        return tokens[:, sum(m[0, 0].numel() for m in maps[: len(maps) // 2]) :]

    def token_positions(
        self, detector: MonoDETR, encoding: Encoding, features: DecoderOutputs, P: Tensor, depth: Tensor | None
    ) -> Tensor | None:
        if encoding is Encoding.none:
            return None
        levels = [
            map_points(encoding, P, depth, *m.shape[2:], stride)
            for m, stride in zip(features.encoder_outputs.maps, detector.strides, strict=True)
        ]
        return torch.cat(levels, 1)

    @torch.no_grad()
    def teacher_targets(
        self,
        teacher: MonoDETR,
        teacher_features: DecoderOutputs,
        student: MonoDETR,
        student_features: DecoderOutputs,
        targets: Mapping[str, Tensor],
        P: Tensor,
    ) -> MonoDETRTargets:
        image, teacher_query, row = _match(teacher, teacher_features, -1, targets)
        query = torch.full_like(targets["label"], -1)
        query[image, row] = teacher_query
        error = (teacher_features.depth[-1][image, teacher_query] - targets["depth"][image, row]).abs()
        trust = torch.zeros_like(targets["depth"])
        trust[image, row] = torch.exp(-error / _TRUST).to(trust.dtype)
        matches = []
        for layer in range(len(student_features.logits)):
            image, student_query, row = _match(student, student_features, layer, targets)
            both = query[image, row] >= 0
            matches.append((image[both], student_query[both], row[both]))
        return MonoDETRTargets(teacher, teacher_features, targets, P, query, trust, matches)

    def foreground_tokens(self, teacher_targets: MonoDETRTargets) -> Tensor:
        """Those in an object's 2D box, on each scale at least one of each object."""
        targets = teacher_targets.targets
        centre = targets["centre"][:, :, None]
        low, high = centre - targets["sides"][:, :, None, :2], centre + targets["sides"][:, :, None, 2:]
        maps, strides = teacher_targets.teacher_features.encoder_outputs.maps, teacher_targets.teacher.strides
        levels = []
        for m, stride in zip(maps, strides, strict=True):
            rows, columns = m.shape[2:]
            index = torch.arange(rows * columns, device=m.device)
            cells = torch.stack([index % columns, index // columns], -1)
            pixels = (cells + 0.5) * stride - 0.5
            inside = ((pixels >= low) & (pixels <= high)).all(-1)
            inside |= (torch.floor((centre + 0.5) / stride) == cells).all(-1)
            levels.append((inside & targets["mask"][..., None]).any(1))
        return torch.cat(levels, 1)

    def object_queries(self, teacher_targets: MonoDETRTargets) -> TargetObjects:
        """With the features of the teacher's queries that match them."""
        targets, label = teacher_targets.targets, teacher_targets.targets["label"]
        depth = targets["depth"] * reference_focal_scale(teacher_targets.P)[:, None]
        centres = own_points(teacher_targets.P, *targets["centre"].unbind(-1), depth)
        heading = decode_heading(targets["heading_bin"], targets["heading_residual"])
        mean_size = targets["size_3d"].new_tensor(teacher_targets.teacher.classes.mean_sizes)[label]
        shape = object_shape(targets["size_3d"] - mean_size, heading)
        query = teacher_targets.query
        own = take(teacher_targets.teacher_features.query_features, query.clamp(min=0)) * (query >= 0)[..., None]
        return TargetObjects(centres, label, shape, targets["mask"], own)

    def regression_losses(
        self, detector: MonoDETR, features: DecoderOutputs, teacher_targets: MonoDETRTargets
    ) -> dict[str, Tensor]:
        """Of each layer's outputs against the teacher's last. Groups of queries, which repeat objects, count as one."""
        groups = detector.groups_of(features)
        total: dict[str, Tensor] = {}
        for layer, matches in enumerate(teacher_targets.matches):
            for name, value in _regression_losses(features, layer, matches, teacher_targets).items():
                total[name] = total.get(name, 0) + value / groups
        return total

    def adapted_losses(
        self, adapted_tokens: Tensor, features: DecoderOutputs, teacher_targets: MonoDETRTargets
    ) -> dict[str, Tensor]:
        """The teacher's decoder attends to the adapted tokens, beside its own depth map and depth tokens."""
        maps = unflatten_maps(adapted_tokens, [m.shape[2:] for m in features.encoder_outputs.maps])
        encoder_outputs = replace(teacher_targets.teacher_features.encoder_outputs, maps=maps)
        adapted_features = teacher_targets.teacher.run_decoder(encoder_outputs, teacher_targets.P)
        image, row = (teacher_targets.query >= 0).nonzero(as_tuple=True)
        matches = image, teacher_targets.query[image, row], row
        return _regression_losses(adapted_features, -1, matches, teacher_targets)

    def classification_loss(
        self, detector: MonoDETR, features: DecoderOutputs, teacher_targets: MonoDETRTargets
    ) -> Tensor:
        """Of the matched queries of all layers."""
        groups, total = detector.groups_of(features), features.logits.sum() * 0
        teacher_logits = teacher_targets.teacher_features.logits[-1]
        for logits, (image, query, row) in zip(features.logits, teacher_targets.matches, strict=True):
            soft_target = teacher_logits[image, teacher_targets.query[image, row]].sigmoid()
            loss = soft_focal(logits[image, query], soft_target).sum(-1)
            total = total + (loss * teacher_targets.trust[image, row]).sum() / groups
        return total


def _match(
    detector: MonoDETR, features: DecoderOutputs, layer: int, targets: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    return match_layer(features, layer, targets, detector.unit, detector.groups_of(features))


def _regression_losses(
    features: DecoderOutputs, layer: int, matches: tuple[Tensor, Tensor, Tensor], teacher_targets: MonoDETRTargets
) -> dict[str, Tensor]:
    """Of a layer's matched queries against those of the teacher's last layer, weighted by the trust in these."""
    image, query, row = matches
    teacher_query, stride = teacher_targets.query[image, row], teacher_targets.teacher.target_encoder.stride
    output = features.at(layer, image, query)
    target = teacher_targets.teacher_features.at(-1, image, teacher_query)
    bins, residuals = target["heading"].split(HEADING_BINS, dim=-1)
    losses = {
        "centre": (output["centre"] - target["centre"]).abs().mean(-1) / stride,
        "sides": (output["sides"] - target["sides"]).abs().mean(-1) / stride,
        # The uncertainty of a depth weighs its error and gets no gradient: how far a depth is from a teacher's is not
        # how wrong it is.
        "depth": laplacian_loss(output["depth"], output["log_variance"].detach(), target["depth"]),
        "size_3d": (output["size"] - target["size"]).abs().mean(-1),
        "heading": soft_heading_loss(output["heading"], bins.softmax(-1), residuals),
    }
    return {name: (value * teacher_targets.trust[image, row]).sum() for name, value in losses.items()}
