"""GUPNet: depth by projection and its uncertainty, heads of regions, a graph equal to torch, its distillation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.detector_cases import assert_agree, assert_learns, exported, overfit, street, views
from torch import nn

from add_model.classes import KITTI_CLASSES
from add_model.detectors.centre_distillation import soft_answers
from add_model.detectors.gupnet.detector import BINS, cell_boxes, filled
from add_model.detectors.gupnet.distillation import GUPNetAdapter
from add_model.detectors.gupnet.features import MapFeatures
from add_model.detectors.gupnet.geometric_depth import coordinate_maps, depth_from_height
from add_model.detectors.gupnet.loss import gupnet_loss, size_loss
from add_model.detectors.gupnet.roi_heads import RoIHeads
from add_model.detectors.losses import Normaliser
from add_model.geometry.camera import reference_focal_scale
from add_model.registry import build

adapter = GUPNetAdapter()


@pytest.fixture(scope="module")
def sample():
    return street(0)


@pytest.fixture(scope="module")
def trained(sample):
    """The small detector after some steps on one view, and the view as a batch."""
    torch.manual_seed(0)
    detector = build("gupnet_plain")
    batch = views(detector, [sample])
    overfit(detector, batch, steps=220, rate=1.5e-3)
    with torch.no_grad():  # the statistics of the heads' norms too
        detector.train().losses(detector.extract_features(batch.images, batch.P), batch.targets)
    return detector.eval(), batch


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return build("gupnet_plain").eval()


def convolution(inputs, outputs, kernel=1):
    return outputs * (inputs * kernel**2 + 1)


def projection(fu=300.0, fv=300.0, cu=80.0, cv=48.0):
    return torch.tensor([[[fu, 0, cu, 0], [0, fv, cv, 0], [0, 0, 1, 0.0]]])


def test_the_published_size():
    """Head by head, as the published code has them; its own count is 9 more, for mean sizes."""
    flat = convolution(64, 256, 3)
    region = convolution(64 + 2 + 3, 256, 3) + 2 * 256
    parts = {
        "backbone": 15_229_104,
        "neck": 3_995_392,
        "heatmap_head": flat + convolution(256, 3),
        "box_heads": 2 * (flat + convolution(256, 2)),
        "roi_heads": 4 * region + convolution(256, 2 + 2 + 4 + 24),
    }
    detector = build("gupnet_dla34")
    for name, expected in parts.items():
        assert sum(p.numel() for p in getattr(detector, name).parameters()) == expected, name
    assert sum(p.numel() for p in detector.parameters()) == sum(parts.values()) == 20_316_640 - 9


def test_an_object_twice_as_high_in_the_image_is_half_as_far():
    P = projection()
    height, spread = torch.tensor([[1.5, 1.5, 1.8]]), torch.tensor([[0.1, 0.1, 0.2]])
    depth, log_variance = depth_from_height(height, 2 * spread.log(), torch.tensor([[15.0, 30.0, 0.2]]), P)
    scale = reference_focal_scale(P)
    torch.testing.assert_close(depth * scale, torch.tensor([[30.0, 15.0, 540.0]]))  # as if a pixel high at least
    torch.testing.assert_close(torch.exp(log_variance / 2) * scale, torch.tensor([[2.0, 1.0, 60.0]]))


def test_coordinate_maps_go_from_side_to_side():
    P = projection(fu=300.0, fv=360.0**2 / 300.0, cu=70.0, cv=40.0)  # at the reference focal length
    left, top, right, bottom = 10.0, 4.0, 130.0, 76.0
    x, y = coordinate_maps(torch.tensor([[[left, top, right, bottom]]]), P, 7)[0, 0]
    for i, j in np.ndindex(7, 7):
        assert x[i, j].item() == pytest.approx((left + (right - left) * j / 6 - 70) / 300, abs=1e-6)
        assert y[i, j].item() == pytest.approx((top + (bottom - top) * i / 6 - 40) / 432, abs=1e-6)


def test_coordinate_maps_follow_the_camera(sample):
    """The same part of the world from a cropped image, and from another frame of the camera."""
    camera, boxes = sample.camera, torch.tensor([[[30.0, 20.0, 60.0, 50.0]]])

    def maps(view, boxes):
        return coordinate_maps(boxes, torch.from_numpy(view.P.astype(np.float32))[None], 7)

    found = maps(camera, boxes)
    torch.testing.assert_close(maps(camera.crop(11, 6, 120, 80), boxes - torch.tensor([11.0, 6, 11, 6])), found)
    torch.testing.assert_close(maps(camera.own_frame(), boxes), found)


@pytest.mark.parametrize("zoom", [1.0, 1.7])
def test_depth_is_projected_height_plus_bias(detector, zoom):
    """And its variance is the sum of both variances, in metres for any camera."""
    fu, fv, stride = 150.0 * zoom, 200.0 * zoom, detector.target_encoder.stride
    P = projection(fu, fv)
    extra, height_std, bias_std, cells_high = 0.12, 0.09, 1.3, 2.75
    with torch.no_grad():
        for layer in (*detector.box_heads.outputs.values(), *detector.roi_heads.outputs.values()):
            layer.weight.zero_()
        detector.box_heads.outputs["size_2d"].bias.copy_(torch.tensor([4.0, cells_high]))
        detector.roi_heads.outputs["size_3d"].bias.copy_(torch.tensor([0, 0, extra, 2 * math.log(height_std)]))
        detector.roi_heads.outputs["depth"].bias.copy_(torch.tensor([-0.7, 2 * math.log(bias_std)]))
        detector.heatmap_head[-1].weight.zero_()
        detector.heatmap_head[-1].bias.copy_(torch.tensor([-9.0, 2.0, -9.0]))
        found = detector(torch.zeros(1, 64, 160, 3, dtype=torch.uint8), P)
    scale = math.sqrt(fu * fv) / 360
    metres = fv / (cells_high * stride)
    height = KITTI_CLASSES.mean_sizes[1][2] + extra
    depth = metres * height + scale * math.exp(0.7)  # coded depth is 1 / sigmoid - 1
    std = math.hypot(metres * height_std, scale * bias_std)
    certainty = 1 - math.exp(-math.sqrt(2) / std)
    assert (found.labels == 1).all()
    for name, value in (
        ("depth_std", torch.full((1, 50), std)),
        ("scores", torch.full((1, 50), certainty / (1 + math.exp(-2)))),
    ):
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.boxes[..., 2], torch.full((1, 50), depth), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.boxes[..., 5], torch.full((1, 50), height), rtol=1e-5, atol=0)


def test_the_same_pixels_of_a_longer_lens_are_as_much_farther(trained):
    detector, batch = trained
    longer = batch.P.clone()
    longer[:, [0, 1], [0, 1]] *= 1.3
    with torch.no_grad():
        near, far = (detector(batch.images, P) for P in (batch.P, longer))
        seen = detector.extract_features(batch.images, batch.P)
        cell, label = batch.targets["cell"], batch.targets["label"]
        a, b = (detector.regress(MapFeatures(seen.neck_map, P), cell, label) for P in (batch.P, longer))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(far.boxes2d[0, 0], near.boxes2d[0, 0], atol=1e-2, rtol=0)
    torch.testing.assert_close(far.boxes[0, 0, 2], 1.3 * near.boxes[0, 0, 2], atol=1e-2, rtol=1e-3)


def test_a_region_is_what_its_box_shows(detector):
    """Of a map that says which pixels its cells are centred on; then where that is, and the class."""
    P, rows, columns = projection(fu=360.0, fv=360.0), 24, 40
    neck_map = torch.zeros(1, detector.neck.channels, rows, columns)
    neck_map[0, 0], neck_map[0, 1] = torch.arange(columns) * 4 + 1.5, torch.arange(rows)[:, None] * 4 + 1.5
    offset, size = torch.tensor([[[0.3, -0.4]]]), torch.tensor([[[9.1, 6.3]]])
    boxes = cell_boxes(torch.tensor([[11 * columns + 17]]), columns, offset, size)
    region = detector.regions(MapFeatures(neck_map, P), boxes, torch.tensor([[2]]))[0, 0]
    for axis, (centre, side, middle) in enumerate(((17.8 * 4 - 0.5, 36.4, 80.0), (11.1 * 4 - 0.5, 25.2, 48.0))):
        bin_centres = centre + side * ((torch.arange(BINS) + 0.5) / BINS - 0.5)
        across = centre + side * (torch.arange(BINS) / (BINS - 1) - 0.5)
        wanted = [v[None, :] if axis == 0 else v[:, None] for v in (bin_centres, (across - middle) / 360)]
        torch.testing.assert_close(region[axis], wanted[0].expand(BINS, BINS))
        torch.testing.assert_close(region[-5 + axis], wanted[1].expand(BINS, BINS))
    assert region[-3:].mean((1, 2)).tolist() == [0.0, 0.0, 1.0]


def test_heads_of_regions_equal_one_head_each():
    torch.manual_seed(0)
    heads = RoIHeads(5, 8, {"a": 2, "b": 3})
    regions = torch.randn(6, 5, 7, 7)
    found = heads(regions)
    convolution_, norm, _ = heads.shared
    for k, (name, layer) in enumerate(heads.outputs.items()):
        mine = slice(8 * k, 8 * (k + 1))
        hidden = nn.functional.conv2d(regions, convolution_.weight[mine], convolution_.bias[mine], padding=1)
        hidden = nn.functional.batch_norm(hidden, None, None, norm.weight[mine], norm.bias[mine], training=True)
        torch.testing.assert_close(found[name], layer(hidden.relu().mean((2, 3))))


def test_no_region_leaves_the_statistics_of_norms_alone():
    heads = RoIHeads(5, 8, {"a": 2})
    before = {name: value.clone() for name, value in heads.state_dict().items()}
    found = heads(torch.empty(0, 5, 7, 7))["a"]
    assert found.shape == (0, 2)
    found.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in heads.parameters())
    after = heads.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if "running" in name)


def test_norms_see_the_labelled_objects_alone(detector, sample):
    batch, seen = views(detector, [sample, replace(sample, objects=sample.objects[:6])]), []
    detector.roi_heads.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    detector.losses(detector.extract_features(batch.images, batch.P), batch.targets)
    count = batch.targets["mask"].sum(1)
    assert seen == [int(count.sum())] and count[0] > count[1] > 0


def test_rows_without_an_object_have_no_region(trained):
    """What stands in them changes nothing, the norms' statistics included."""
    detector, batch = trained
    t = filled(batch.targets)
    n = int(t["mask"].sum())
    longer = {name: nn.functional.pad(t[name], (0, 3), value=value) for name, value in (("cell", 7), ("label", 1))}
    mask = nn.functional.pad(t["mask"], (0, 3))
    detector.train()
    with torch.no_grad():
        seen = detector.extract_features(batch.images, batch.P)
        wanted = detector.regress(seen, t["cell"], t["label"])
        found = detector.regress(seen, longer["cell"], longer["label"], mask)
    detector.eval()
    assert n == t["mask"].shape[1]
    for name, value in wanted.items():
        torch.testing.assert_close(found[name][:, :n], value, atol=1e-4, rtol=1e-4)


def test_the_size_loss_by_hand():
    """A third for each side; the height's by its uncertainty."""
    size, target = torch.tensor([[0.5, -0.2, 0.1], [0.0, 0.0, 0.0]]), torch.tensor([[0.1, 0.0, 0.4], [0.0, 0.0, 0.2]])
    spread = torch.tensor([0.5, 0.1])
    height = math.sqrt(2) * 0.3 / 0.5 + math.log(0.5) + math.sqrt(2) * 0.2 / 0.1 + math.log(0.1)
    assert size_loss(size, 2 * spread.log(), target).item() == pytest.approx((0.4 + 0.2 + height) / 3, rel=1e-5)


def test_losses_by_hand():
    """Means over the two objects, and over the two numbers of each offset."""
    mask = torch.tensor([[True, True, False]])
    target = {"mask": mask, "mask_3d": mask, "heatmap": torch.zeros(1, 3, 1, 1)}
    target["ignore"] = torch.zeros(1, 3, 1, 1, dtype=torch.bool)
    outputs = {"heading": torch.zeros(1, 3, 24), "height_log_variance": torch.zeros(1, 3)}
    outputs["log_variance"] = torch.tensor([[0.0, 2 * math.log(3.0), 0.0]])
    for name in ("offset_2d", "size_2d", "offset_3d"):
        target[name] = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]]])
        outputs[name] = torch.tensor([[[1.5, 1.0], [0.0, -3.0], [0.0, 0.0]]])
    target |= {"depth": torch.tensor([[10.0, 20.0, 0.0]]), "size_3d": torch.zeros(1, 3, 3)}
    target |= {"heading_bin": torch.zeros(1, 3, dtype=torch.long), "heading_residual": torch.full((1, 3), 0.2)}
    outputs |= {"depth": torch.tensor([[11.0, 26.0, 7.0]]), "size_3d": torch.ones(1, 3, 3)}
    losses = gupnet_loss(torch.full((1, 3, 1, 1), -99.0), outputs, target)
    wanted = {
        "heatmap": 0.0,
        **dict.fromkeys(("offset_2d", "size_2d", "offset_3d"), (0.5 + 1 + 0 + 3) / 4),
        "depth": (math.sqrt(2) * 1 + math.sqrt(2) * 6 / 3 + math.log(3)) / 2,
        "size_3d": (2 + math.sqrt(2)) / 3,
        "heading": math.log(12) + 0.2,
    }
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(wanted, rel=1e-5)


def test_the_loss_of_a_batch_is_the_sum_over_its_objects(detector, sample):
    """Normalised by the objects of all processes: two halves, each with the global count, sum to the whole."""
    batch = views(detector, [sample, replace(street(3), objects=street(3).objects[:3])])
    with torch.no_grad():
        seen = detector.extract_features(batch.images, batch.P)
        whole = detector.losses(seen, batch.targets)
        total = Normaliser(lambda _: batch.targets["mask"].sum().float(), 2)
        halves = [
            detector.losses(
                MapFeatures(seen.neck_map[k : k + 1], seen.P[k : k + 1]),
                {name: value[k : k + 1] for name, value in batch.targets.items()},
                total,
            )
            for k in (0, 1)
        ]
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2, atol=1e-4, rtol=1e-4)


def test_the_depth_loss_trains_the_2d_box_and_the_height_too(detector, sample):
    batch = views(detector.train(), [sample])
    with torch.no_grad():
        detector.box_heads.outputs["size_2d"].bias.fill_(4.0)  # higher than a pixel
    detector.losses(detector.extract_features(batch.images, batch.P), batch.targets)["depth"].backward()
    assert detector.box_heads.outputs["size_2d"].bias.grad[1].abs() > 1e-3
    assert (detector.roi_heads.outputs["size_3d"].bias.grad[2:].abs() > 1e-3).all()
    assert (detector.roi_heads.outputs["depth"].bias.grad.abs() > 1e-3).all()


def test_every_parameter_learns_whatever_there_is_to_see(sample):
    torch.manual_seed(0)
    assert_learns(build("gupnet_plain"), sample)


def test_what_it_regresses_in_training_is_not_rounded(detector, sample):
    batch = views(detector, [sample])
    with torch.no_grad():
        seen = detector.extract_features(batch.images, batch.P)
        exact = detector.regress_precisely(seen, batch.targets)
        with torch.autocast("cpu", torch.bfloat16):
            found = detector.regress_precisely(seen, batch.targets)
    assert all(torch.equal(found[name], value) for name, value in exact.items())


def test_after_training_on_one_view_its_boxes_come_out(trained, sample):
    detector, batch = trained
    with torch.no_grad():
        found = detector(batch.images, batch.P)
    assert (found.scores.diff(dim=1) <= 0).all() and found.scores.min() >= 0 and found.scores.max() <= 1
    for box, label in zip(found.boxes[0, :4].numpy(), found.labels[0, :4].tolist(), strict=True):
        labelled = sample.objects.boxes[sample.objects.names == KITTI_CLASSES.names[label]]
        error = np.abs(labelled - box)
        k = error[:, :3].max(axis=1).argmin()
        assert error[k, 0] < 0.6 and error[k, 1] < 0.3 and error[k, 2] < 0.12 * labelled[k, 2]
        assert error[k, 3:6].max() < 0.4
    with torch.no_grad():
        outputs = detector.regress_precisely(detector.extract_features(batch.images, batch.P), batch.targets)
    mask, depth = batch.targets["mask"], batch.targets["depth"]
    error = ((outputs["depth"] - depth).abs() / depth)[mask]
    assert error.median() < 0.1


def test_the_fourth_column_moves_boxes_between_frames_only(trained, sample):
    detector, batch = trained
    own = torch.from_numpy(sample.camera.own_frame().P.astype(np.float32))[None]
    shift = torch.tensor([0.06, -0.02, 0.003])
    shifted = own.clone()
    shifted[..., 3] = own[..., :3] @ shift
    with torch.no_grad():
        a, b = (detector(batch.images, P) for P in (own, shifted))
    torch.testing.assert_close(a.scores, b.scores)
    torch.testing.assert_close(a.boxes[..., :3] - shift, b.boxes[..., :3], atol=1e-3, rtol=1e-4)


@pytest.mark.slow
def test_the_exported_graph_equals_torch(trained, sample, tmp_path):
    detector = trained[0]
    onnx = exported(detector, tmp_path / "model.onnx")
    tall = np.pad(sample.image, ((0, 32), (0, 0), (0, 0)))
    for image in (sample.image, tall, street(0, left=0, width=256).image):
        assert_agree(onnx, detector, image, sample.camera.P, least=3)
    assert (onnx.focal, onnx.nms.bev_iou) == (180.0, 1.0)


def test_a_teacher_begins_as_its_student_and_then_sees_depth(detector, sample):
    batch = views(detector, [sample])
    branch = adapter.depth_branch(detector).eval()
    with torch.no_grad():
        alone = detector.extract_features(batch.images, batch.P)
        given = adapter.teacher_features(detector, batch.images, batch.P, batch.depth, branch)
        assert torch.equal(given.neck_map, alone.neck_map) and torch.equal(given.P, batch.P)
        for join in branch.joins:
            nn.init.normal_(join.weight, std=0.1)
        given = adapter.teacher_features(detector, batch.images, batch.P, batch.depth, branch)
    assert (given.neck_map - alone.neck_map).abs().max() > 1e-3


def test_responses_are_compared_at_the_objects_own_cells(trained):
    """What a teacher answers there moves depth and leaves its uncertainty alone."""
    detector, batch = trained
    torch.manual_seed(1)
    teacher = build("gupnet_plain").eval()
    seen = detector.extract_features(batch.images, batch.P)
    given = teacher.extract_features(batch.images, batch.P)
    passed = adapter.teacher_targets(teacher, given, detector, seen, batch.targets, batch.P)
    t = passed.targets
    outputs = teacher.regress(given, t["cell"], t["label"])
    for name, value in soft_answers(outputs).items():
        torch.testing.assert_close(passed.answers[name][t["mask"]], value[t["mask"]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(passed.trust, torch.exp(-(passed.answers["depth"] - t["depth"]).abs()))
    itself = replace(
        passed, answers=soft_answers(detector.regress_precisely(seen, t)), trust=torch.ones(t["mask"].shape)
    )
    losses = adapter.regression_losses(detector, seen, itself)
    assert all(losses[name] == 0 for name in ("offset_3d", "size_3d", "offset_2d", "size_2d"))
    own = adapter.adapted_losses(adapter.tokens(detector, seen), seen, replace(itself, teacher=detector))
    for name, value in losses.items():
        torch.testing.assert_close(own[name], value)
    sure = replace(passed, trust=torch.ones(t["mask"].shape))
    detector.zero_grad()
    adapter.regression_losses(detector, seen, sure)["depth"].backward()
    depth, log_variance = detector.roi_heads.outputs["depth"].bias.grad
    assert depth.abs() > 1e-3 and log_variance == 0
    assert detector.roi_heads.outputs["size_3d"].bias.grad[3] == 0


def test_rows_without_an_object_are_not_compared(detector, sample):
    batch = views(detector, [sample, replace(sample, objects=sample.objects[:6])])
    with torch.no_grad():
        seen = detector.extract_features(batch.images, batch.P)
        passed = adapter.teacher_targets(detector, seen, detector, seen, batch.targets, batch.P)
        off = {name: value + 1 for name, value in passed.answers.items()}
        passed = replace(passed, answers=off, trust=torch.ones_like(passed.trust))
        losses = adapter.regression_losses(detector, seen, passed)
    assert passed.targets["mask"].numel() > passed.targets["mask"].sum()
    assert losses["offset_3d"].item() == pytest.approx(passed.targets["mask"].sum().item(), rel=1e-4)


def test_tokens_of_an_object_are_those_in_its_2d_box(detector, sample):
    batch = views(detector, [sample])
    with torch.no_grad():
        seen = detector.extract_features(batch.images, batch.P)
    passed = adapter.teacher_targets(detector, seen, detector, seen, batch.targets, batch.P)
    inside = adapter.foreground_tokens(passed).view(seen.neck_map.shape[2:])
    t, columns = passed.targets, inside.shape[1]
    wanted = torch.zeros_like(inside)
    for k in range(int(t["mask"].sum())):
        row, column = divmod(int(t["cell"][0, k]), columns)
        wanted[row, column] = True
        centre = torch.tensor([column, row]) + t["offset_2d"][0, k]
        for i, j in np.ndindex(*inside.shape):
            wanted[i, j] |= bool(((torch.tensor([j, i]) - centre).abs() <= t["size_2d"][0, k] / 2).all())
    assert torch.equal(inside, wanted)
