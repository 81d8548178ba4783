"""What MonoDETR is trained on and starts with, against the published code: losses, headings, colours, first weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from published_code import Row, original
from published_monodetr import decoder_weights, old_names, predictor_weights

from add_model.detectors.monodetr.conventions import OWN, PUBLISHED, Conventions
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.detectors.monodetr.features import DecoderOutputs, EncoderOutputs
from add_model.detectors.monodetr.loss import monodetr_loss
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.labels import Labels
from add_model.networks.plain import PlainNet
from training.data.photometric import ColourChange

_PACKAGES = ("lib.models", "lib.models.monodetr")
_SIZE, _LAYERS, _QUERIES, _GROUPS = (640, 192), 3, 20, 2
_NAMES = ("Car", "Pedestrian", "Cyclist")
# This project's name, the published one, and the published weight.
_LOSSES = (
    ("label", "loss_ce", 2),
    ("centre", "loss_center", 10),
    ("sides", "loss_bbox", 5),
    ("overlap", "loss_giou", 2),
    ("depth", "loss_depth", 1),
    ("size_3d", "loss_dim", 1),
    ("heading", "loss_angle", 1),
    ("depth_map", "loss_depth_map", 1),
)


_OF_OBJECTS = ("label", "centre", "sides", "depth", "size_3d", "heading_bin", "heading_residual")


def _small(kind: Conventions) -> MonoDETR:
    """Its depth map has the published 80 x 24 cells."""
    return MonoDETR(PlainNet(), 0, 64, 4, 1, _LAYERS, 64, 80, _QUERIES, _GROUPS, REFERENCE_FOCAL, conventions=kind)


def _scene(seed: int, count: int) -> tuple[Camera, Labels]:
    """Objects on a road, all within the image."""
    rng = np.random.default_rng(seed)
    camera = Camera(np.array([[REFERENCE_FOCAL, 0, 320, 0], [0, REFERENCE_FOCAL, 90, 0], [0, 0, 1.0, 0]]), *_SIZE)
    z = rng.uniform(12, 64, count)
    places = np.stack([rng.uniform(-0.6, 0.6, count) * z, rng.uniform(0.4, 1.2, count), z], axis=1)
    sizes = rng.uniform([0.6, 0.5, 1.3], [4.5, 2.0, 2.0], (count, 3))
    boxes = np.hstack([places, sizes, rng.uniform(-np.pi, np.pi, (count, 1))])
    around = box3d.project_corners(box3d.corners(boxes), camera)
    boxes2d = box3d.clip_to_image(around, camera)
    names = np.array(_NAMES)[rng.integers(0, 3, count)]
    return camera, Labels(names, boxes, boxes2d, np.ones(count, bool), background=True, limited=False)


def monodetr_losses(root: Path) -> Iterator[Row]:
    """All losses of three layers' outputs that are drawn, for two images with 8 and 5 objects."""
    old_names()
    published = original(root, "lib.models.monodetr.monodetr", *_PACKAGES)
    matcher = published.build_matcher(
        {"set_cost_class": 2, "set_cost_bbox": 5, "set_cost_3dcenter": 10, "set_cost_giou": 2}
    )
    names = ["labels", "boxes", "depths", "dims", "angles", "center", "depth_map"]
    criterion = published.SetCriterion(3, matcher, {}, 0.25, names, group_num=_GROUPS)
    detector, scenes = _small(PUBLISHED), [_scene(0, 8), _scene(1, 5)]
    encoded = [detector.target_encoder.encode(*scene) for scene in scenes]
    targets = {key: torch.from_numpy(np.stack([one[key] for one in encoded])) for key in encoded[0]}
    generator = torch.Generator().manual_seed(0)
    drawn = lambda *shape: torch.randn(_LAYERS, 2, _GROUPS * _QUERIES, *shape, generator=generator)  # noqa: E731
    size = torch.tensor([640.0, 192.0])
    logits, boxes, dims, depth, angle = drawn(3), drawn(6).sigmoid(), drawn(3), drawn(2) * 5 + 3, drawn(24)
    cells = torch.randn(2, 81, 24, 80, generator=generator)
    features = DecoderOutputs(
        logits,
        boxes[..., :2] * size - 0.5,
        boxes[..., [2, 4, 3, 5]] * size.repeat(2),  # published: left, right, top, bottom
        dims[..., [2, 1, 0]],  # published: height, width, length
        angle,
        depth[..., 0],
        2 * depth[..., 1].clamp(-4, 4),
        torch.empty(0),
        EncoderOutputs([], torch.empty(0), torch.empty(0), cells, size),
    )
    depth[..., 1] = depth[..., 1].clamp(-4, 4)
    layers = [
        {"pred_logits": a, "pred_boxes": b, "pred_3d_dim": c, "pred_depth": d, "pred_angle": e}
        for a, b, c, d, e in zip(logits, boxes, dims, depth, angle, strict=True)
    ]
    outputs = layers[-1] | {"pred_depth_map_logits": cells, "aux_outputs": layers[:-1]}
    plain = torch.tensor
    with mock.patch("torch.tensor", lambda *given, device=None, **others: plain(*given, **others)):  # no GPU
        wanted = criterion(outputs, [_as_published(targets, image, size) for image in range(2)])
    found = monodetr_loss(features, targets, detector.unit, _GROUPS)
    for own, name, weight in _LOSSES:
        whole = sum(weight * float(wanted[key]) for key in (name, f"{name}_0", f"{name}_1") if key in wanted)
        yield f"MonoDETR, loss of {own}", "3 layers, 8 and 5 objects", whole, float(found[own]), float("nan")


def _as_published(targets: dict[str, torch.Tensor], image: int, size: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same objects in the published form."""
    t = {key: values[image][targets["mask"][image]] for key, values in targets.items() if key in _OF_OBJECTS}
    centre, sides = (t["centre"] + 0.5) / size, t["sides"] / size.repeat(2)
    low, high = centre - sides[:, :2], centre + sides[:, 2:]
    return {
        "labels": t["label"],
        "boxes": torch.cat([(low + high) / 2, high - low], 1),
        "boxes_3d": torch.cat([centre, sides[:, [0, 2, 1, 3]]], 1),
        "depth": t["depth"][:, None],
        "size_3d": t["size_3d"][:, [2, 1, 0]],
        "heading_bin": t["heading_bin"][:, None],
        "heading_res": t["heading_residual"][:, None],
    }


def monodetr_headings(root: Path) -> Iterator[Row]:
    """How far the angles that are learnt are from the published formula's, radians."""
    published = original(root, "lib.datasets.kitti.kitti_utils", "lib.datasets", "lib.datasets.kitti")
    camera, labels = _scene(2, 40)
    matrices = {"P2": camera.P, "R0": np.eye(3), "Tr_velo2cam": np.eye(3, 4)}
    calibration = published.Calibration(matrices)
    worst = []
    for kind in (PUBLISHED, OWN):
        t = _small(kind).target_encoder.encode(camera, labels)
        pixel = camera.project(labels.boxes[:, :3])[:, :2]
        apart = []
        for row in np.flatnonzero(t["mask"]):
            k = np.abs(pixel - t["centre"][row]).max(axis=1).argmin()
            wanted = calibration.ry2alpha(labels.boxes[k, 6], labels.boxes2d[k, [0, 2]].mean())
            found = t["heading_bin"][row] * np.pi / 6 + t["heading_residual"][row]
            apart.append(abs(box3d.wrap(found - wanted)))
        worst.append(float(max(apart)))
    yield "MonoDETR, headings, apart by (rad)", "40 objects", 0.0, *worst


class _Script:
    """Numbers for the original's draws, in the order in which it asks for them; every change happens."""

    def __init__(self, change: ColourChange) -> None:
        orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
        late = [change.saturation, change.hue]
        drawn = [change.brightness, *([change.contrast, *late] if change.contrast_first else [*late, change.contrast])]
        self._uniform = iter(drawn)
        happen = [1, int(change.contrast_first), 1, 1, 1, 1]
        self._whole = iter([*happen, orders.index(change.order)])

    def randint(self, _: int) -> int:
        return next(self._whole)

    def uniform(self, *_: float) -> float:
        return next(self._uniform)


def monodetr_colours(root: Path) -> Iterator[Row]:
    """The largest difference in grey values of an image whose colours change by the same numbers."""
    published = original(root, "lib.datasets.kitti.pd", "lib.datasets", "lib.datasets.kitti")
    image = np.random.default_rng(0).integers(70, 110, (60, 200, 3), np.uint8)
    changes = [
        ColourChange(21.0, 1.3, True, 0.6, 12.0, (2, 0, 1)),
        ColourChange(-17.0, 0.8, False, 1.4, -15.0, (0, 2, 1)),
    ]
    apart = []
    for change in changes:
        with mock.patch.object(published, "random", _Script(change)):
            wanted = published.PhotometricDistort()(image.astype(np.float32))
        # The published image is RGB, whose hue is turned as if it were BGR: to the other side.
        found = replace(change, hue=-change.hue)(image)
        apart.append(np.abs(found.astype(int) - wanted.astype(np.uint8)).max())
    yield (
        "MonoDETR, colours, apart by (grey values)",
        "2 changes of 60x200 pixels",
        0.0,
        float(max(apart)),
        float("nan"),
    )


def monodetr_start(root: Path) -> Iterator[Row]:
    """The largest ratio of the deviations that weights of one name are drawn with."""
    old_names()
    torch.manual_seed(0)
    names = (*_PACKAGES, "lib.models.monodetr.depth_predictor")
    published = original(root, "lib.models.monodetr.depthaware_transformer", *names)
    predictor = original(root, "lib.models.monodetr.depth_predictor.depth_predictor", *names)
    config = {"hidden_dim": 256, "dropout": 0.1, "nheads": 8, "dim_feedforward": 256, "enc_layers": 1, "dec_layers": 1}
    config |= {"return_intermediate_dec": True, "num_feature_levels": 4, "dec_n_points": 4, "enc_n_points": 4}
    config |= {"two_stage": False, "num_queries": 50, "use_dab": False, "two_stage_dino": False}
    config |= {"num_depth_bins": 80, "depth_min": 1e-3, "depth_max": 60.0}
    wanted = decoder_weights(published.build_depthaware_transformer(config).decoder.layers[0], summed=True)
    wanted |= {f"predictor.{key}": value for key, value in predictor_weights(predictor.DepthPredictor(config)).items()}
    ratios, still = [], []
    for kind in (PUBLISHED, OWN):
        own = MonoDETR(PlainNet(), 0, 256, 8, 1, 1, 256, 80, 50, 1, conventions=kind)
        found = own.decoder[0].state_dict() | {f"predictor.{k}": v for k, v in own.depth.state_dict().items()}
        pairs = [(wanted[name].detach(), found[name]) for name in wanted]
        drawn = [sorted(float(x.std()) for x in pair) for pair in pairs if pair[0].numel() > 1000]
        ratios.append(max(high / low for low, high in drawn if low))
        still.append(sum(bool(a.any()) != bool(b.any()) for a, b in pairs))
    given = "decoder layer, depth predictor"
    yield "MonoDETR, first weights, deviations' largest ratio", given, 1.0, *ratios
    yield "MonoDETR, first weights, zero in one alone", given, 0.0, *(float(count) for count in still)


MONODETR_TRAINING = (monodetr_losses, monodetr_headings, monodetr_colours, monodetr_start)
