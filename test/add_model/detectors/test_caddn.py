"""CaDDN: anchors against polygons, coding against its inverse, the graph against torch (voxels have their own file)."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle
from support.detector_cases import assert_agree, assert_learns, exported, overfit, street, views

from add_model.classes import KITTI_CLASSES
from add_model.detectors.caddn.anchors import HEADINGS, Grid, decode_residuals, encode_residuals
from add_model.detectors.caddn.detector import CaDDN
from add_model.detectors.caddn.distillation import CaDDNAdapter, two_bin_distribution
from add_model.detectors.caddn.features import AnchorOutputs, BevFeatures
from add_model.detectors.caddn.frustum import DeepLabFrustum, PlainFrustum, sample_voxels
from add_model.detectors.caddn.loss import caddn_loss
from add_model.errors import ModelError
from add_model.geometry.camera import reference_focal_scale
from add_model.networks.bev import BirdsEyeNetwork
from add_model.networks.deeplab import DeepLabHead
from add_model.networks.fold_norms import folded
from add_model.networks.resnet import ResNet101
from add_model.predictor import Predictor
from add_model.registry import build
from training.data.sample import Objects
from training.data.views import Visibility
from training.errors import TrainingError
from training.pretrained import initial_detector

GRID = Grid(low=(2.0, -12.0, -3.0), high=(32.0, 12.0, 1.0), sides=(0.75, 0.75, 1.0))


def small():
    network = BirdsEyeNetwork(16, layers=(1, 1), strides=(1, 2), widths=(24, 24), joined=(24, 24))
    return CaDDN(
        PlainFrustum(16, channels=8, width=32), network, GRID, bins=16, collapsed=16, max_detections=60, focal=180.0
    )


def test_losses_by_hand():
    """One anchor answers for a car, the others for nothing (published weights; smooth L1 is a square below 1/9)."""
    detector = small()
    count, chosen = len(detector.anchors), 6
    anchor = detector.anchors[chosen]
    box = anchor + torch.tensor([0.3, 0, -0.02, 0, 0, 0, 0.2])
    box[5] *= math.exp(0.05)
    logits = torch.full((1, count, 3), -20.0)
    logits[0, chosen, 0] = 0.7
    logits[0, 50, 1] = 0.4  # of an anchor where there is nothing
    residuals, directions = torch.zeros(1, count, 7), torch.zeros(1, count, 2)
    residuals[0, chosen, 6] = 0.5
    directions[0, :, 1] = 1.0
    owner = torch.full((1, count), -1, dtype=torch.int16)
    owner[0, chosen] = 0
    owner[0, 99] = -2  # neither an object nor nothing: what it answers costs nothing
    logits[0, 99] = 5.0
    targets = {"anchor_object": owner, "label": torch.zeros(1, 1, dtype=torch.long), "box": box[None, None]}
    targets |= {"depth_bin": torch.tensor([[[1, 0, -1]]]), "depth_foreground": torch.tensor([[[True, False, False]]])}
    depth_logits = torch.tensor([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4]]).log().T[None, :, None]
    losses = caddn_loss(AnchorOutputs(logits, residuals, directions), depth_logits, targets, detector.anchors)
    p, q = (1 / (1 + math.exp(-logit)) for logit in (0.7, 0.4))
    label = -0.25 * (1 - p) ** 2 * math.log(p) - 0.75 * q**2 * math.log(1 - q)
    assert losses["label"].item() == pytest.approx(label, rel=1e-4)
    smooth = lambda e: e**2 / (2 / 9) if e < 1 / 9 else e - 1 / 18  # noqa: E731
    diagonal = math.hypot(anchor[3], anchor[4])
    place = smooth(0.3 / diagonal) + smooth(0.02 / diagonal)
    expected = 2 * (place + smooth(0.05) + smooth(math.sin(0.5 - 0.2)))
    assert losses["box"].item() == pytest.approx(expected, rel=1e-4)
    _, side = encode_residuals(box[None], anchor[None])
    wrong = [math.log(1 + math.e), math.log(1 + math.e) - 1][int(side)]
    assert losses["direction"].item() == pytest.approx(0.2 * wrong, rel=1e-4)
    depth = -0.25 * (13 * 0.7**2 * math.log(0.3) + 0.2**2 * math.log(0.8)) / 2
    assert losses["depth_map"].item() == pytest.approx(3 * depth, rel=1e-4)
    # Means over positive anchors and known cells: of the same image twice they are the same.
    outputs = AnchorOutputs(*(torch.cat([v, v]) for v in (logits, residuals, directions)))
    both = {name: torch.cat([v, v]) for name, v in targets.items()}
    for name, value in caddn_loss(outputs, torch.cat([depth_logits] * 2), both, detector.anchors).items():
        torch.testing.assert_close(value, losses[name])


def test_published_means_are_those_of_images(sample):
    """A batch's loss is the mean of its images', each of which counts its own positive anchors and all its cells."""
    torch.manual_seed(0)
    detector = small().eval()
    batch = views(detector, [sample, street(3), replace(street(4), objects=Objects.empty())])
    with torch.no_grad():
        features = detector.extract_features(batch.images, batch.P)
    outputs = detector.anchor_outputs(features)

    def losses(which, **how):
        names = ("class_logits", "residuals", "direction_logits")
        part = AnchorOutputs(*(getattr(outputs, name)[which] for name in names))
        targets = {name: value[which] for name, value in batch.targets.items()}
        return caddn_loss(part, features.depth_logits[which], targets, detector.anchors, **how)

    positive = (batch.targets["anchor_object"] >= 0).flatten(1).sum(1)
    assert positive[0] != positive[1] and positive[2] == 0
    found, plain = losses(slice(None), published_means=True), losses(slice(None))
    alone = [losses(slice(i, i + 1)) for i in range(3)]
    for name in ("label", "box", "direction"):
        torch.testing.assert_close(found[name], sum(one[name] for one in alone) / 3)
        weighted = sum(one[name] * n.clamp(min=1) for one, n in zip(alone, positive, strict=True)) / positive.sum()
        torch.testing.assert_close(plain[name], weighted)
    known = (batch.targets["depth_bin"] >= 0).float().mean()
    assert 0.05 < known < 0.95
    torch.testing.assert_close(found["depth_map"], plain["depth_map"] * known)


@pytest.fixture(scope="module")
def sample():
    return street(0)


@pytest.fixture(scope="module")
def trained(sample):
    """A small detector after some steps on one view, the view as a batch, and the losses of each step."""
    torch.manual_seed(0)
    detector = small()
    batch = views(detector, [sample])
    return detector, batch, overfit(detector, batch, steps=60, rate=4e-3)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_published_size():
    # torchvision's count for deeplabv3_resnet101 of 21 classes, without its auxiliary classifier.
    auxiliary = 1024 * 256 * 9 + 2 * 256 + 21 * 257
    assert parameters(ResNet101()) + parameters(DeepLabHead(2048, 21)) == 60_996_202 - auxiliary
    detector = build("caddn_resnet101")
    assert detector.target_encoder.grid.shape == (280, 376, 25)
    assert len(detector.anchors) == 140 * 188 * 6
    # Layer by layer, by the sizes in the published configuration (CaDDN.yaml) and code.
    norm, anchors = 2, 3 * 2
    layer = lambda inputs, outputs, kernel=3: outputs * (inputs * kernel**2 + norm)  # noqa: E731 - no bias, a norm
    parts = {
        "frustum": 60_996_202 - auxiliary + (81 - 21) * 257 + layer(256, 64, 1),  # 80 bins and what is beyond
        "collapse": layer(25 * 64, 64, 1),
        "network": sum(
            layer(inputs, width) + 10 * layer(width, width) + layer(width, 128, up)
            for inputs, width, up in ((64, 64, 1), (64, 128, 2), (128, 256, 4))
        ),
        "label": anchors * 3 * (3 * 128 + 1),
        "box": anchors * 7 * (3 * 128 + 1),
        "direction": anchors * 2 * (3 * 128 + 1),
    }
    for name, count in parts.items():
        assert parameters(getattr(detector, name)) == count, name
    assert parameters(detector) == sum(parts.values()) == 67_548_761
    # No count is published, but a checkpoint of 774 MiB: the parameters and Adam's two means, 4 bytes each.
    assert 12 * parameters(detector) / 2**20 == pytest.approx(774, abs=1.5)


def _norm(name, channels=256):
    sizes = {"weight": (channels,), "bias": (channels,), "running_mean": (channels,), "running_var": (channels,)}
    return {f"{name}.{key}": size for key, size in sizes.items()} | {f"{name}.num_batches_tracked": ()}


# Names and shapes of torchvision 0.28's deeplabv3_resnet101, beside those of its backbone.
DEEPLAB = {
    "classifier.0.convs.0.0.weight": (256, 2048, 1, 1),
    **{f"classifier.0.convs.{i}.0.weight": (256, 2048, 3, 3) for i in (1, 2, 3)},
    **{key: size for i in range(4) for key, size in _norm(f"classifier.0.convs.{i}.1").items()},
    "classifier.0.convs.4.1.weight": (256, 2048, 1, 1),
    **_norm("classifier.0.convs.4.2"),
    "classifier.0.project.0.weight": (256, 1280, 1, 1),
    **_norm("classifier.0.project.1"),
    "classifier.1.weight": (256, 256, 3, 3),
    **_norm("classifier.2"),
    "classifier.4.weight": (21, 256, 1, 1),
    "classifier.4.bias": (21,),
    "aux_classifier.0.weight": (256, 1024, 3, 3),
    **_norm("aux_classifier.1"),
    "aux_classifier.4.weight": (21, 256, 1, 1),
    "aux_classifier.4.bias": (21,),
}


def test_the_published_start_is_coco_deeplab(tmp_path):
    torch.manual_seed(0)
    published = {f"backbone.{name}": torch.rand_like(v.float()) for name, v in ResNet101().state_dict().items()}
    published |= {name: torch.rand(shape) for name, shape in DEEPLAB.items()}
    torch.save(published, tmp_path / "deeplab.pth")
    detector = initial_detector("caddn_resnet101", str(tmp_path / "deeplab.pth"))
    backbone = detector.backbone.state_dict()
    for name in ("conv1.weight", "layer3.22.bn3.running_var", "layer4.0.downsample.0.weight"):
        torch.testing.assert_close(backbone[name], published[f"backbone.{name}"], rtol=0, atol=0)
    head = detector.frustum.head.state_dict()
    assert head["last.3.weight"].shape == (81, 256, 1, 1)  # of depth bins: COCO's classes are left out
    pairs = {"branches.2.0.weight": "0.convs.2.0.weight", "branches.0.1.running_var": "0.convs.0.1.running_var"}
    pairs |= {"whole.0.weight": "0.convs.4.1.weight", "whole.1.bias": "0.convs.4.2.bias"}
    pairs |= {"join.0.weight": "0.project.0.weight", "join.1.weight": "0.project.1.weight"}
    pairs |= {"last.0.weight": "1.weight", "last.1.running_mean": "2.running_mean"}
    for own, name in pairs.items():
        torch.testing.assert_close(head[own], published[f"classifier.{name}"], rtol=0, atol=0)
    taken = [v for name, v in published.items() if name.startswith("classifier.") and name[11:13] != "4."]
    loaded = [v for name, v in head.items() if not name.startswith("last.3.")]
    total = lambda values: sum(v.double().sum() for v in values if v.ndim)  # noqa: E731
    assert total(loaded).item() == pytest.approx(total(taken).item(), rel=1e-9)

    torch.save({name: v for name, v in published.items() if "project" not in name}, tmp_path / "cut.pth")
    with pytest.raises(TrainingError, match=r"cut\.pth does not hold DeepLabV3 on ResNet-101"):
        initial_detector("caddn_resnet101", str(tmp_path / "cut.pth"))
    plain = {name.removeprefix("backbone."): v for name, v in published.items() if name.startswith("backbone.")}
    torch.save(plain, tmp_path / "resnet101.pth")
    detector = initial_detector("caddn_resnet101", str(tmp_path / "resnet101.pth"))
    torch.testing.assert_close(detector.backbone.state_dict()["conv1.weight"], plain["conv1.weight"])


def test_deeplabs_head_is_folded_for_one_image_too():
    """As ADD's teacher is, with batches of one."""
    torch.manual_seed(0)
    head, x = DeepLabHead(8, 4, 8), torch.randn(1, 8, 6, 20)
    head.whole(torch.randn(5, 8, 1, 1))
    torch.testing.assert_close(folded(head)(x), head.eval()(x))


def test_a_batch_of_one_image_trains_deeplabs_head():
    torch.manual_seed(0)
    head, x = DeepLabHead(8, 4, 8).train(), torch.randn(1, 8, 6, 20)
    head.whole(torch.randn(5, 8, 1, 1))  # statistics that are not those of a fresh norm
    mean, seen = x.mean((2, 3), keepdim=True), []
    hook = head.join[0].register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 32:]))
    head(x).sum().backward()
    hook.remove()
    torch.testing.assert_close(seen[0], head.whole.eval()(mean).expand(-1, -1, 6, 20))
    assert all(p.grad is not None for p in head.parameters())


box = st.tuples(
    st.floats(-20, 20), st.floats(-1, 3), st.floats(2, 46), *[st.floats(0.4, 7)] * 3, st.floats(-3.14159, 3.14159)
)


@given(st.lists(st.tuples(box, box, st.sampled_from(HEADINGS)), min_size=1, max_size=10))
def test_residuals_are_undone(pairs):
    boxes, anchors = (torch.tensor([p[i] for p in pairs], dtype=torch.double) for i in (0, 1))
    anchors[:, 6] = torch.tensor([p[2] for p in pairs], dtype=torch.double)
    residuals, direction = encode_residuals(boxes, anchors)
    back = decode_residuals(residuals, direction, anchors)
    turn = torch.remainder(back[:, 6] - boxes[:, 6] + 1, 2 * math.pi) - 1
    torch.testing.assert_close(back[:, :6], boxes[:, :6])
    assert turn.abs().max() < 1e-6
    # Half a turn more in the residual, of which the sine tells nothing, changes nothing.
    residuals[:, 6] += math.pi
    other = decode_residuals(residuals, direction, anchors)
    assert (torch.remainder(other[:, 6] - boxes[:, 6] + 1, 2 * math.pi) - 1).abs().max() < 1e-6


def test_residuals_of_an_anchor_itself_are_zero():
    anchors = torch.from_numpy(small().target_encoder.anchors.reshape(-1, 7))
    residuals, _ = encode_residuals(anchors, anchors)
    assert residuals.abs().max() == 0
    z, x, y = GRID.centres()
    assert (x[0], z[0], y[0]) == (12 - 0.375, 2.375, 2.5)  # the first cell is near, left and low


def upright(box):
    """A box turned to the nearest right angle, from above."""
    along = (box[3], box[4]) if abs(math.cos(box[6])) >= abs(math.sin(box[6])) else (box[4], box[3])
    return rectangle(box[0] - along[0] / 2, box[2] - along[1] / 2, box[0] + along[0] / 2, box[2] + along[1] / 2)


def test_anchors_answer_for_what_they_overlap(sample):
    detector = small()
    targets = {key: value[0].numpy() for key, value in views(detector, [sample]).targets.items()}
    anchors, owner, n = detector.target_encoder.anchors, targets["anchor_object"], int(targets["mask"].sum())
    assert n >= 4
    assert set(range(n)) == set(owner[owner >= 0].tolist())  # every object has one
    taught = [upright(b) for b in targets["box"][:n]]
    rng = np.random.default_rng(0)
    near = np.argwhere(owner != -1)
    others = np.column_stack([rng.integers(0, size, 300) for size in owner.shape])
    for where in map(tuple, np.vstack([near, others])):
        kind, answer = where[2], owner[where]
        shape = upright(anchors[where])
        ratio = [
            shape.intersection(t).area / shape.union(t).area if label == kind else 0.0
            for t, label in zip(taught, targets["label"], strict=False)
        ]
        enough, little = (0.6, 0.45) if kind == 0 else (0.5, 0.35)
        best = max(ratio)
        if best >= enough + 1e-9:
            assert answer >= 0 and targets["label"][answer] == kind
            assert ratio[answer] == pytest.approx(best) or ratio[answer] > 0
        elif answer >= 0:  # the best one of an object that none overlaps enough
            assert ratio[answer] > 0
        elif best >= little + 1e-9:
            assert answer == -2
        elif answer == -2:  # an object of the class that is not taught is near
            own = sample.objects.boxes[sample.objects.names == KITTI_CLASSES.names[kind]]
            own[:, :3] += sample.camera.translation
            assert max(shape.intersection(upright(b)).area / shape.union(upright(b)).area for b in own) >= little - 1e-6


def test_the_depth_map_has_each_cells_nearest_depth(sample):
    detector = small()
    targets = views(detector, [sample]).targets
    bins, scale = detector.target_encoder.bins, reference_focal_scale(sample.camera.P)
    for row, column in ((0, 0), (12, 20), (23, 39), (16, 5)):
        cell = sample.depth[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        known = cell[cell > 0] / scale
        expected = -1
        if len(known) and known.min() >= bins.near:
            expected = int((bins.edges <= known.min()).sum() - 1)
        assert targets["depth_bin"][0, row, column] == min(expected, bins.count)
    assert 0.02 < targets["depth_foreground"].float().mean() < 0.6


def test_without_a_depth_map_it_says_what_to_do(sample):
    with pytest.raises(ModelError, match=r"give data\.depth lidar, object or dense"):
        small().target_encoder.encode(sample.camera, Visibility().labels(sample.objects))


def test_perfect_answers_decode_to_the_labelled_boxes(sample, monkeypatch):
    detector = small()
    batch = views(detector, [sample])
    t, owner = batch.targets, batch.targets["anchor_object"].flatten(1).long()
    logits = torch.full((1, owner.shape[1], 3), -20.0)
    residuals, directions = torch.zeros(1, owner.shape[1], 7), torch.zeros(1, owner.shape[1], 2)
    (mine,) = torch.nonzero(owner[0] >= 0, as_tuple=True)
    row = owner[0, mine]
    logits[0, mine, t["label"][0, row]] = 20.0
    residuals[0, mine], direction = encode_residuals(t["box"][0, row], detector.anchors[mine])
    directions[0, mine, direction] = 20.0
    monkeypatch.setattr(detector, "anchor_outputs", lambda features: AnchorOutputs(logits, residuals, directions))
    depth = torch.zeros(1, 17, 24, 40)
    found = detector.decode(BevFeatures(torch.empty(0), torch.empty(0), depth), batch.P)
    sure = found.scores[0] > 0.5
    assert sure.sum() == len(mine)
    for decoded, rect in zip(found.boxes[0][sure].numpy(), found.boxes2d[0][sure].numpy(), strict=True):
        k = np.nanargmin(np.abs(sample.objects.boxes[:, :3] - decoded[:3]).max(axis=1))
        np.testing.assert_allclose(decoded, sample.objects.boxes[k], atol=2e-3)
        clipped = np.clip(rect, 0, [sample.camera.width - 1, sample.camera.height - 1] * 2)
        np.testing.assert_allclose(clipped, sample.objects.boxes2d[k], atol=1.5)
    # A flat distribution over what the depths are spreads as they do.
    assert found.depth_std[0, 0].item() == pytest.approx(
        float(detector.depths.std(unbiased=False)) * reference_focal_scale(sample.camera.P), rel=1e-4
    )


def test_every_parameter_learns_whatever_there_is_to_see(sample):
    torch.manual_seed(0)
    assert_learns(small(), sample)


def test_the_published_frustum_sees_what_lies_where():
    """Features of the first stage and upsampled depths share one grid, a cell for every four pixels."""
    torch.manual_seed(0)
    frustum = DeepLabFrustum(80).eval()
    dark = torch.zeros(1, 3, 96, 160)
    lit = dark.clone()
    lit[..., 40:44, 120:124] = 5.0
    with torch.no_grad():
        changed = [(a - b).abs().sum(1)[0] for a, b in zip(frustum(lit), frustum(dark), strict=True)]
    assert [tuple(c.shape) for c in changed] == [(24, 40), (24, 40)]
    for each, within in zip(changed, (1, 5), strict=True):  # depths are seen at stride 8, through dilated kernels
        row, column = divmod(int(each.argmax()), 40)
        assert abs(row - 10) <= within and abs(column - 30) <= within


def test_training_on_one_view_learns_it(trained):
    _, _, history = trained
    first, last = history[0], history[-1]
    for name in ("label", "box", "direction", "depth_map"):
        assert last[name] < 0.4 * first[name], name


def test_a_given_depth_is_where_features_go(trained):
    """With a surface given, all that a cell sees lies in the voxels around it."""
    detector, batch, _ = trained
    z = torch.from_numpy(GRID.centres()[0])
    share = {}
    for metres in (10.0, 20.0):
        given = torch.full((1, 24, 40), metres / float(reference_focal_scale(batch.P)[0]))
        sure = two_bin_distribution(given, detector.target_encoder.bins)
        torch.testing.assert_close(sure.sum(1), torch.ones(1, 24, 40))
        ones = torch.ones(1, 1, 24, 40)
        voxels = sample_voxels(ones, sure, batch.P, detector.points, detector.target_encoder.bins, 160, 96)
        share[metres] = (voxels[0, 0].sum((0, 2)) * z).sum() / voxels.sum()
    assert share[10.0] == pytest.approx(10, rel=0.15) and share[20.0] == pytest.approx(20, rel=0.15)


def test_a_teacher_lifts_features_to_the_depth_that_it_is_given(trained, sample):
    """The same picture with depths of twice the size: what the teacher's ground holds lies twice as far away."""
    detector, batch, _ = trained
    parts = CaDDNAdapter()
    branch = parts.depth_branch(detector).eval()
    z = detector.points[0, :, 0, 2]
    centre = []
    for depth in (torch.full_like(batch.depth, 8.0), torch.full_like(batch.depth, 16.0)):
        with torch.no_grad():
            alone = detector.extract_features(batch.images, batch.P)
            bev = parts.teacher_features(detector, batch.images, batch.P, depth, branch).collapsed
        changed = (bev - alone.collapsed[..., -1:, :1]).abs().sum((0, 1, 3))  # against an empty corner far away
        centre.append(((changed * z).sum() / changed.sum()).item())
    assert centre[1] - centre[0] > 4
    unknown = parts.teacher_features(detector, batch.images, batch.P, torch.zeros_like(batch.depth), branch)
    torch.testing.assert_close(unknown.collapsed, alone.collapsed)


def test_the_fourth_column_moves_boxes_between_frames_only(trained, sample):
    detector, batch, _ = trained
    own = torch.from_numpy(sample.camera.own_frame().P.astype(np.float32))[None]
    shifted = own.clone()
    shift = torch.tensor([0.06, -0.02, 0.003])
    shifted[..., 3] = own[..., :3] @ shift
    with torch.no_grad():
        a, b = detector(batch.images, own), detector(batch.images, shifted)
    torch.testing.assert_close(a.scores, b.scores)
    torch.testing.assert_close(b.boxes[..., :3], a.boxes[..., :3] - shift, atol=1e-3, rtol=0)
    torch.testing.assert_close(b.boxes2d, a.boxes2d, atol=1e-2, rtol=1e-4)


@pytest.mark.slow
def test_the_exported_graph_equals_torch_and_finds_each_object_once(trained, sample, tmp_path):
    detector = trained[0]
    onnx = exported(detector, tmp_path / "model.onnx")
    for view in (sample, street(0, left=0, width=256)):
        assert_agree(onnx, detector, view.image, view.camera.P, least=3)
    assert onnx.nms.bev_iou == 0.1
    predictor = Predictor(tmp_path / "model.onnx", device="cpu", flip_test=False)  # it knows this one view
    found = predictor.predict(sample.image, sample.camera, 0.5)
    targets = views(detector, [sample]).targets
    [candidates] = onnx(sample.image[None], sample.camera.P[None])
    assert (candidates.scores > 0.5).sum() > targets["mask"].sum()  # before suppression
    taught = targets["box"][0][targets["mask"][0]].numpy()[:, :3] - sample.camera.translation
    apart = np.linalg.norm(taught[:, None] - found.boxes[:, :3], axis=2)
    assert len(found) == len(taught)
    assert ((apart < 0.3).sum(axis=1) == 1).all()
