"""MonoDETR (Zhang et al., 'MonoDETR: Depth-guided Transformer for Monocular 3D Object Detection', ICCV 2023).

A transformer: queries, each of which becomes an object or none, read the image by multi-scale deformable attention and
a depth map, predicted of the objects alone, by ordinary attention. Where this differs from the paper: depths are coded
at a reference focal length, the 2D box in pixels of the network's own focal length, and places are
encoded by pixels, not by shares of the image (the coarsest map, of stride 64 in the published size, is half a cell off
at the far edge where 64 does not divide a side); a bin means its middle; a score is the class's probability times the
probability that its depth is right to a metre. Where a query starts is a share of the image, as published: it is best
trained on views of the size that it will see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from add_model.detectors.base import CandidateBatch, best_first, depth_certainty
from add_model.detectors.decoding import decode_boxes, decode_depth
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.monodetr.target_encoder import SetTargetEncoder
from add_model.detectors.monodetr.transformer import DecoderLayer, DepthPredictor, VisualEncoder, norm, sine_position
from add_model.detectors.target_assignment import CLASSES, MEAN_SIZES, Limits
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.geometry.camera import reference_focal_scale as focal_scale
from add_model.geometry.heading import HEADING_BINS
from add_model.networks.attention import DeformableAttention
from add_model.networks.normalise import Normalise

_LEVELS = 4
_KITTI = (1280.0, 384.0), 2 * REFERENCE_FOCAL  # the published canvas, pixels, and the focal length at which it is seen
_FAR = 60.0  # metres at the detector's own focal length
_SIDE = 30.0  # pixels at the published focal length: a 2D box starts with this from its centre to each side


@dataclass(frozen=True)
class Encoded:
    """What the decoder reads of images of `size` (2,) pixels.

    maps (B, C, h, w) of the visual encoder, finest first; the depth map (B, h, w) at the reference focal length that
    queries look up, of any resolution; its tokens (B, N, C), and the logits (B, bins + 1, h, w) of the depth predictor.
    """

    maps: list[Tensor]
    depth: Tensor
    depth_tokens: Tensor
    depth_logits: Tensor
    size: Tensor


@dataclass(frozen=True)
class Queries:
    """What each of L decoder layers answers of Q queries, and what it has read.

    logits (L, B, Q, C); centre (L, B, Q, 2) pixels of the projected 3D centre; sides (L, B, Q, 4) pixels from there to
    the 2D box's left, top, right, bottom; size (L, B, Q, 3) metres; heading (L, B, Q, 24); depth, log_variance (L, B,
    Q) at the reference focal length; content (B, Q, C) the queries behind the last layer.
    """

    logits: Tensor
    centre: Tensor
    sides: Tensor
    size: Tensor
    heading: Tensor
    depth: Tensor
    log_variance: Tensor
    content: Tensor
    encoded: Encoded


class MonoDETR(nn.Module):
    """backbone: images -> feature maps, with `.channels`, `.strides`, MEAN and STD; from map `first` on they are used.

    queries: of one group; training has `groups` of them. focal: as `MonoDLE` has it.
    """

    nms_bev_iou = 1.0  # a set without repetitions: no more than `without_duplicates` always does

    def __init__(
        self,
        backbone: nn.Module,
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
    ) -> None:
        super().__init__()
        self.backbone, self.first, self.queries, self.groups, self.focal = backbone, first, queries, groups, focal
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
        )
        unit = torch.tensor(_KITTI[0]) * focal / _KITTI[1]
        self.register_buffer("unit", unit, persistent=False)
        self.side = _SIDE * focal / _KITTI[1]
        self.depth = DepthPredictor(channels, self.target_encoder.bins, heads, hidden)
        self.encoder = VisualEncoder(channels, heads, _LEVELS, hidden, encoder_layers)
        self.decoder = nn.ModuleList(DecoderLayer(channels, heads, _LEVELS, hidden) for _ in range(decoder_layers))
        self.query = nn.Embedding(queries * groups, 2 * channels)
        self.start = nn.Linear(channels, 2)
        self.heads = nn.ModuleList(_heads(channels) for _ in range(decoder_layers))
        self.normalise = Normalise(backbone)
        self._initialise()

    def _initialise(self) -> None:
        """As the published code does: the transformer's matrices, and where queries start in the image."""
        for matrix in (p for part in (self.encoder, self.decoder) for p in part.parameters() if p.dim() > 1):
            nn.init.xavier_uniform_(matrix)
        nn.init.normal_(self.encoder.level)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.start_still()
        for layer in (self.start, *(part[0] for part in (*self.project, *self.extra))):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, P: Tensor) -> CandidateBatch:
        """Images (B, H, W, 3) uint8 RGB, sides multiples of 32, and their P (B, 3, 4) -> the best candidates."""
        return self.detect(self.look(images, P), P)

    def look(self, images: Tensor, P: Tensor, given: Tensor | None = None, added: Tensor | float = 0.0) -> Queries:
        """What the queries answer; given, added: see `encode`."""
        return self.decode(self.encode(images, given, added), P)

    def encode(self, images: Tensor, given: Tensor | None = None, added: Tensor | float = 0.0) -> Encoded:
        """What there is to be read of images.

        given (B, h, w): a teacher's depth map at the reference focal length and the stride of `target_encoder`, 0 unknown, which
        takes the place of the one predicted where it is known. added (B, C, h, w): what it adds to the features of that
        stride.
        """
        height, width = images.shape[1:3]
        images = self.normalise(images)
        seen = self.backbone(images)[self.first :]
        maps = [project(m) for project, m in zip(self.project, seen, strict=True)]
        maps += [extra(seen[-1]) for extra in self.extra]
        maps[1] = maps[1] + added
        positions = [
            sine_position(*m.shape[2:], stride, self.channels, self.unit)
            for m, stride in zip(maps, self.strides, strict=True)
        ]
        depth_logits, depth, depth_tokens = self.depth(maps, positions[1], given)
        maps = self.encoder(maps, positions)
        return Encoded(maps, depth, depth_tokens, depth_logits, _size(width, height, images))

    def decode(self, encoded: Encoded, P: Tensor) -> Queries:
        """What the queries answer that have read this, of images with these P (B, 3, 4)."""
        groups = self.groups if self.training else 1
        x, position = self.query.weight[: groups * self.queries].expand(len(P), -1, -1).chunk(2, -1)
        place = self.start(position).float()
        sides, extent = torch.zeros_like(place).repeat(1, 1, 2), None
        answers = []
        for layer, head in zip(self.decoder, self.heads, strict=True):
            x = layer(x, position, encoded.depth_tokens, place.sigmoid(), extent, encoded.maps, groups)
            shift, grow = head["box"](x).float().split([2, 4], -1)
            place, sides = place + shift, (sides + grow).clamp(-4, 4)
            with torch.autocast(x.device.type, enabled=False):
                # Half precision would round depth to one part in 256, more than what is to be learnt.
                answers.append(self._answer(head, x.float(), place, sides, encoded, P))
            place, sides = place.detach(), sides.detach()
            extent = (sides[..., :2].exp() + sides[..., 2:].exp()) * self.side / encoded.size
        stacked = (torch.stack(values) for values in zip(*answers, strict=True))
        return Queries(*stacked, x, encoded)

    def _answer(
        self,
        head: nn.ModuleDict,
        x: Tensor,
        place: Tensor,
        sides: Tensor,
        encoded: Encoded,
        P: Tensor,
    ) -> tuple[Tensor, ...]:
        share, reach = place.sigmoid(), sides.exp() * self.side
        size = head["size"](x).clamp(min=0.1)
        regressed, log_variance = decode_depth(head["depth"](x))
        # An object of this height, metres, that is this high in the image: the mean of three answers (section 3.4).
        geometric = P[:, None, 1, 1] * size[..., 2] / (reach[..., 1] + reach[..., 3]).clamp(min=1)
        mapped = functional.grid_sample(
            encoded.depth[:, None], (2 * share.detach() - 1)[:, :, None], padding_mode="border", align_corners=False
        )
        depth = (regressed + geometric / focal_scale(P)[:, None] + mapped[:, 0, :, 0]) / 3
        centre = share * encoded.size - 0.5
        logits, heading = head["label"](x), head["heading"](x)
        return logits, centre, reach, size, heading, depth, log_variance

    def groups_of(self, seen: Queries) -> int:
        """How many groups of queries have answered."""
        return seen.logits.shape[2] // self.queries

    def detect(self, seen: Queries, P: Tensor) -> CandidateBatch:
        """The best candidates among the last layer's answers for images with these P (B, 3, 4)."""
        scale = focal_scale(P)[:, None]
        u, v = seen.centre[-1].unbind(-1)
        boxes = decode_boxes(P, u, v, seen.depth[-1] * scale, seen.size[-1], seen.heading[-1])
        boxes2d = rectangle(seen.centre[-1], seen.sides[-1])
        depth_std = torch.exp(seen.log_variance[-1] / 2) * scale
        scores = seen.logits[-1].sigmoid() * depth_certainty(depth_std)[..., None]
        scores, index = scores.flatten(1).topk(self.queries, dim=1)
        query = index // len(CLASSES)
        pick = lambda values: values.gather(1, query[..., None].expand(-1, -1, values.shape[2]))  # noqa: E731
        label = index - query * len(CLASSES)
        return best_first(scores, label, pick(boxes), pick(boxes2d), depth_std.gather(1, query))


def rectangle(centre: Tensor, sides: Tensor) -> Tensor:
    """Centres (..., 2) and the sides around them (..., 4) -> left, top, right, bottom (..., 4)."""
    return torch.cat([centre - sides[..., :2], centre + sides[..., 2:]], -1)


def _size(width: int, height: int, like: Tensor) -> Tensor:
    """(2,) pixels."""
    one = torch.ones(1, device=like.device)
    return torch.cat([one * width, one * height])


def _perceptron(channels: int, outputs: int, layers: int) -> nn.Sequential:
    hidden = [module for _ in range(layers - 1) for module in (nn.Linear(channels, channels), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(channels, outputs))


def _heads(channels: int) -> nn.ModuleDict:
    heads = nn.ModuleDict(
        {
            "label": nn.Linear(channels, len(CLASSES)),
            "box": _perceptron(channels, 6, 3),
            "size": _perceptron(channels, 3, 2),
            "heading": _perceptron(channels, 2 * HEADING_BINS, 2),
            "depth": _perceptron(channels, 2, 2),
        }
    )
    nn.init.constant_(heads["label"].bias, -math.log(99))  # starts at a probability of 0.01 (focal loss, section 4.1)
    nn.init.zeros_(heads["box"][-1].weight)
    nn.init.zeros_(heads["box"][-1].bias)
    with torch.no_grad():
        heads["size"][-1].bias.copy_(torch.tensor(MEAN_SIZES[0]))
        heads["depth"][-1].bias.copy_(torch.tensor([-3.0, 4.0]))  # starts at a depth of about 20 m, unsure of it
    return heads
