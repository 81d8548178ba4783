"""Losses of detectors against loops over their definitions, and how processes that share a batch divide sums."""

import itertools
import math

import numpy as np
import pytest
import torch

from add_model.detectors.focal_losses import depth_map_loss, gaussian_focal_loss, sigmoid_focal_loss
from add_model.detectors.losses import ONE_PROCESS, Normaliser, dimension_aware_loss, heading_loss, laplacian_loss
from add_model.detectors.monodetr.features import DecoderOutputs, EncoderOutputs
from add_model.detectors.monodetr.loss import (
    generalised_iou,
    ignored,
    match,
    match_layer,
    matching_cost,
    monodetr_loss,
)
from add_model.detectors.monodle.loss import monodle_loss

sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731


def focal(logit, positive):
    p = sigmoid(logit)
    return -0.25 * (1 - p) ** 2 * math.log(p) if positive else -0.75 * p**2 * math.log(1 - p)


def test_counts_are_shared_out_among_processes_and_never_zero():
    some, none = torch.tensor([True, True, True, False]), torch.zeros(4, dtype=torch.bool)
    assert (ONE_PROCESS.count(some), ONE_PROCESS.count(none)) == (3, 1)
    doubled = Normaliser(lambda value: 2 * value, 4)  # four processes of which this one has half of the objects
    assert (doubled.count(some), doubled.count(none)) == (1.5, 0.25)


def test_focal_losses_at_every_target():
    logits = torch.tensor([0.7, 0.7, -1.2, -1.2])
    target = torch.tensor([1.0, 0.0, 1.0, 0.0])
    wanted = [focal(x, y > 0) for x, y in zip(logits.tolist(), target.tolist(), strict=True)]
    assert sigmoid_focal_loss(logits, target).tolist() == pytest.approx(wanted, rel=1e-5)


def test_the_heatmaps_focal_loss_at_peaks_around_them_and_where_ignored():
    """A peak is positive from 1 on; a value near it is negative, with the fourth power of the distance to 1."""
    logits, heat, ignore = [0.3, -1.2, 2.0, 0.5, -0.4], [1.0, 0.6, 0.0, 0.3, 0.99], [False, False, False, True, False]
    wanted = 0.0
    for x, y, skip in zip(logits, heat, ignore, strict=True):
        p = sigmoid(x)
        wanted -= 0 if skip else (1 - p) ** 2 * math.log(p) if y == 1 else (1 - y) ** 4 * p**2 * math.log(1 - p)
    found = gaussian_focal_loss(*(torch.tensor(v)[None, None, None] for v in (logits, heat, ignore)))
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_a_depth_map_counts_known_cells_and_objects_13_times():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(2, 5, 3, 4)), rng.integers(-1, 5, (2, 3, 4))
    foreground = rng.random((2, 3, 4)) < 0.4
    wanted = 0.0
    for b, i, j in np.ndindex(2, 3, 4):
        if target[b, i, j] >= 0:
            x = logits[b, :, i, j]
            p = math.exp(x[target[b, i, j]]) / np.exp(x).sum()
            wanted += (13 if foreground[b, i, j] else 1) * -0.25 * (1 - p) ** 2 * math.log(p)
    assert (target == -1).any() and (target == 0).any()
    found = depth_map_loss(*map(torch.from_numpy, (logits, target, foreground)))
    assert found.item() == pytest.approx(wanted, rel=1e-9)


def test_the_size_loss_of_no_error_is_zero_and_of_two_processes_shares_their_scale():
    size, full = torch.tensor([[1.0, 0.2, 0.0]]), torch.tensor([[4.0, 2.0, 1.5]])
    assert dimension_aware_loss(size, size, full) == 0
    # The other process has an error of 2 of a size of 1: together L1 is 3.2 and relative 2.35.
    seen = iter((torch.tensor(3.2), torch.tensor(2.35)))
    found = dimension_aware_loss(size, 0 * size, full, Normaliser(lambda _: next(seen), 2))
    assert found.item() == pytest.approx((1 / 4 + 0.2 / 2) * 3.2 / 2.35, rel=1e-5)


def test_a_batchs_heading_loss_is_the_sum_over_objects():
    rng = np.random.default_rng(1)
    heading, bins, residuals = rng.normal(size=(4, 24)), rng.integers(0, 12, 4), rng.normal(size=4)
    wanted = 0.0
    for row, k, r in zip(heading, bins, residuals, strict=True):
        wanted += math.log(np.exp(row[:12]).sum()) - row[k] + abs(row[12 + k] - r)
    assert heading_loss(*map(torch.from_numpy, (heading, bins, residuals))).item() == pytest.approx(wanted, rel=1e-9)


def test_monodles_losses_by_hand():
    """Means over the two objects of three rows, over two numbers of each offset and three of each size."""
    mask = torch.tensor([[True, True, False]])
    target = {"mask": mask, "mask_3d": mask, "heatmap": torch.zeros(1, 2, 1, 1)}
    target["ignore"] = torch.zeros(1, 2, 1, 1, dtype=torch.bool)
    target["heatmap"][0, 1] = 1.0
    outputs = {"heading": torch.zeros(1, 3, 24), "log_variance": torch.tensor([[0.0, 2 * math.log(3.0), 0.0]])}
    for name in ("offset_2d", "size_2d", "offset_3d"):
        target[name] = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]]])
        outputs[name] = torch.tensor([[[1.5, 1.0], [0.0, -3.0], [0.0, 0.0]]])
    target |= {"depth": torch.tensor([[10.0, 20.0, 0.0]]), "label": torch.tensor([[0, 1, 0]])}
    target |= {"heading_bin": torch.zeros(1, 3, dtype=torch.long), "heading_residual": torch.full((1, 3), 0.2)}
    mean_sizes = torch.tensor([[4.0, 2.0, 1.0], [1.0, 1.0, 2.0]])
    target["size_3d"] = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])  # off the mean
    outputs["size_3d"] = torch.tensor([[[1.0, 0.0, 1.0], [0.5, 1.0, 0.0], [7.0, 7.0, 7.0]]])
    outputs["depth"] = torch.tensor([[11.0, 26.0, 7.0]])
    logits = torch.tensor([[[[0.4]], [[-0.3]]]])
    losses = monodle_loss(logits, outputs, target, mean_sizes)
    p, q = sigmoid(0.4), sigmoid(-0.3)
    relative, plain = 1 / 4 + 0.5 / 1, 1 + 0.5
    wanted = {
        "heatmap": -(p**2 * math.log(1 - p) + (1 - q) ** 2 * math.log(q)) / 2,
        **dict.fromkeys(("offset_2d", "size_2d", "offset_3d"), (0.5 + 1 + 0 + 3) / 4),
        "depth": (math.sqrt(2) * 1 + math.sqrt(2) * 6 / 3 + math.log(3)) / 2,
        "size_3d": relative * (plain / relative) / (3 * 2),
        "heading": math.log(12) + 0.2,
    }
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(wanted, rel=1e-5)
    outputs["size_3d"].requires_grad_()
    monodle_loss(logits, outputs, target, mean_sizes)["size_3d"].backward()
    share = plain / relative / 6  # each error counts by the object's own size, the class mean included
    assert outputs["size_3d"].grad[0, :2, 0].tolist() == pytest.approx([share / 4, share / 1], rel=1e-5)


def iou_and_enclosing(a, b):
    area = lambda r: max(r[2] - r[0], 0) * max(r[3] - r[1], 0)  # noqa: E731
    common = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    around = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    union = area(a) + area(b) - common
    return common / union - (around - union) / around


def set_case(queries=6, layers=2, rows=3, seed=0):
    """Random answers of two images, targets of which three and no rows are objects, a depth map, and the unit."""
    rng = np.random.default_rng(seed)
    real = lambda *shape, low=-1.0, high=1.0: torch.from_numpy(rng.uniform(low, high, shape))  # noqa: E731
    shape = (layers, 2, queries)
    features = DecoderOutputs(
        3 * real(*shape, 3),
        real(*shape, 2, low=0, high=100),
        real(*shape, 4, low=1, high=20),
        real(*shape, 3, low=1, high=4),
        real(*shape, 24),
        real(*shape, low=5, high=40),
        real(*shape),
        torch.empty(0),
        EncoderOutputs([], torch.empty(0), torch.empty(0), real(2, 5, 2, 3), torch.empty(0)),
    )
    targets = {
        "mask": torch.tensor([[True] * rows + [False] * (4 - rows), [False] * 4]),
        "label": torch.from_numpy(rng.integers(0, 3, (2, 4))),
        "centre": real(2, 4, 2, low=0, high=100),
        "sides": real(2, 4, 4, low=1, high=20),
        "size_3d": real(2, 4, 3, low=0.02, high=4),
        "heading_bin": torch.from_numpy(rng.integers(0, 12, (2, 4))),
        "heading_residual": real(2, 4, low=-0.2, high=0.2),
        "depth": real(2, 4, low=5, high=40),
        "depth_bin": torch.from_numpy(rng.integers(-1, 5, (2, 2, 3))),
        "ignored": torch.tensor([[[10.0, 10, 60, 90], [0, 0, 0, 0], [50, 0, 90, 50], [0, 0, 0, 0]]] * 2).double(),
        "ignored_class": torch.tensor([[[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]] * 2).bool(),
    }
    return features, targets, torch.tensor([50.0, 30.0]).double()


def box_of(centre, sides):
    return (centre[0] - sides[0], centre[1] - sides[1], centre[0] + sides[2], centre[1] + sides[3])


def costs_by_loops(features, layer, targets, unit):
    logits, centre, sides = (getattr(features, name)[layer].numpy() for name in ("logits", "centre", "sides"))
    t = {name: value.numpy() for name, value in targets.items()}
    unit = unit.numpy()
    cost = np.empty((*logits.shape[:2], t["label"].shape[1]))
    for b, q, m in np.ndindex(*cost.shape):
        x = logits[b, q, t["label"][b, m]]
        cost[b, q, m] = 2 * (focal(x, True) - focal(x, False))
        cost[b, q, m] += 10 * (np.abs(centre[b, q] - t["centre"][b, m]) / unit).sum()
        cost[b, q, m] += 5 * (np.abs(sides[b, q] - t["sides"][b, m]) / np.tile(unit, 2)).sum()
        boxes = box_of(centre[b, q], sides[b, q]), box_of(t["centre"][b, m], t["sides"][b, m])
        cost[b, q, m] -= 2 * iou_and_enclosing(*boxes)
    return cost


def test_matching_costs_by_loops():
    features, targets, unit = set_case()
    found = matching_cost(features.logits[1], features.centre[1], features.sides[1], targets, unit)
    np.testing.assert_allclose(found, costs_by_loops(features, 1, targets, unit), rtol=1e-6)


def test_a_layers_queries_are_one_group_where_nothing_else_is_said():
    features, targets, unit = set_case()
    image, query, row = match_layer(features, 1, targets, unit)
    cost = costs_by_loops(features, 1, targets, unit)
    best = min(itertools.permutations(range(6), 3), key=lambda chosen: sum(cost[0, q, m] for m, q in enumerate(chosen)))
    assert image.tolist() == [0] * 3 and dict(zip(row.tolist(), query.tolist(), strict=True)) == dict(enumerate(best))


def test_what_cannot_be_compared_is_matched_last():
    """A query whose answer is not a number never stops a training, nor wins."""
    cost = torch.tensor([[[math.nan, 1.0], [2.0, math.inf], [3.0, 4.0]]])
    _, query, row = match(cost, torch.ones(1, 2, dtype=torch.bool))
    assert sorted(zip(query.tolist(), row.tolist(), strict=True)) == [(0, 1), (1, 0)]
    _, query, row = match(torch.tensor([[[-math.inf, 0.0], [0.0, 0.0]]]), torch.ones(1, 2, dtype=torch.bool))
    assert (0, 0) in zip(query.tolist(), row.tolist(), strict=True)


def test_boxes_without_extent_overlap_nothing():
    point, other = torch.tensor([5.0, 5, 5, 5]), torch.tensor([0.0, 0, 4, 4])
    inverted = torch.tensor([4.0, 4, 0, 0])
    assert generalised_iou(point, point) == 0
    assert generalised_iou(point, other).item() == pytest.approx(-(25 - 16) / 25)
    assert generalised_iou(inverted, other).item() == pytest.approx(0)
    assert generalised_iou(inverted, inverted) == 0


def test_ignored_regions_reach_to_their_edges():
    targets = {
        "ignored": torch.tensor([[[10.0, 20, 30, 40]]]),
        "ignored_class": torch.tensor([[[False, True, False]]]),
    }
    at = lambda x, y: ignored(torch.tensor([[[x, y]]]).float(), targets)[0, 0].tolist()  # noqa: E731
    for x, y in itertools.product((10, 30), (20, 40)):
        assert at(x, y) == [False, True, False]
    for x, y in ((9, 30), (31, 30), (20, 19), (20, 41)):
        assert at(x, y) == [False] * 3


@pytest.mark.parametrize("groups", [1, 2])
def test_monodetrs_losses_by_loops(groups):
    features, targets, unit = set_case()
    found = monodetr_loss(features, targets, unit, groups)
    t = {name: value.numpy() for name, value in targets.items()}
    f = {name: getattr(features, name).numpy() for name in ("logits", "centre", "sides", "size", "heading", "depth")}
    f["log_variance"] = features.log_variance.numpy()
    sums = dict.fromkeys(("label", "centre", "sides", "overlap", "depth", "size_3d", "heading"), 0.0)
    for layer in range(2):
        cost, pairs = costs_by_loops(features, layer, targets, unit), []
        for part in np.split(np.arange(6), groups):  # each group finds each object once, as cheaply as can be
            best = min(
                itertools.permutations(part, 3), key=lambda chosen: sum(cost[0, q, m] for m, q in enumerate(chosen))
            )
            pairs += [(int(q), m) for m, q in enumerate(best)]
        owner = dict(pairs)
        for b, q, c in np.ndindex(2, 6, 3):
            positive = b == 0 and q in owner and t["label"][0, owner[q]] == c
            x, y = f["centre"][layer, b, q]
            free = any(
                t["ignored_class"][b, k, c] and left <= x <= right and top <= y <= bottom
                for k, (left, top, right, bottom) in enumerate(t["ignored"][b])
            )
            sums["label"] += 0 if free and not positive else 2 * focal(f["logits"][layer, b, q, c], positive)
        error = relative = 0.0
        for q, m in pairs:
            at = {name: value[layer, 0, q] for name, value in f.items()}
            sums["centre"] += 10 * (np.abs(at["centre"] - t["centre"][0, m]) / unit.numpy()).sum()
            sums["sides"] += 5 * (np.abs(at["sides"] - t["sides"][0, m]) / np.tile(unit.numpy(), 2)).sum()
            boxes = box_of(at["centre"], at["sides"]), box_of(t["centre"][0, m], t["sides"][0, m])
            sums["overlap"] += 2 * (1 - iou_and_enclosing(*boxes))
            spread = math.exp(at["log_variance"] / 2)
            sums["depth"] += math.sqrt(2) * abs(at["depth"] - t["depth"][0, m]) / spread + math.log(spread)
            bin_ = t["heading_bin"][0, m]
            sums["heading"] += math.log(np.exp(at["heading"][:12]).sum()) - at["heading"][bin_]
            sums["heading"] += abs(at["heading"][12 + bin_] - t["heading_residual"][0, m])
            off = np.abs(at["size"] - t["size_3d"][0, m])
            error, relative = error + off.sum(), relative + (off / np.maximum(t["size_3d"][0, m], 0.1)).sum()
        sums["size_3d"] += relative * (error / relative)
    for name, value in sums.items():
        assert found[name].item() == pytest.approx(value / (3 * groups), rel=1e-5), name
    depth_logits, wanted = features.encoder_outputs.depth_logits.numpy(), 0.0
    for b, i, j in np.ndindex(2, 2, 3):
        bin_ = t["depth_bin"][b, i, j]
        if bin_ >= 0:
            p = math.exp(depth_logits[b, bin_, i, j]) / np.exp(depth_logits[b, :, i, j]).sum()
            wanted += (13 if bin_ < 4 else 1) * -0.25 * (1 - p) ** 2 * math.log(p)
    assert found["depth_map"].item() == pytest.approx(wanted / (t["depth_bin"] >= 0).sum(), rel=1e-5)


def test_small_sides_count_as_a_tenth_of_a_metre():
    """So that a label of a flat object can't outweigh all others: gradients are relative to 0.1 m at least."""
    features, targets, unit = set_case(queries=1, layers=1, rows=1)
    targets["size_3d"][0, 0] = torch.tensor([0.01, 1.0, 2.0])
    size = (targets["size_3d"][:1, :1][None] + 0.5).expand(1, 2, 1, 3).clone().requires_grad_()
    features = DecoderOutputs(**{**vars(features), "size": size})
    monodetr_loss(features, targets, unit)["size_3d"].backward()
    grad = size.grad[0, 0, 0]
    assert (grad[0] / grad[1]).item() == pytest.approx(10) and (grad[1] / grad[2]).item() == pytest.approx(2)


def test_the_laplacian_loss_weighs_errors_by_their_spread():
    found = laplacian_loss(*(torch.tensor(v) for v in ([3.0, 3.0], [0.0, 2 * math.log(2.0)], [5.0, 1.0])))
    assert found.tolist() == pytest.approx([2 * math.sqrt(2), math.sqrt(2) + math.log(2)], rel=1e-6)
