"""What MonoDETR's teacher passes on: queries are compared that found the same object, tokens see what boxes cover."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.detector_cases import street, views
from support.monodetr_cases import perfect

from add_model.detectors.monodetr import distillation as parts
from add_model.distillation.position_encoding import Encoding, map_points
from add_model.registry import build


@pytest.fixture(scope="module")
def case():
    """A detector at rest, one view, and what it answers."""
    torch.manual_seed(0)
    detector = build("monodetr_plain").eval()
    for head in detector.heads:
        torch.nn.init.normal_(head["box"][-1].weight, std=0.1)
    batch = views(detector, [street(0)])
    with torch.no_grad():
        seen = detector.look(batch.images, batch.P)
    return detector, batch, seen


def lesson_of(detector, taught, seen, batch):
    return parts.lesson(detector, taught, detector, seen, batch.targets, batch.P)


def right(detector, batch, seen):
    """A teacher that is right in all: the labels' answers, of one layer, beside what was seen."""
    return replace(perfect(detector, batch), encoded=seen.encoded, content=seen.content)


def test_tokens_by_brute_force(case):
    detector, batch, seen = case
    found = parts.seen_tokens(lesson_of(detector, seen, seen, batch))[0].tolist()
    t, expected = batch.targets, []
    for m, stride in zip(seen.encoded.maps, detector.strides, strict=True):
        for row, column in np.ndindex(*m.shape[2:]):
            u, v = (column + 0.5) * stride - 0.5, (row + 0.5) * stride - 0.5
            hit = False
            for k in torch.nonzero(t["mask"][0])[:, 0].tolist():
                (x, y), (left, top, right_, bottom) = t["centre"][0, k].tolist(), t["sides"][0, k].tolist()
                hit |= x - left <= u <= x + right_ and y - top <= v <= y + bottom
                hit |= int((x + 0.5) // stride) == column and int((y + 0.5) // stride) == row
            expected.append(hit)
    assert found == expected
    assert 0 < sum(found) < len(found) == parts.tokens(detector, seen).shape[1]


def test_tokens_are_the_maps_and_their_summary_the_coarser_half(case):
    detector, _, seen = case
    tokens = parts.tokens(detector, seen)
    maps = seen.encoded.maps
    torch.testing.assert_close(tokens[0, 24 * 40 + 3 * 20 + 7], maps[1][0, :, 3, 7])
    coarse = torch.cat([m[0].flatten(1).T for m in maps[2:]])
    assert torch.equal(parts.summary(detector, tokens, seen)[0], coarse)


def test_cells_look_where_their_scale_says(case):
    detector, batch, seen = case
    depth = torch.full_like(batch.depth, 9.0)
    points = parts.token_points(detector, Encoding.point, seen, batch.P, depth)[0, :, 0]
    camera, start = street(0).camera.own_frame(), 0
    for m, stride in zip(seen.encoded.maps, detector.strides, strict=True):
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
    detector, batch, seen = case
    taught = right(detector, batch, seen)
    order = torch.randperm(detector.queries, generator=torch.Generator().manual_seed(0))
    names = ("logits", "centre", "sides", "size", "heading", "depth", "log_variance")
    other = replace(taught, **{name: getattr(taught, name)[:, :, order] for name in names})
    lesson = lesson_of(detector, taught, other, batch)
    n = int(batch.targets["mask"].sum())
    assert lesson.query[0].tolist() == [*range(n), *[-1] * (len(lesson.query[0]) - n)]
    assert lesson.trust[0, :n].tolist() == pytest.approx([1.0] * n, abs=1e-4)
    (_, query, row) = lesson.pairs[0]
    assert sorted(row.tolist()) == list(range(n)) and order[query].tolist() == row.tolist()
    found = parts.responses(detector, other, lesson)
    # The density of a Laplace distribution at its middle: half the logarithm of its variance, here -8.
    assert found.pop("depth").item() == pytest.approx(-4 * n, rel=1e-4)
    assert all(value.abs() < 1e-3 for value in found.values()), found
    assert parts.scores(detector, other, lesson).abs() < 1e-5


def test_differences_are_in_cells_and_metres_and_count_as_far_as_the_teacher_is_right(case):
    detector, batch, seen = case
    n = int(batch.targets["mask"].sum())
    taught = right(detector, batch, seen)
    wrong = replace(taught, depth=taught.depth + 2.0)
    other = replace(taught, centre=taught.centre + torch.tensor([1.6, 0.0]), size=taught.size + 0.3)
    for teacher, trust in ((taught, 1.0), (wrong, math.exp(-2))):
        found = parts.responses(detector, other, lesson_of(detector, teacher, other, batch))
        assert found["centre"].item() == pytest.approx(n * trust * 0.8 / detector.target_encoder.stride, rel=1e-3)
        assert found["size_3d"].item() == pytest.approx(n * trust * 0.3, rel=1e-3)


def test_responses_move_depth_and_leave_its_uncertainty_alone(case):
    detector, batch, seen = case
    depth, log_variance = (torch.zeros_like(seen.depth).requires_grad_() for _ in range(2))
    other = replace(seen, depth=seen.depth + 1 + depth, log_variance=seen.log_variance + log_variance)
    lesson = lesson_of(detector, right(detector, batch, seen), other, batch)
    parts.responses(detector, other, lesson)["depth"].backward()
    assert depth.grad.abs().sum() > 0.1 and log_variance.grad is None


def test_groups_count_as_one(case):
    detector, batch, seen = case
    taught = right(detector, batch, seen)
    names = ("logits", "centre", "sides", "size", "heading", "depth", "log_variance")
    other = replace(taught, size=taught.size + 0.3)
    many = replace(other, **{name: torch.cat([getattr(other, name)] * 3, 2) for name in names})
    one, three = (parts.responses(detector, s, lesson_of(detector, taught, s, batch)) for s in (other, many))
    for name, value in one.items():
        torch.testing.assert_close(three[name], value, atol=1e-4, rtol=1e-4)


def test_the_teachers_decoder_answers_alike_from_unchanged_tokens(case):
    detector, batch, seen = case
    lesson = lesson_of(detector, seen, seen, batch)
    lesson = replace(lesson, trust=torch.ones_like(lesson.trust))
    with torch.no_grad():
        tokens = parts.tokens(detector, seen)
        same = parts.adapted_responses(tokens, seen, lesson)
        assert all(same[name].abs() < 1e-3 for name in ("centre", "sides", "size_3d"))
        assert parts.adapted_responses(tokens + torch.randn_like(tokens), seen, lesson)["size_3d"] > 1e-2


def test_objects_stand_where_the_labels_do_and_hold_the_query_that_found_them(case):
    detector, batch, seen = case
    lesson = lesson_of(detector, seen, seen, batch)
    objects = parts.objects(lesson)
    own = street(0).objects.boxes[:, :3] + street(0).camera.translation
    for k in torch.nonzero(objects.mask[0])[:, 0].tolist():
        assert np.nanmin(np.abs(own - objects.centre[0, k].numpy()).max(axis=1)) < 0.02
        assert torch.equal(objects.own[0, k], seen.content[0, lesson.query[0, k]])
    assert not objects.own[~objects.mask].any()
