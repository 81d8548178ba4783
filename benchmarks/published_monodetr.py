"""MonoDETR's decoder against the published code's, with its weights copied across."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from published_code import Row, original

from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.monodetr.box_coding import ShareSides
from add_model.detectors.monodetr.conventions import OWN, PUBLISHED
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.detectors.monodetr.features import EncoderOutputs
from add_model.detectors.monodetr.transformer import DecoderLayer, DepthPredictor
from add_model.networks.plain import PlainNet


def old_names() -> None:
    """What the original uses of torch by its names before 1.9."""
    linear = torch.nn.modules.linear
    linear._LinearWithBias = linear.NonDynamicallyQuantizableLinear
    sys.modules["torch._overrides"] = torch.overrides


def monodetr_decoder(root: Path) -> Iterator[Row]:
    """A decoder layer with the original's weights: the norm of its output, and how far ours is from the original's."""
    packages = ("lib.models", "lib.models.monodetr")
    old_names()
    theirs = original(root, "lib.models.monodetr.depthaware_transformer", *packages)
    functions = sys.modules["lib.models.monodetr.ops.functions.ms_deform_attn_func"]

    def attend(
        value: torch.Tensor, shapes: torch.Tensor, _: object, places: torch.Tensor, weights: torch.Tensor, __: int
    ):
        return functions.ms_deform_attn_core_pytorch(value, shapes, places, weights)

    for module in [m for name, m in sys.modules.items() if name.startswith("lib.models.monodetr.ops")]:
        if hasattr(module, "MSDeformAttnFunction"):
            module.MSDeformAttnFunction = SimpleNamespace(apply=attend)
    torch.manual_seed(0)
    layer = theirs.DepthAwareDecoderLayer(64, 64, 0.1, "relu", 4, 4, 4).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, position, depth, centre = (
        torch.randn(2, 50, 64),
        torch.randn(2, 50, 64),
        torch.randn(2, 40, 64),
        torch.rand(2, 50, 2),
    )
    shapes = [(24, 80), (12, 40), (6, 20), (3, 10)]
    maps = [torch.randn(2, 64, *shape) for shape in shapes]
    flat, size = torch.cat([m.flatten(2).mT for m in maps], 1), torch.tensor(shapes)
    start = torch.cat([size.new_zeros(1), size.prod(1).cumsum(0)[:-1]])
    places, by_token = centre[:, :, None].expand(-1, -1, 4, -1), depth.transpose(0, 1)
    with torch.no_grad():
        wanted = layer(x, position, places, flat, size, start, None, by_token, None, 2)
        results = []
        for depth_position in (False, True):
            summed = not depth_position
            own = DecoderLayer(64, 4, 4, 64, depth_position=depth_position, summed_attention=summed).eval()
            own.load_state_dict(decoder_weights(layer, summed))
            results.append(own(x, position, depth, centre, None, maps))
    yield "MonoDETR, decoder layer, norm", "50 queries", *(float(r.norm()) for r in (wanted, *results))
    apart = [float((r - wanted).norm() / wanted.norm()) for r in results]
    yield "MonoDETR, decoder layer, apart by", "50 queries", 0.0, *apart
    yield from _decoder_boxes(theirs, layer)
    yield from _depth_tokens(root, packages)


def _decoder_boxes(theirs: ModuleType, layer: torch.nn.Module) -> Iterator[Row]:
    """Three layers and their heads of boxes: how far the last 3D centres and 2D boxes are from the original's."""
    kind = {"depth_position": False, "box_coding": ShareSides(), "conventions": PUBLISHED}
    own = MonoDETR(PlainNet(), 0, 64, 4, 1, 3, 64, 20, 50, 1, **kind).eval()
    size, tokens = torch.tensor([1280.0, 384.0]), torch.randn(2, 40, 64)
    maps = [torch.randn(2, 64, 384 // stride, 1280 // stride) for stride in own.strides]
    shapes = torch.tensor([m.shape[2:] for m in maps])
    decoder = theirs.DepthAwareDecoder(layer, 3, True, 64).eval()
    decoder.bbox_embed = torch.nn.ModuleList(theirs.MLP(64, 64, 6, 3) for _ in range(3))
    decoder.dim_embed = torch.nn.ModuleList(theirs.MLP(64, 64, 3, 2) for _ in range(3))
    order = [0, 1, 2, 4, 3, 5]  # left, top, right, bottom of theirs, which are left, right, top, bottom
    with torch.no_grad():
        for index, embed in enumerate(decoder.bbox_embed):
            own.decoder[index].load_state_dict(decoder_weights(decoder.layers[index], summed=True))
            for part, linear in zip(own.heads[index]["box"][::2], embed.layers, strict=True):
                rows = order if linear.out_features == 6 else slice(None)
                part.weight.copy_(linear.weight[rows])
                part.bias.copy_(linear.bias[rows])
        x, position = own.query.weight.expand(2, -1, -1).chunk(2, -1)
        start = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
        flat, reference = torch.cat([m.flatten(2).mT for m in maps], 1), own.start(position).sigmoid()
        given = (
            x,
            reference,
            flat,
            shapes,
            start,
            torch.ones(2, 4, 2),
            position,
            None,
            tokens.transpose(0, 1),
            None,
            2,
        )
        wanted = decoder(*given)[1][-1]
        encoded = EncoderOutputs(maps, torch.ones(2, 24, 80), tokens, torch.zeros(2, 21, 24, 80), size)
        found = own.run_decoder(encoded, torch.eye(3, 4).expand(2, -1, -1))
    shares = torch.cat([(found.centre[-1] + 0.5) / size, found.sides[-1] / size.repeat(2)], -1)[..., order]
    apart = float((shares - wanted).norm() / wanted.norm())
    yield "MonoDETR, three layers' boxes, apart by", "50 queries", 0.0, apart, float("nan")


def _depth_tokens(root: Path, packages: tuple[str, ...]) -> Iterator[Row]:
    """The depth predictor: how far its depth map and its tokens, with encoded positions, are from the original's."""
    names = (*packages, "lib.models.monodetr.depth_predictor")
    theirs = original(root, "lib.models.monodetr.depth_predictor.depth_predictor", *names)
    encoding = original(root, "lib.models.monodetr.position_encoding", *packages).PositionEmbeddingSine
    config = {"num_depth_bins": 80, "depth_min": 1e-3, "depth_max": 60.0, "hidden_dim": 256}
    predictor = theirs.DepthPredictor(config).eval()
    for parameter in predictor.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    maps = [torch.randn(1, 256, 48 // n, 160 // n) for n in (1, 2, 4, 8)]
    empty = torch.zeros(1, 24, 80, dtype=torch.bool)
    results = {}
    with torch.no_grad():
        position = encoding(128, normalize=True)(SimpleNamespace(tensors=maps[1], mask=empty))
        _, tokens, depth_map, _ = predictor(maps, empty, position)
        wanted = {"map": depth_map, "tokens": tokens.flatten(2).transpose(1, 2)}
        bins, unit = DepthBins(80, 1e-3, 60.0), torch.tensor([1280.0, 384.0])
        for kind in (PUBLISHED, OWN):
            depths, first = kind.bin_depths(bins), kind.enlarge_first
            own = DepthPredictor(256, bins, 8, 256, bin_depths=depths, enlarge_first=first).eval()
            own.load_state_dict(predictor_weights(predictor))
            prediction = own(maps)
            found = {"map": prediction.depth_map}
            found["tokens"] = own.tokens(prediction, kind.positions(24, 80, 16, 256, unit))
            for name, value in found.items():
                apart = float((value - wanted[name]).norm() / wanted[name].norm())
                results.setdefault(name, []).append(apart)
    for name, apart in results.items():
        yield f"MonoDETR, depth {name}, apart by", "24x80 cells", 0.0, *apart


def predictor_weights(predictor: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Of the original depth predictor by our names."""
    parts = {"down": predictor.downsample, "level": predictor.proj, "up": predictor.upsample}
    parts |= {"head": predictor.depth_head, "classify": predictor.depth_classifier, "places": predictor.depth_pos_embed}
    weights = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    (layer,) = predictor.depth_encoder.layers
    chunks = zip(layer.self_attn.in_proj_weight.chunk(3), layer.self_attn.in_proj_bias.chunk(3), strict=True)
    for name, (weight, bias) in zip(("query", "key", "value"), chunks, strict=True):
        weights[f"attention.{name}.weight"], weights[f"attention.{name}.bias"] = weight, bias
    named = {"attention.out": layer.self_attn.out_proj, "feed.0": layer.linear1, "feed.3": layer.linear2}
    named |= {"norms.0": layer.norm1, "norms.1": layer.norm2}
    for name, part in named.items():
        weights[f"{name}.weight"], weights[f"{name}.bias"] = part.weight, part.bias
    return weights


def decoder_weights(layer: torch.nn.Module, summed: bool) -> dict[str, torch.Tensor]:
    """Of an original layer by our names, for a layer with `summed_attention`, or as a special case of one without."""
    weights: dict[str, torch.Tensor] = {}

    def put(name: str, weight: torch.Tensor, bias: torch.Tensor) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = weight, bias

    for name, attention in (("depth", layer.cross_attn_depth), ("mutual", layer.self_attn)):
        parts = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
        for part, (weight, bias) in zip(("query", "key", "value"), parts, strict=True):
            put(f"{name}.{part}", weight, bias)
        put(f"{name}.out", attention.out_proj.weight, attention.out_proj.bias)
    pairs = ((layer.sa_qcontent_proj, layer.sa_qpos_proj), (layer.sa_kcontent_proj, layer.sa_kpos_proj))
    for index, (content, place) in enumerate(pairs):  # both see the sum of content and position
        if summed:
            put(f"content.{index}", content.weight, content.bias)
            put(f"place.{index}", place.weight, place.bias)
            continue
        both = content.weight + place.weight
        put(f"content.{index}", both, content.bias + place.bias)
        put(f"place.{index}", both, torch.zeros_like(place.bias))
    if not summed:
        put("content.2", torch.eye(64), torch.zeros(64))  # values are not projected
    visual = layer.cross_attn
    names = {"offsets": "sampling_offsets", "weights": "attention_weights", "value": "value_proj", "out": "output_proj"}
    for name, theirs in names.items():
        put(f"visual.{name}", getattr(visual, theirs).weight, getattr(visual, theirs).bias)
    put("feed.0", layer.linear1.weight, layer.linear1.bias)
    put("feed.3", layer.linear2.weight, layer.linear2.bias)
    for index, norm in enumerate((layer.norm_depth, layer.norm2, layer.norm1, layer.norm3)):
        put(f"norms.{index}", norm.weight, norm.bias)
    return weights
