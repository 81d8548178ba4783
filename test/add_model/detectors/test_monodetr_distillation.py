"""What MonoDETR's teacher passes on: queries are compared that found the same object, tokens see what boxes cover."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.detector_cases import street, views
from support.monodetr_cases import perfect

from add_model.detectors.monodetr.distillation import MonoDETRAdapter
from add_model.distillation.position_encoding import Encoding, map_points
from add_model.registry import build

parts = MonoDETRAdapter()


@pytest.fixture(scope="module")
def case():
    """A detector at rest, one view, and what it answers."""
    torch.manual_seed(0)
    detector = build("monodetr_plain").eval()
    for head in detector.heads:
        torch.nn.init.normal_(head["box"][-1].weight, std=0.1)
    batch = views(detector, [street(0)])
    with torch.no_grad():
        features = detector.extract_features(batch.images, batch.P)
    return detector, batch, features


def targets_of(detector, teacher_features, features, batch):
    return parts.teacher_targets(detector, teacher_features, detector, features, batch.targets, batch.P)


def right(detector, batch, features):
    """A teacher that is right in all: the labels' answers, of one layer, beside the encoder's outputs."""
    return replace(
        perfect(detector, batch), encoder_outputs=features.encoder_outputs, query_features=features.query_features
    )


def test_tokens_by_brute_force(case):
    detector, batch, features = case
    found = parts.foreground_tokens(targets_of(detector, features, features, batch))[0].tolist()
    t, expected = batch.targets, []
    for m, stride in zip(features.encoder_outputs.maps, detector.strides, strict=True):
        for row, column in np.ndindex(*m.shape[2:]):
            u, v = (column + 0.5) * stride - 0.5, (row + 0.5) * stride - 0.5
            hit = False
            for k in torch.nonzero(t["mask"][0])[:, 0].tolist():
                (x, y), (left, top, right_, bottom) = t["centre"][0, k].tolist(), t["sides"][0, k].tolist()
                hit |= x - left <= u <= x + right_ and y - top <= v <= y + bottom
                hit |= int((x + 0.5) // stride) == column and int((y + 0.5) // stride) == row
            expected.append(hit)
    assert found == expected
    assert 0 < sum(found) < len(found) == parts.tokens(detector, features).shape[1]


def test_tokens_are_the_maps_and_their_summary_the_coarser_half(case):
    detector, _, features = case
    tokens = parts.tokens(detector, features)
    maps = features.encoder_outputs.maps
    torch.testing.assert_close(tokens[0, 24 * 40 + 3 * 20 + 7], maps[1][0, :, 3, 7])
    coarse = torch.cat([m[0].flatten(1).T for m in maps[2:]])
    assert torch.equal(parts.attended_tokens(detector, tokens, features)[0], coarse)


def test_cells_look_where_their_scale_says(case):
    detector, batch, features = case
    depth = torch.full_like(batch.depth, 9.0)
    points = parts.token_positions(detector, Encoding.point, features, batch.P, depth)[0, :, 0]
    camera, start = street(0).camera.own_frame(), 0
    for m, stride in zip(features.encoder_outputs.maps, detector.strides, strict=True):
        rows, columns = m.shape[2:]
        expected = camera.lift([(columns - 0.5) * stride - 0.5, (rows - 0.5) * stride - 0.5, 9.0])
        np.testing.assert_allclose(points[start + rows * columns - 1], expected, atol=1e-3)
        start += rows * columns


def test_a_map_may_reach_beyond_its_image():
    """Of a side of 96 pixels a map of stride 64 has two cells, the second of which the image fills by half."""
    P = torch.tensor([[[90.0, 0, 48, 0], [0, 90, 48, 0], [0, 0, 1, 0]]])
    depth = torch.full((1, 96, 96), 4.0)
    depth[:, 64:, :64] = 0
    points = map_points(Encoding.point, P, depth, 2, 2, 64)[0, :, 0]
    assert points.isfinite().all(-1).tolist() == [True, True, False, True]


def test_queries_that_found_the_same_object_lose_nothing_in_whatever_order(case):
    detector, batch, features = case
    teacher_features = right(detector, batch, features)
    order = torch.randperm(detector.queries, generator=torch.Generator().manual_seed(0))
    names = ("logits", "centre", "sides", "size", "heading", "depth", "log_variance")
    other = replace(teacher_features, **{name: getattr(teacher_features, name)[:, :, order] for name in names})
    teacher_targets = targets_of(detector, teacher_features, other, batch)
    n = int(batch.targets["mask"].sum())
    assert teacher_targets.query[0].tolist() == [*range(n), *[-1] * (len(teacher_targets.query[0]) - n)]
    assert teacher_targets.trust[0, :n].tolist() == pytest.approx([1.0] * n, abs=1e-4)
    (_, query, row) = teacher_targets.matches[0]
    assert sorted(row.tolist()) == list(range(n)) and order[query].tolist() == row.tolist()
    found = parts.regression_losses(detector, other, teacher_targets)
    # The density of a Laplace distribution at its middle: half the logarithm of its variance, here -8.
    assert found.pop("depth").item() == pytest.approx(-4 * n, rel=1e-4)
    assert all(value.abs() < 1e-3 for value in found.values()), found
    assert parts.classification_loss(detector, other, teacher_targets).abs() < 1e-5


def test_differences_are_in_cells_and_metres_and_count_as_far_as_the_teacher_is_right(case):
    detector, batch, features = case
    n = int(batch.targets["mask"].sum())
    teacher_features = right(detector, batch, features)
    wrong = replace(teacher_features, depth=teacher_features.depth + 2.0)
    other = replace(
        teacher_features, centre=teacher_features.centre + torch.tensor([1.6, 0.0]), size=teacher_features.size + 0.3
    )
    for teacher, trust in ((teacher_features, 1.0), (wrong, math.exp(-2))):
        found = parts.regression_losses(detector, other, targets_of(detector, teacher, other, batch))
        assert found["centre"].item() == pytest.approx(n * trust * 0.8 / detector.target_encoder.stride, rel=1e-3)
        assert found["size_3d"].item() == pytest.approx(n * trust * 0.3, rel=1e-3)


def test_responses_move_depth_and_leave_its_uncertainty_alone(case):
    detector, batch, features = case
    depth, log_variance = (torch.zeros_like(features.depth).requires_grad_() for _ in range(2))
    other = replace(features, depth=features.depth + 1 + depth, log_variance=features.log_variance + log_variance)
    teacher_targets = targets_of(detector, right(detector, batch, features), other, batch)
    parts.regression_losses(detector, other, teacher_targets)["depth"].backward()
    assert depth.grad.abs().sum() > 0.1 and log_variance.grad is None


def test_groups_count_as_one(case):
    detector, batch, features = case
    teacher_features = right(detector, batch, features)
    names = ("logits", "centre", "sides", "size", "heading", "depth", "log_variance")
    other = replace(teacher_features, size=teacher_features.size + 0.3)
    many = replace(other, **{name: torch.cat([getattr(other, name)] * 3, 2) for name in names})
    one, three = (
        parts.regression_losses(detector, s, targets_of(detector, teacher_features, s, batch)) for s in (other, many)
    )
    for name, value in one.items():
        torch.testing.assert_close(three[name], value, atol=1e-4, rtol=1e-4)


def test_the_teachers_decoder_answers_alike_from_unchanged_tokens(case):
    detector, batch, features = case
    teacher_targets = targets_of(detector, features, features, batch)
    teacher_targets = replace(teacher_targets, trust=torch.ones_like(teacher_targets.trust))
    with torch.no_grad():
        tokens = parts.tokens(detector, features)
        same = parts.adapted_losses(tokens, features, teacher_targets)
        assert all(same[name].abs() < 1e-3 for name in ("centre", "sides", "size_3d"))
        assert parts.adapted_losses(tokens + torch.randn_like(tokens), features, teacher_targets)["size_3d"] > 1e-2


def test_objects_stand_where_the_labels_do_and_hold_the_query_that_found_them(case):
    detector, batch, features = case
    teacher_targets = targets_of(detector, features, features, batch)
    objects = parts.object_queries(teacher_targets)
    own = street(0).objects.boxes[:, :3] + street(0).camera.translation
    for k in torch.nonzero(objects.mask[0])[:, 0].tolist():
        assert np.nanmin(np.abs(own - objects.centre[0, k].numpy()).max(axis=1)) < 0.02
        assert torch.equal(objects.detector_query[0, k], features.query_features[0, teacher_targets.query[0, k]])
    assert not objects.detector_query[~objects.mask].any()
