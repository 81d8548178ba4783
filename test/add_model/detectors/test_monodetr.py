"""MonoDETR: the cheapest matching, groups apart, answers that decode to the labelled boxes, a graph equal to torch."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle
from support.detector_cases import assert_agree, assert_learns, exported, overfit, street, views
from support.monodetr_cases import perfect

from add_model.detectors.decoding import decode_depth
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.monodetr.box_coding import ShareSides
from add_model.detectors.monodetr.conventions import OWN, PUBLISHED, pixel_position, share_position
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.detectors.monodetr.distillation import MonoDETRAdapter
from add_model.detectors.monodetr.features import EncoderOutputs
from add_model.detectors.monodetr.loss import generalised_iou, ignored, match
from add_model.detectors.monodetr.transformer import DecoderLayer
from add_model.geometry.camera import reference_focal_scale
from add_model.networks.plain import PlainNet
from add_model.registry import build
from training.data.views import Visibility


@pytest.fixture(scope="module")
def sample():
    return street(0)


@pytest.fixture(scope="module")
def published():
    """The published size before training."""
    torch.manual_seed(0)
    return build("monodetr_resnet50")


@pytest.fixture(scope="module")
def trained(sample):
    """A small detector after some steps on one view, the view as a batch, and the losses of each step."""
    torch.manual_seed(0)
    shape = {
        "channels": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "hidden": 32,
        "bins": 20,
        "queries": 16,
        "groups": 3,
    }
    detector = MonoDETR(PlainNet(), first=0, focal=180.0, **shape)
    batch = views(detector, [sample])
    return detector, batch, overfit(detector, batch, steps=40, rate=2e-3)


def linear(inputs, outputs, kernel=1):
    """The parameters of a linear layer, or of a convolution."""
    return outputs * (inputs * kernel**2 + 1)


def test_the_published_size(published):
    """Layer by layer, by the sizes in the published configuration (configs/monodetr.yaml) and code."""
    d, bins, norm = 256, 80, 2 * 256
    attention, feed = 4 * linear(d, d), 2 * linear(d, d)
    deformable = 2 * linear(d, d) + linear(d, 8 * 4 * 4 * 2) + linear(d, 8 * 4 * 4)  # 8 heads, 4 levels, 4 points
    resnet50, its_norms = 23_508_032, 53_120  # torchvision's, without the classifier
    parts = {
        "backbone": resnet50,
        "project": sum(linear(c, d) + norm for c in (512, 1024, 2048)),
        "extra": linear(2048, d, 3) + norm,
        "depth": 3 * (linear(d, d, 3) + norm) + 2 * (linear(d, d) + norm) + linear(d, bins + 1) + 61 * d
        + attention + feed + 2 * norm,
        "encoder": 3 * (deformable + feed + 2 * norm) + 4 * d,
        "decoder": 3 * (deformable + 2 * attention + 4 * linear(d, d) + feed + 4 * norm),
        "query": 11 * 50 * 2 * d,
        "start": linear(d, 2),
        "heads": 3 * (linear(d, 3) + 2 * linear(d, d) + sum(linear(d, d) + linear(d, n) for n in (3, 24, 2)))
        + 3 * linear(d, 6),
    }  # fmt: skip
    for name, expected in parts.items():
        assert sum(p.numel() for p in getattr(published, name).parameters()) == expected, name
    count = sum(p.numel() for p in published.parameters())
    assert count == sum(parts.values()) == 37_331_973
    # The published one freezes its backbone's norms, and counts what its forward pass does not use: a projection of
    # values in each decoder layer, two perceptrons of the decoder, an embedding of labels, the depths of the bins.
    unused = (3 + 2) * linear(d, d) + linear(d, d) + linear(d, 2) + 4 * (d - 1) + bins + 1
    assert count - its_norms + unused == pytest.approx(37.7e6, abs=0.05e6)


@given(st.integers(0, 2**31 - 1), st.integers(1, 4), st.integers(1, 3))
def test_matching_is_the_cheapest_of_all_assignments(seed, objects, groups):
    rng = np.random.default_rng(seed)
    queries = 4
    cost = torch.from_numpy(rng.normal(size=(1, groups * queries, 6)))
    mask = torch.arange(6)[None] < objects
    image, query, row = match(cost, mask, groups)
    assert (image == 0).all() and len(query) == groups * objects
    for group in range(groups):
        mine = query // queries == group
        assert sorted(row[mine].tolist()) == list(range(objects))
        found = cost[0, query[mine], row[mine]].sum()
        part = cost[0, group * queries : (group + 1) * queries].numpy()
        best = min(
            sum(part[q, k] for k, q in enumerate(chosen)) for chosen in itertools.permutations(range(queries), objects)
        )
        assert found == pytest.approx(best)


def test_more_objects_than_queries_and_none_at_all():
    cost = torch.tensor([[[3.0, 1.0, 2.0]], [[0.0, 0.0, 0.0]]])
    image, query, row = match(cost, torch.tensor([[True] * 3, [False] * 3]))
    assert (image.tolist(), query.tolist(), row.tolist()) == ([0], [0], [1])


corner = st.floats(-50, 50)
side = st.floats(0.5, 60)


@given(st.tuples(corner, corner, side, side), st.tuples(corner, corner, side, side))
def test_generalised_iou_agrees_with_polygons(a, b):
    shapes = [rectangle(x, y, x + w, y + h) for x, y, w, h in (a, b)]
    union, common = shapes[0].union(shapes[1]).area, shapes[0].intersection(shapes[1]).area
    around = rectangle(*shapes[0].union(shapes[1]).bounds).area
    boxes = [torch.tensor(shape.bounds, dtype=torch.double) for shape in shapes]
    found = generalised_iou(*boxes).item()
    assert found == pytest.approx(common / union - (around - union) / around, abs=1e-6)


@pytest.mark.parametrize("box_heading", [False, True])
def test_perfect_answers_decode_to_the_labelled_boxes_and_cost_nothing(sample, box_heading):
    conventions = replace(OWN, box_heading=box_heading)
    detector = MonoDETR(PlainNet(), 0, 16, 2, 1, 1, 16, 40, 30, 5, focal=180.0, conventions=conventions)
    batch = views(detector, [sample])
    n = int(batch.targets["mask"].sum())
    assert n >= 4
    features = perfect(detector, batch)
    found = detector.decode(features, batch.P)
    for box, rectangle_, label in zip(found.boxes[0, :n], found.boxes2d[0, :n], found.labels[0, :n], strict=True):
        labelled = sample.objects.names == ("Car", "Pedestrian", "Cyclist")[int(label)]
        error = np.abs(sample.objects.boxes[labelled] - box.numpy())
        error[:, 6] = np.abs((error[:, 6] + np.pi) % (2 * np.pi) - np.pi)
        k = error[:, :3].max(axis=1).argmin()
        assert error[k].max() < 5e-3
        np.testing.assert_allclose(rectangle_, sample.objects.boxes2d[labelled][k], atol=1.0)
    losses = detector.losses(features, batch.targets)
    assert losses.pop("depth") < 0  # a sure and right answer: the logarithm of a density
    assert all(abs(float(value)) < 1e-3 for value in losses.values()), losses


def test_published_headings_count_against_the_ray_through_the_2d_box(sample):
    """By its formula: rotation_y - atan2(u - cu, fu)."""
    encoder = replace(build("monodetr_plain").target_encoder, box_heading=True)
    camera, objects = sample.camera, sample.objects
    targets = encoder.encode(camera, Visibility().labels(objects))
    found = targets["heading_bin"] * np.pi / 6 + targets["heading_residual"]
    rows = np.flatnonzero(targets["mask"])
    assert len(rows) >= 4
    for row in rows:
        k = np.nanargmin(np.abs(camera.project(objects.boxes[:, :3])[:, :2] - targets["centre"][row]).max(axis=1))
        middle = objects.boxes2d[k, [0, 2]].mean()
        wanted = objects.boxes[k, 6] - np.arctan2(middle - camera.P[0, 2], camera.P[0, 0])
        assert np.cos(found[row] - wanted) == pytest.approx(1, abs=1e-9)


def test_a_published_depth_head_answers_the_logarithm_of_the_deviation():
    """Half of what it answers otherwise, so that weights' outputs mean the same."""
    stds = []
    for log_deviation in (False, True):
        torch.manual_seed(0)
        kind = replace(OWN, log_deviation=log_deviation)
        detector = MonoDETR(PlainNet(), 0, 16, 2, 1, 1, 16, 20, 30, 1, conventions=kind).eval()
        with torch.no_grad():
            detector.heads[0]["depth"][-1].bias[1] = 0.7
            detector.heads[0]["depth"][-1].weight[1] = 0
            seen = detector(torch.zeros(1, 64, 128, 3, dtype=torch.uint8), torch.eye(3, 4)[None])
        stds.append(float(seen.depth_std[0, 0]))
    assert stds[1] / stds[0] == pytest.approx(math.exp(0.35), rel=1e-5)


def test_a_published_decoder_layer_is_a_special_case_of_our_own():
    """Its self-attention sees the sum of content and position, twice, and values as they are."""
    torch.manual_seed(0)
    published = DecoderLayer(16, 2, 1, 16, summed_attention=True).eval()
    own = DecoderLayer(16, 2, 1, 16).eval()
    weights = published.state_dict()
    for index in range(2):
        for kind in ("weight", "bias"):
            both = weights[f"content.{index}.{kind}"] + weights[f"place.{index}.{kind}"]
            weights[f"content.{index}.{kind}"] = both
            weights[f"place.{index}.{kind}"] = both if kind == "weight" else torch.zeros(16)
    weights |= {"content.2.weight": torch.eye(16), "content.2.bias": torch.zeros(16)}
    own.load_state_dict(weights)
    x, position, depth, centre = torch.randn(4, 1, 6, 16).unbind()
    given = x, position, depth, centre[..., :2].sigmoid(), None, [torch.randn(1, 16, 3, 4)]
    with torch.no_grad():
        torch.testing.assert_close(published(*given), own(*given))


def test_a_query_on_an_ignored_label_is_not_punished():
    targets = {
        "ignored": torch.tensor([[[10.0, 10, 20, 20], [0, 0, 0, 0]]]),
        "ignored_class": torch.tensor([[[True, False, False], [False] * 3]]),
    }
    found = ignored(torch.tensor([[[15.0, 15.0], [25.0, 15.0]]]), targets)
    assert found.tolist() == [[[True, False, False], [False, False, False]]]


def test_the_depth_map_shows_the_nearest_object(sample):
    detector = build("monodetr_plain")
    targets = views(detector, [sample]).targets
    t = {key: value[0].numpy() for key, value in targets.items()}
    n, stride = t["mask"].sum(), detector.target_encoder.stride
    low, high = t["centre"] - t["sides"][:, :2] + 0.5, t["centre"] + t["sides"][:, 2:] + 0.5
    checked = 0
    for row, column in np.ndindex(t["depth_bin"].shape):
        # A box paints every cell that it touches.
        touched = [
            t["depth"][k]
            for k in range(n)
            if low[k, 0] < (column + 1) * stride and high[k, 0] > column * stride
            and low[k, 1] < (row + 1) * stride and high[k, 1] > row * stride
        ]  # fmt: skip
        if touched:
            assert t["depth_bin"][row, column] == detector.target_encoder.bins.label(min(touched))
            checked += 1
        else:
            assert t["depth_bin"][row, column] in (detector.target_encoder.bins.count, -1)
    assert checked > 20


def test_groups_of_queries_do_not_see_each_other():
    torch.manual_seed(0)
    layer = DecoderLayer(16, heads=2, levels=1, hidden=16).eval()
    x, position = torch.randn(1, 6, 16), torch.randn(1, 6, 16)
    depth, maps = torch.randn(1, 12, 16), [torch.randn(1, 16, 3, 4)]
    centre, extent = torch.rand(1, 6, 2), torch.rand(1, 6, 2)
    with torch.no_grad():
        together = layer(x, position, depth, centre, extent, maps, groups=2)
        alone = layer(x[:, :3], position[:, :3], depth, centre[:, :3], extent[:, :3], maps)
        mixed = layer(x, position, depth, centre, extent, maps)
    torch.testing.assert_close(together[:, :3], alone)
    assert (mixed[:, :3] - alone).abs().max() > 1e-3


def test_positions_depend_on_pixels_alone():
    unit = torch.tensor([320.0, 96.0])
    small, large = pixel_position(3, 5, 8, 16, unit), pixel_position(6, 9, 8, 16, unit)
    torch.testing.assert_close(small.unflatten(0, (3, 5)), large.unflatten(0, (6, 9))[:3, :5])
    assert torch.cdist(large, large).add(torch.eye(54)).min() > 1e-3  # each its own


def test_published_positions_are_shares_of_the_map_by_the_published_formula():
    found = share_position(3, 5, 8, 16, torch.zeros(2))
    for row, column, channel in np.ndindex(3, 5, 16):
        along, size = (row, 3) if channel < 8 else (column, 5)
        frequency = 10000 ** (2 * (channel % 8 // 2) / 8)
        angle = (along + 1) / size * 2 * math.pi / frequency
        wanted = math.cos(angle) if channel % 2 else math.sin(angle)
        assert found[5 * row + column, channel] == pytest.approx(wanted, abs=1e-6)


def test_published_bins_stand_for_their_near_edges():
    bins = DepthBins(80, 1e-3, 60.0)
    step = 2 * (60.0 - 1e-3) / (80 * 81)
    wanted = (np.arange(80) + 0.5) ** 2 * step / 2 - step / 8 + 1e-3  # as its code has it
    np.testing.assert_allclose(PUBLISHED.bin_depths(bins), wanted, rtol=1e-9)
    assert (OWN.bin_depths(bins) > wanted).all()


def test_published_depth_maps_have_their_corners_at_the_images_edges():
    """A map that rises by 1 m a cell is sampled at share (n - 1) cells instead of share n - 0.5."""
    torch.manual_seed(0)
    size = torch.tensor([128.0, 64.0])
    detectors = []
    for kind in (OWN, replace(OWN, corners_aligned=True)):
        torch.manual_seed(0)
        detectors.append(MonoDETR(PlainNet(), 0, 16, 2, 1, 1, 16, 20, 30, 1, conventions=kind).eval())
    maps = [torch.randn(1, 16, 64 // stride, 128 // stride) for stride in detectors[0].strides]
    ramp = torch.arange(16.0).expand(1, 8, -1)
    encoded = EncoderOutputs(maps, ramp, torch.randn(1, 6, 16), torch.zeros(1, 21, 8, 16), size)
    with torch.no_grad():
        own, published = (detector.run_decoder(encoded, torch.eye(3, 4)[None]) for detector in detectors)
    share = (own.centre[-1][..., 0] + 0.5) / size[0]
    inside = (share * 16 > 0.5) & (share * 16 < 15.5)
    assert inside.sum() > 20
    torch.testing.assert_close((published.depth - own.depth)[-1][inside], ((0.5 - share) / 3)[inside])


def test_every_parameter_learns_whatever_there_is_to_see(sample):
    torch.manual_seed(0)
    assert_learns(build("monodetr_plain"), sample)
    as_published = {"depth_position": False, "box_coding": ShareSides(), "conventions": PUBLISHED}
    assert_learns(MonoDETR(PlainNet(), 0, 16, 2, 1, 1, 16, 20, 30, 1, focal=180.0, **as_published), sample)


def test_a_fourth_map_is_made_where_the_backbone_gives_three(sample):
    """As in the published size."""
    torch.manual_seed(0)
    detector = MonoDETR(
        PlainNet(), first=1, channels=32, heads=2, hidden=32, bins=20, queries=16, groups=3, focal=180.0
    )
    assert detector.strides == (8, 16, 32, 64)
    assert [tuple(m.shape[2:]) for m in detector.image_features(views(detector, [sample]).images)] == [
        (12, 20), (6, 10), (3, 5), (2, 3),
    ]  # fmt: skip
    assert_learns(detector, sample)


def test_training_on_one_view_learns_it(trained):
    _, _, history = trained
    first, last = history[0], history[-1]
    assert sum(last.values()) < 0.6 * sum(first.values())
    for name in ("label", "centre", "depth", "depth_map"):
        assert last[name] < 0.8 * first[name], name


def test_a_map_that_knows_nothing_costs_the_mean_over_known_cells(trained):
    """Cells that see an object count 13 times."""
    detector, batch, _ = trained
    bins, classes = batch.targets["depth_bin"], detector.target_encoder.bins.count + 1
    with torch.no_grad():
        features = detector.extract_features(batch.images, batch.P)
        blank = replace(features.encoder_outputs, depth_logits=torch.zeros_like(features.encoder_outputs.depth_logits))
        found = detector.losses(replace(features, encoder_outputs=blank), batch.targets)["depth_map"]
    objects, known = ((bins >= 0) & (bins < classes - 1)).sum(), (bins >= 0).sum()
    each = 0.25 * (1 - 1 / classes) ** 2 * np.log(classes)
    assert objects > 20
    assert found.item() == pytest.approx(each * float((13 * objects + known - objects) / known), rel=1e-4)


def test_as_published_cells_of_objects_beyond_the_bins_count_13_times_too(trained):
    """With the class of cells without an object."""
    detector, batch, _ = trained
    classes = detector.target_encoder.bins.count + 1
    bins = torch.tensor([[[classes - 1, classes, 3, -1]]])
    with torch.no_grad():
        features = detector.extract_features(batch.images, batch.P)
        logits = torch.arange(classes * 4.0).sin().reshape(1, classes, 1, 4)
        drawn = replace(features.encoder_outputs, depth_logits=logits)
        targets = batch.targets | {"depth_bin": bins}
        found = detector.losses(replace(features, encoder_outputs=drawn), targets)["depth_map"]
    share = [torch.softmax(logits[0, :, 0, cell], 0)[kind].item() for cell, kind in ((0, -1), (1, -1), (2, 3))]
    costs = [-0.25 * (1 - p) ** 2 * math.log(p) for p in share]
    assert found.item() == pytest.approx((costs[0] + 13 * costs[1] + 13 * costs[2]) / 3, rel=1e-5)


def test_groups_are_for_training_only(trained):
    detector, batch, _ = trained
    with torch.no_grad():
        assert detector.extract_features(batch.images, batch.P).logits.shape[2] == detector.queries
        found = detector(batch.images, batch.P)
    assert (found.scores.diff(dim=1) <= 0).all() and found.scores.min() >= 0 and found.scores.max() <= 1


def with_depth_map(detector, images, P, depth_map):
    """What the decoder predicts where another depth map, (B, h, w) at the reference focal length, replaces its own."""
    maps = detector.image_features(images)
    prediction = replace(detector.depth(maps), depth_map=depth_map)
    return detector.run_decoder(detector.run_encoder(maps, prediction, images.shape[1:3]), P)


def test_a_third_of_each_depth_is_the_maps(trained):
    """30 m more there are 10 m more, where nothing else reads it."""
    detector, batch, _ = trained
    near = torch.full((1, *batch.targets["depth_bin"].shape[1:]), 10.0)
    with torch.no_grad():
        torch.nn.init.zeros_(detector.depth.places.weight)
        a, b = (with_depth_map(detector, batch.images, batch.P, depth) for depth in (near, near + 30))
    torch.testing.assert_close(b.depth - a.depth, torch.full_like(a.depth, 10.0), atol=1e-3, rtol=0)


def test_where_a_teachers_depth_is_unknown_the_prediction_stays(trained):
    detector, batch, _ = trained
    parts = MonoDETRAdapter()
    branch = parts.depth_branch(detector).eval()  # adds nothing yet
    stride = detector.target_encoder.stride
    depth = torch.full_like(batch.depth, 6.0)
    depth[:, :, : depth.shape[2] // 2] = 0
    with torch.no_grad():
        predicted = detector.extract_features(batch.images, batch.P).encoder_outputs.depth_map
        found = parts.teacher_features(detector, batch.images, batch.P, depth, branch).encoder_outputs.depth_map
    known = 6.0 / reference_focal_scale(batch.P)
    torch.testing.assert_close(found[depth > 0], known.expand(int((depth > 0).sum())))
    # Far from where depth is known, pixels are interpolated between predicted cells.
    columns = depth.shape[2] // 2 // stride - 1
    centres = found[:, stride // 2 :: stride, stride // 2 :: stride][..., :columns]
    corner = found[:, stride // 2 - 1 :: stride, stride // 2 - 1 :: stride][..., :columns]
    middle = (centres + corner) / 2  # of a cell lies between these two pixels
    torch.testing.assert_close(middle, predicted[..., :columns], atol=0.2, rtol=0.05)


def test_a_teacher_has_the_depth_that_it_is_given_in_place_of_its_own(trained):
    """A third of each answered depth is the map's."""
    detector, batch, _ = trained
    parts = MonoDETRAdapter()
    branch = parts.depth_branch(detector).eval()
    near = torch.full_like(batch.depth, 6.0)
    with torch.no_grad():
        a, b = (parts.teacher_features(detector, batch.images, batch.P, depth, branch) for depth in (near, near + 4.5))
        depth_map = torch.full((1, 12, 20), 6.0) / reference_focal_scale(batch.P)
        given = with_depth_map(detector, batch.images, batch.P, depth_map)
    torch.testing.assert_close(a.depth, given.depth, atol=1e-4, rtol=1e-4)
    assert (b.depth - a.depth).abs().min() > 1e-3
    detector.losses(a, batch.targets)


def test_a_teacher_reads_depth_pixel_by_pixel(trained):
    """What is nearer beside an object's centre, in the same cell, must not be taken for it."""
    detector, batch, _ = trained
    parts = MonoDETRAdapter()
    branch = parts.depth_branch(detector).eval()  # adds nothing yet
    stride = detector.target_encoder.stride
    far = torch.full_like(batch.depth, 6.0)
    striped = far.clone()
    striped[:, :, ::stride] = 2.0  # each cell's nearest
    with torch.no_grad():
        # So that tokens, which have a cell's nearest depth, say nothing of it.
        torch.nn.init.zeros_(detector.depth.places.weight)
        a, b = (parts.teacher_features(detector, batch.images, batch.P, depth, branch) for depth in (far, striped))
    column = a.centre[..., 0] % stride
    clear = (column > 1.01) & (column < stride - 1.01) & (a.centre[..., 0] < batch.depth.shape[2] - 1)
    assert clear.any() and not clear.all()
    assert torch.equal(a.centre, b.centre)
    torch.testing.assert_close(b.depth[clear], a.depth[clear])
    assert (a.depth - b.depth)[~clear].max() > 0.1


def test_a_depth_is_the_mean_of_three_answers(sample):
    """Regressed, height over height in the image, and the map's (section 3.4), all at the reference focal length."""
    torch.manual_seed(0)
    detector = MonoDETR(PlainNet(), first=0, channels=32, heads=2, hidden=32, bins=20, queries=4, focal=180.0).eval()
    fu, fv, height, side = 150.0, 200.0, 1.7, 11.0
    P = torch.tensor([[[fu, 0, 80, 0], [0, fv, 48, 0], [0, 0, 1, 0.0]]])
    grow = torch.tensor(side / detector.box_coding.unit).log() / len(detector.heads)  # each layer adds its part
    with torch.no_grad():
        for head in detector.heads:
            for name in ("box", "size", "depth"):
                head[name][-1].weight.zero_()
            head["box"][-1].bias.copy_(torch.tensor([0, 0, *[grow] * 4]))
            head["size"][-1].bias.copy_(torch.tensor([1.0, 1.0, height]))
            head["depth"][-1].bias.copy_(torch.tensor([-2.0, 0.0]))
        features = with_depth_map(detector, torch.from_numpy(sample.image)[None], P, torch.full((1, 12, 20), 33.0))
    regressed = float(decode_depth(torch.tensor([-2.0, 0.0]))[0])
    geometric = fv * height / (2 * side) / float(reference_focal_scale(P)[0])
    expected = (regressed + geometric + 33.0) / 3
    torch.testing.assert_close(features.depth[-1], torch.full_like(features.depth[-1], expected), atol=1e-3, rtol=1e-4)


def test_the_fourth_column_moves_boxes_between_frames_only(trained, sample):
    detector, batch, _ = trained
    own = torch.from_numpy(sample.camera.own_frame().P.astype(np.float32))[None]
    shifted = own.clone()
    shifted[..., 3] = own[..., :3] @ torch.tensor([0.06, -0.02, 0.003])
    with torch.no_grad():
        features = detector.extract_features(batch.images, own)
        again = detector.extract_features(batch.images, shifted)
        a, b = detector.decode(features, own), detector.decode(again, shifted)
    torch.testing.assert_close(a.scores, b.scores)
    torch.testing.assert_close(
        a.boxes[..., :3] - torch.tensor([0.06, -0.02, 0.003]), b.boxes[..., :3], atol=1e-3, rtol=0
    )


@pytest.mark.slow
def test_the_exported_graph_equals_torch(trained, sample, tmp_path):
    detector = trained[0]
    onnx = exported(detector, tmp_path / "model.onnx")
    tall = np.pad(sample.image, ((0, 32), (0, 0), (0, 0)))
    for image in (sample.image, tall, street(0, left=0, width=256).image):
        assert_agree(onnx, detector, image, sample.camera.P, least=3)
    assert (onnx.focal, onnx.nms.bev_iou) == (180.0, 1.0)


def test_queries_start_all_over_the_image(published):
    """The published start: shares of the image with a standard deviation of about a quarter, its edges included."""
    detector = published
    with torch.no_grad():
        place = detector.start(detector.query.weight.chunk(2, -1)[0]).sigmoid()
    assert place.std() == pytest.approx(0.266, abs=0.02)
    assert ((place < 0.1) | (place > 0.9)).float().mean() > 0.1
    named = [*detector.encoder.named_parameters(), *detector.decoder.named_parameters()]
    packed = [f"{part}.{name}." for part in ("depth", "mutual") for name in ("query", "key", "value")]
    for name, matrix in ((n, p.detach()) for n, p in named if p.dim() == 2 and p.any() and n != "level"):
        outputs, inputs = matrix.shape
        if any(part in name for part in packed):  # torch's MultiheadAttention has these three in one matrix
            outputs *= 3
        assert matrix.std().item() == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.1), name
    assert (detector.decoder[0].visual.offsets.weight == 0).all()


def test_published_attentions_and_heads_start_as_pytorchs(published):
    detector, wanted = published, torch.nn.MultiheadAttention(256, 8)
    for attention in (detector.depth.attention, detector.decoder[1].mutual):
        layers = attention.query, attention.key, attention.value
        for part, layer in zip(wanted.in_proj_weight.chunk(3), layers, strict=True):
            assert layer.weight.std().item() == pytest.approx(part.std().item(), rel=0.02)
            assert layer.weight.abs().max().item() == pytest.approx(part.abs().max().item(), rel=0.01)
            assert not layer.bias.any()
        assert not attention.out.bias.any() and not wanted.out_proj.bias.any()
    first, second, third = (head.state_dict() for head in detector.heads)
    assert all((second[name] == third[name]).all() for name in first)
    different = {name for name in first if (first[name] != second[name]).any()}
    assert different == {"box.4.bias"} and (first["box.4.bias"][2:] == -2).all()
    with torch.no_grad():
        size, depth = (detector.heads[0][name](torch.randn(200, 256)) for name in ("size", "depth"))
    assert (size < 0).any() and size.abs().max() < 1 and depth.abs().max() < 1


def test_queries_look_around_in_cells_at_first_and_then_in_boxes():
    torch.manual_seed(0)
    detector, reached = build("monodetr_plain").eval(), []
    for layer in detector.decoder:
        layer.visual.register_forward_pre_hook(lambda _, given: reached.append(given[2]))
    with torch.no_grad():
        detector.extract_features(torch.zeros(1, 64, 128, 3, dtype=torch.uint8), torch.eye(3, 4)[None] * 180)
    cells = [[stride / 128, stride / 64] for stride in detector.strides]
    torch.testing.assert_close(reached[0], torch.tensor([[cells]]))
    # A box starts with the same side everywhere, 4 points to each half of it.
    side = torch.tensor([2 * detector.box_coding.unit / 128, 2 * detector.box_coding.unit / 64]) / 8
    torch.testing.assert_close(reached[1], side.expand(1, 30, 1, 2))


def test_attention_drops_weights_in_training_alone():
    torch.manual_seed(0)
    layer = DecoderLayer(16, heads=2, levels=1, hidden=16)
    x = torch.randn(1, 6, 16)
    for attention in (layer.depth, layer.mutual):
        (a,), (b,) = (attention.train()(x, x, x) for _ in range(2))
        assert not torch.equal(a, b)
        (a,), (b,) = (attention.eval()(x, x, x) for _ in range(2))
        assert torch.equal(a, b)


@pytest.mark.parametrize("depth_position", [False, True])
def test_whether_queries_ask_the_depth_tokens_by_their_position(depth_position):
    torch.manual_seed(0)
    layer = DecoderLayer(16, 2, 1, 16, depth_position=depth_position).eval()
    x, position, depth = torch.randn(1, 5, 16), torch.randn(1, 5, 16), torch.randn(1, 7, 16)
    asked = []
    layer.depth.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    layer(x, position, depth, torch.rand(1, 5, 2), None, [torch.randn(1, 16, 4, 8)])
    torch.testing.assert_close(asked[0], x + position if depth_position else x, rtol=0, atol=0)
    assert build("monodetr_plain").decoder[0].depth_position  # what the study's figures are of


def test_published_boxes_are_shares_that_layers_move():
    """Each layer adds to what gave the last share: sigmoid(inverse sigmoid(share) + change), as published."""
    torch.manual_seed(0)
    size, changes = torch.tensor([1280.0, 384.0]), torch.randn(3, 2, 5, 4)
    coding, coded, share = ShareSides(), torch.zeros(2, 5, 4), torch.full((2, 5, 4), 0.5)
    for change in changes:
        share = (torch.logit(share) + change).sigmoid()
        coded = coding.add(coded, change)
        torch.testing.assert_close(coding.sides(coded, size), share * torch.tensor([1280.0, 384, 1280, 384]))
    detector = MonoDETR(PlainNet(), 0, 64, 4, 1, 2, 64, 20, 6, 1, box_coding=coding)
    first = detector.run_decoder(_still(detector), torch.eye(3, 4)[None]).sides[0]
    torch.testing.assert_close(first, (torch.tensor([160.0, 96, 160, 96]) * 0.1192029).expand(1, 6, 4))  # sigmoid(-2)


def _still(detector):
    """What a decoder attends to in an image of 160x96 pixels."""
    maps = [torch.randn(1, 64, 96 // stride, 160 // stride) for stride in detector.strides]
    size, tokens = torch.tensor([160.0, 96.0]), torch.randn(1, 8, 64)
    return EncoderOutputs(maps, torch.ones(1, 6, 10), tokens, torch.randn(1, 21, 6, 10), size)
