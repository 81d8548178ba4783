"""MonoDETR (Zhang et al., 'MonoDETR: Depth-guided Transformer for Monocular 3D Object Detection', ICCV 2023).

A transformer: each query becomes one object or none. Queries attend to the image by multi-scale deformable attention
and, by ordinary attention, to tokens of a depth map that is predicted for objects only. Where this differs from the
paper: depths are coded at a reference focal length, and a score stays within [0, 1]. Of small sizes it is the class
probability times the probability that the depth is right to a metre; they also do otherwise what `conventions` lists.
The queries' first reference points are shares of the image, as published (so are 2D boxes in the published size, see
`box_coding`), so views in training should have the size of those in use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import CandidateBatch, Detector, Score, best_first, certain_score, take
from add_model.detectors.decoding import decode_boxes, decode_depth, decode_depth_by_deviation
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.losses import ONE_PROCESS, Normaliser
from add_model.detectors.monodetr.box_coding import PixelSides, ShareSides
from add_model.detectors.monodetr.conventions import OWN, Conventions
from add_model.detectors.monodetr.features import DecoderOutputs, EncoderOutputs, sides_to_box2d
from add_model.detectors.monodetr.loss import monodetr_loss
from add_model.detectors.monodetr.target_encoder import SetTargetEncoder
from add_model.detectors.monodetr.transformer import (
    DecoderLayer,
    DepthPrediction,
    DepthPredictor,
    VisualEncoder,
    norm,
)
from add_model.detectors.target_assignment import Limits
from add_model.geometry.camera import REFERENCE_FOCAL, reference_focal_scale
from add_model.geometry.heading import HEADING_BINS
from add_model.networks.attention import Attention, DeformableAttention
from add_model.networks.backbone import Backbone
from add_model.networks.normalise import Normalise
from add_model.nms import NmsSettings

_LEVELS = 4
_PUBLISHED_SIZE, _PUBLISHED_FOCAL = (1280.0, 384.0), 2 * REFERENCE_FOCAL  # pixels, of KITTI images
_FAR = 60.0  # metres at the detector's own focal length
_THIN = 0.1  # metres: the least size
_SIDE = 30.0  # pixels at the published focal length: the first distance from a 2D box's centre to each side


class MonoDETR(Detector[DecoderOutputs]):
    """Features are what all decoder layers predict, see `DecoderOutputs`.

    Args:
        backbone: images -> feature maps.
        first: index of the first map that is used.
        channels: of maps, tokens and queries.
        heads: of attention.
        encoder_layers: of the visual encoder.
        decoder_layers: how many.
        hidden: channels within each layer's perceptron.
        bins: how many depth bins there are.
        queries: of one group, and how many candidates there are.
        groups: of queries, in training; only the first one is used afterwards.
        focal: pixels; depth stays coded at the reference focal length, and objects within the same limits are trained
            on, seen larger or smaller.
        classes: what it finds.
        nms: how repeated detections are suppressed; None for not at all.
        depth_position: see `DecoderLayer`.
        box_coding: of 2D boxes; None for pixels.
        conventions: see `Conventions`.
        score: of candidates.
    """

    def __init__(
        self,
        backbone: Backbone,
        first: int,
        channels: int = 256,
        heads: int = 8,
        encoder_layers: int = 3,
        decoder_layers: int = 3,
        hidden: int = 256,
        bins: int = 80,
        queries: int = 50,
        groups: int = 11,
        focal: float = 2 * REFERENCE_FOCAL,
        classes: ClassSpec = KITTI_CLASSES,
        nms: NmsSettings | None = NmsSettings(),  # noqa: B008 - frozen
        depth_position: bool = True,
        box_coding: PixelSides | ShareSides | None = None,
        conventions: Conventions = OWN,
        score: Score = certain_score,
    ) -> None:
        super().__init__()
        self.backbone, self.first, self.queries, self.groups = backbone, first, queries, groups
        self.focal, self.classes, self.nms, self.score = focal, classes, nms, score
        zoom = focal / REFERENCE_FOCAL
        strides = list(backbone.strides[first:])
        inputs = list(backbone.channels[first:])
        self.extra = nn.ModuleList()
        self.project = nn.ModuleList(nn.Sequential(nn.Conv2d(c, channels, 1), norm(channels)) for c in inputs)
        if len(strides) < _LEVELS:
            self.extra.append(nn.Sequential(nn.Conv2d(inputs[-1], channels, 3, 2, 1), norm(channels)))
            strides.append(2 * strides[-1])
        self.strides, self.channels = tuple(strides), channels
        self.target_encoder = SetTargetEncoder(
            stride=strides[1],
            bins=DepthBins(bins, 1e-3, _FAR / zoom),
            limits=Limits.seen_at(focal),
            classes=classes,
            keep_cut=conventions.keep_cut,
            box_heading=conventions.box_heading,
            far_cells=conventions.far_cells,
        )
        # The published image size as seen at this focal length: the unit of positions and errors in the image.
        unit = torch.tensor(_PUBLISHED_SIZE) * focal / _PUBLISHED_FOCAL
        self.register_buffer("unit", unit, persistent=False)
        self.box_coding = box_coding or PixelSides(_SIDE * focal / _PUBLISHED_FOCAL)
        self.conventions, bins_of_map = conventions, self.target_encoder.bins
        self.depth = DepthPredictor(
            channels,
            bins_of_map,
            heads,
            hidden,
            bin_depths=conventions.bin_depths(bins_of_map),
            enlarge_first=conventions.enlarge_first,
        )
        self.encoder = VisualEncoder(channels, heads, _LEVELS, hidden, encoder_layers)
        layer = {"depth_position": depth_position, "summed_attention": conventions.summed_attention}
        decoder = (DecoderLayer(channels, heads, _LEVELS, hidden, **layer) for _ in range(decoder_layers))
        self.decoder = nn.ModuleList(decoder)
        self.query = nn.Embedding(queries * groups, 2 * channels)
        self.start = nn.Linear(channels, 2)
        self.heads = nn.ModuleList(_heads(channels, classes, conventions.likely_start) for _ in range(decoder_layers))
        self.normalise = Normalise(backbone)
        self._initialise()

    def _initialise(self) -> None:
        """As in the published code: the transformer's matrices, and the queries' first reference points."""
        for matrix in (p for part in (self.encoder, self.decoder) for p in part.parameters() if p.dim() > 1):
            nn.init.xavier_uniform_(matrix)
        nn.init.normal_(self.encoder.level)
        if not self.conventions.likely_start:
            for head in self.heads[1:]:
                head.load_state_dict(self.heads[0].state_dict())
        nn.init.constant_(self.heads[0]["box"][-1].bias[2:], self.box_coding.start)
        if self.conventions.packed_start:
            for part in (self.depth, *self.decoder):
                for attention in (module for module in part.modules() if isinstance(module, Attention)):
                    attention.start_packed()
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.start_still()
        for layer in (self.start, *(part[0] for part in (*self.project, *self.extra))):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def extract_features(self, images: Tensor, P: Tensor) -> DecoderOutputs:
        """See `Detector`."""
        maps = self.image_features(images)
        return self.run_decoder(self.run_encoder(maps, self.depth(maps), images.shape[1:3]), P)

    def image_features(self, images: Tensor) -> list[Tensor]:
        """Images (B, H, W, 3) uint8 RGB -> maps (B, C, H / strides[i], W / strides[i]), sides rounded up."""
        maps = self.backbone(self.normalise(images))[self.first :]
        projected = [project(m) for project, m in zip(self.project, maps, strict=True)]
        return projected + [extra(maps[-1]) for extra in self.extra]

    def run_encoder(self, maps: list[Tensor], depth: DepthPrediction, image_size: Sequence[int]) -> EncoderOutputs:
        """Run the visual encoder and that of depth.

        Args:
            maps: of `image_features`.
            depth: what the depth predictor makes of them.
            image_size: (height, width) of the images in pixels.
        """
        positions = [
            self.conventions.positions(*m.shape[2:], stride, self.channels, self.unit)
            for m, stride in zip(maps, self.strides, strict=True)
        ]
        depth_tokens = self.depth.tokens(depth, positions[1])
        encoded = self.encoder(maps, positions)
        return EncoderOutputs(encoded, depth.depth_map, depth_tokens, depth.logits, _size_tensor(image_size, maps[0]))

    def run_decoder(self, encoder_outputs: EncoderOutputs, P: Tensor) -> DecoderOutputs:
        """Run all decoder layers and their heads, for images with these P (B, 3, 4)."""
        groups = self.groups if self.training else 1
        x, position = self.query.weight[: groups * self.queries].expand(P.shape[0], -1, -1).chunk(2, -1)
        reference = self.start(position).float()  # before the sigmoid
        coded_sides, extent = torch.zeros_like(reference).repeat(1, 1, 2), None
        depth_tokens, maps = encoder_outputs.depth_tokens, encoder_outputs.maps
        outputs = []
        for layer, head in zip(self.decoder, self.heads, strict=True):
            x = layer(x, position, depth_tokens, reference.sigmoid(), extent, maps, groups)
            shift, growth = head["box"](x).float().split([2, 4], -1)
            reference, coded_sides = reference + shift, self.box_coding.add(coded_sides, growth)
            sides = self.box_coding.sides(coded_sides, encoder_outputs.image_size)
            with torch.autocast(x.device.type, enabled=False):
                # Half precision would round depth to one part in 256, more than what is to be learnt.
                outputs.append(self._run_heads(head, x.float(), reference, sides, encoder_outputs, P))
            reference, coded_sides, sides = reference.detach(), coded_sides.detach(), sides.detach()
            extent = (sides[..., :2] + sides[..., 2:]) / encoder_outputs.image_size
        stacked = (torch.stack(values) for values in zip(*outputs, strict=True))
        return DecoderOutputs(*stacked, x, encoder_outputs)

    def _run_heads(
        self,
        head: nn.ModuleDict,
        x: Tensor,
        reference: Tensor,
        sides: Tensor,
        encoder_outputs: EncoderOutputs,
        P: Tensor,
    ) -> tuple[Tensor, ...]:
        """One layer's outputs, in the order of `DecoderOutputs`."""
        centre = reference.sigmoid()
        size = head["size"](x)
        if self.conventions.likely_start:
            size = size.clamp(min=_THIN)
        decode = decode_depth_by_deviation if self.conventions.log_deviation else decode_depth
        regressed, log_variance = decode(head["depth"](x))
        # The depth at which an object of this height in metres has this height in pixels (section 3.4).
        geometric = P[:, None, 1, 1] * size[..., 2] / (sides[..., 1] + sides[..., 3]).clamp(min=1)
        grid = (2 * centre.detach() - 1)[:, :, None]
        aligned = self.conventions.corners_aligned
        mapped = functional.grid_sample(
            encoder_outputs.depth_map[:, None], grid, padding_mode="border", align_corners=aligned
        )
        depth = (regressed + geometric / reference_focal_scale(P)[:, None] + mapped[:, 0, :, 0]) / 3
        pixel = centre * encoder_outputs.image_size - 0.5
        return head["label"](x), pixel, sides, size, head["heading"](x), depth, log_variance

    def losses(
        self, features: DecoderOutputs, targets: Mapping[str, Tensor], normaliser: Normaliser = ONE_PROCESS
    ) -> dict[str, Tensor]:
        """See `Detector`."""
        return monodetr_loss(features, targets, self.unit, self.groups_of(features), normaliser)

    def groups_of(self, features: DecoderOutputs) -> int:
        """How many groups of queries there are in these features."""
        return features.logits.shape[2] // self.queries

    def decode(self, features: DecoderOutputs, P: Tensor) -> CandidateBatch:
        """See `Detector`. The last layer's best pairs of query and class."""
        scale = reference_focal_scale(P)[:, None]
        u, v = features.centre[-1].unbind(-1)
        depth, size = features.depth[-1] * scale, features.size[-1].clamp(min=_THIN)
        boxes2d = sides_to_box2d(features.centre[-1], features.sides[-1])
        middle = (boxes2d[..., 0] + boxes2d[..., 2]) / 2 if self.conventions.box_heading else None
        boxes = decode_boxes(P, u, v, depth, size, features.heading[-1], middle)
        depth_std = torch.exp(features.log_variance[-1] / 2) * scale
        scores = self.score(features.logits[-1].sigmoid(), depth_std[..., None])
        scores, index = scores.flatten(1).topk(self.queries, dim=1)
        query = index // len(self.classes)
        label = index - query * len(self.classes)  # ONNX's remainder takes no symbolic size
        return best_first(scores, label, take(boxes, query), take(boxes2d, query), take(depth_std, query))


def _size_tensor(image_size: Sequence[int], like: Tensor) -> Tensor:
    """(height, width) -> (2,) width and height in pixels, which a traced graph does not take for constants."""
    height, width = image_size
    one = torch.ones(1, device=like.device)
    return torch.cat([one * width, one * height])


def _perceptron(channels: int, outputs: int, layers: int) -> nn.Sequential:
    hidden = [module for _ in range(layers - 1) for module in (nn.Linear(channels, channels), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(channels, outputs))


def _heads(channels: int, classes: ClassSpec, likely_start: bool) -> nn.ModuleDict:
    heads = nn.ModuleDict(
        {
            "label": nn.Linear(channels, len(classes)),
            "box": _perceptron(channels, 6, 3),
            "size": _perceptron(channels, 3, 2),
            "heading": _perceptron(channels, 2 * HEADING_BINS, 2),
            "depth": _perceptron(channels, 2, 2),
        }
    )
    nn.init.constant_(heads["label"].bias, -math.log(99))  # a probability of 0.01 (focal loss, section 4.1)
    if not likely_start:
        return heads
    nn.init.zeros_(heads["box"][-1].weight)
    nn.init.zeros_(heads["box"][-1].bias)
    with torch.no_grad():
        heads["size"][-1].bias.copy_(torch.tensor(classes.mean_sizes[0]))
        heads["depth"][-1].bias.copy_(torch.tensor([-3.0, 4.0]))  # starts at a depth of about 20 m and a large variance
    return heads
