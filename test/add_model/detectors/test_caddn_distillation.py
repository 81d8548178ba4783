"""What CaDDN's teacher passes on: tokens on the ground against geometry, boxes in metres against closed forms."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Point
from shapely.geometry import box as rectangle
from support.detector_cases import street, views

from add_model.detectors.caddn.anchors import Grid, encode_residuals
from add_model.detectors.caddn.detector import CaDDN
from add_model.detectors.caddn.distillation import CaDDNAdapter, token_centres
from add_model.detectors.caddn.footprint_cells import footprint_cells
from add_model.detectors.caddn.frustum import PlainFrustum
from add_model.distillation.position_encoding import Encoding
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.networks.bev import BirdsEyeNetwork

parts = CaDDNAdapter()


@pytest.fixture(scope="module")
def case():
    """A detector whose norms are at rest, two views, and what it sees in them."""
    torch.manual_seed(0)
    grid = Grid(low=(2.0, -22.4, -3.0), high=(46.8, 22.4, 1.0), sides=(0.4, 0.4, 0.8))  # four cells to a token
    network = BirdsEyeNetwork(16, layers=(1, 1), strides=(1, 2), widths=(16, 24), joined=(16, 16))
    detector = CaDDN(PlainFrustum(40), network, grid, bins=40, collapsed=16, focal=REFERENCE_FOCAL / 2).eval()
    torch.nn.init.normal_(detector.box.weight, std=0.02)
    batch = views(detector, [street(0), street(3)])
    with torch.no_grad():
        features = detector.extract_features(batch.images, batch.P)
    return detector, batch, features


def targets_of(teacher, features, batch):
    return parts.teacher_targets(teacher, features, teacher, features, batch.targets, batch.P)


def polygon(box):
    """A footprint as (x, z): rotation_y turns x towards -z."""
    x, _, z, length, width, _, turn = box
    return affinity.rotate(
        rectangle(x - length / 2, z - width / 2, x + length / 2, z + width / 2), -turn, use_radians=True
    )


number = st.floats(-8, 8)


@given(
    st.lists(st.tuples(number, st.floats(2, 14), st.floats(0.3, 6), st.floats(0.3, 3), number), min_size=1, max_size=4)
)
def test_footprints_by_polygons(drawn):
    boxes = torch.tensor([[x, 1.0, z, length, width, 1.5, turn] for x, z, length, width, turn in drawn])[None]
    places = torch.cartesian_prod(torch.arange(-8.0, 8.0, 1.3), torch.arange(1.0, 15.0, 1.3))
    found = footprint_cells(boxes, torch.ones(1, len(drawn), dtype=torch.bool), places)[0]
    shapes = [polygon(box) for box in boxes[0].tolist()]
    nearest = {int((places - box[[0, 2]]).norm(dim=1).argmin()) for box in boxes[0]}
    for n, place in enumerate(places.tolist()):
        edge = min(shape.exterior.distance(Point(place)) for shape in shapes)
        if edge > 1e-4 and n not in nearest:
            assert found[n].item() == any(shape.contains(Point(place)) for shape in shapes)
    assert found[list(nearest)].all()
    assert not footprint_cells(boxes, torch.zeros(1, len(drawn), dtype=torch.bool), places).any()


def test_a_point_on_a_side_is_in_the_footprint():
    box = torch.tensor([[[0.0, 1, 10, 4, 1, 1.5, 0]]])
    points = torch.tensor([[0, 10.0], [2, 10], [-2, 10.5], [2.01, 10], [0, 9.5], [0, 9.49]])
    found = footprint_cells(box, torch.ones(1, 1, dtype=torch.bool), points)[0]
    assert found.tolist() == [True, True, True, False, True, False]


def test_tokens_lie_in_the_middle_of_the_voxels_that_they_join(case):
    detector, batch, features = case
    z, x, y = detector.target_encoder.grid.centres()
    assert features.bev_map.shape[2:] == (112, 112)
    middle = lambda values: values.reshape(-1, 2).mean(1)  # noqa: E731 - two cells of 40 cm
    expected = np.stack(np.meshgrid(middle(z), middle(x), indexing="ij")[::-1], -1).reshape(-1, 2)
    np.testing.assert_allclose(token_centres(detector, features).numpy(), expected, atol=1e-4)
    tokens = parts.tokens(detector, features)
    by_hand = features.bev_map[1, :, 20:22, 62:64].mean((1, 2))
    torch.testing.assert_close(tokens[1, 10 * 56 + 31], by_hand)
    point = parts.token_positions(detector, Encoding.point, features, batch.P, None)[0, :, 0].numpy()
    np.testing.assert_allclose(point[:, [0, 2]], expected, atol=1e-4)
    pillar = parts.token_positions(detector, Encoding.frustum, features, batch.P, None)[0].numpy()
    np.testing.assert_allclose(pillar[..., [0, 2]], np.repeat(expected[:, None], 8, 1), atol=1e-4)
    np.testing.assert_allclose(pillar[7, :, 1], -1 + 0.5 * (np.arange(8) + 0.5), atol=1e-5)
    assert y.min() >= -1 and y.max() <= 3 and point[0, 1] == pytest.approx(1.0)


def test_objects_stand_where_the_labels_do(case):
    detector, batch, features = case
    objects = parts.object_queries(targets_of(detector, features, batch))
    for b, index in enumerate((0, 3)):
        sample = street(index)
        own = sample.objects.boxes.copy()
        own[:, :3] += sample.camera.translation
        for k in torch.nonzero(objects.mask[b])[:, 0].tolist():
            n = np.nanargmin(np.abs(own[:, :3] - objects.centre[b, k].numpy()).max(1))
            np.testing.assert_allclose(objects.centre[b, k], own[n, :3], atol=1e-3)
            angle = own[n, 6] - math.atan2(own[n, 0], own[n, 2])
            np.testing.assert_allclose(objects.shape[b, k, 3:], [math.sin(angle), math.cos(angle)], atol=1e-4)
    assert objects.centre[~objects.mask].isnan().all()
    seen = parts.foreground_tokens(targets_of(detector, features, batch))
    assert 0.002 < seen.float().mean() < 0.2


def test_single_anchors_are_answered_as_all_are(case):
    detector, _, features = case
    with torch.no_grad():
        logits, residuals, directions = vars(detector.anchor_outputs(features)).values()
        image, anchor = torch.tensor([0, 1, 1]), torch.tensor([7, 4321, len(detector.anchors) - 1])
        cells = features.bev_map.permute(0, 2, 3, 1).flatten(1, 2)
        one = detector.regress_at(cells[image, anchor // 6], anchor)
        torch.testing.assert_close(one[0], residuals[image, anchor], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one[1], directions[image, anchor], atol=1e-5, rtol=1e-4)
        assert torch.equal(detector.class_logits(features), logits)


def test_a_right_teacher_counts_one_for_each_object_and_a_wrong_one_less(case, monkeypatch):
    detector, batch, features = case
    owner = batch.targets["anchor_object"].flatten(1).long()
    objects = int(batch.targets["mask"].sum())

    image, _ = torch.nonzero(owner >= 0, as_tuple=True)

    def regress_at(seen, anchor, away=0.0):
        truth = batch.targets["box"][image, owner[image, anchor]].clone()
        truth[:, 2] += away
        residuals, direction = encode_residuals(truth, detector.anchors[anchor])
        return residuals, 20.0 * torch.nn.functional.one_hot(direction, 2)

    for away in (0.0, 1.0, 3.0):
        monkeypatch.setattr(detector, "regress_at", lambda *given, away=away: regress_at(*given, away=away))
        teacher_targets = targets_of(detector, features, batch)
        row = owner[teacher_targets.image, teacher_targets.anchor]
        for b, k in torch.nonzero(batch.targets["mask"]).tolist():
            mine = teacher_targets.weight[(teacher_targets.image == b) & (row == k)].sum()
            assert mine.item() == pytest.approx(math.exp(-away), rel=1e-3)
        assert teacher_targets.weight.sum().item() == pytest.approx(objects * math.exp(-away), rel=1e-3)


def test_a_student_like_its_teacher_loses_nothing_and_one_beside_it_by_metres(case):
    detector, batch, features = case
    teacher_targets = targets_of(detector, features, batch)
    assert len(teacher_targets.anchor) > 5
    with torch.no_grad():
        same = parts.regression_losses(detector, features, teacher_targets)
        entropy = -(teacher_targets.directions * teacher_targets.directions.log()).sum(-1)
        assert same.pop("direction").item() == pytest.approx((entropy * teacher_targets.weight).sum().item(), rel=1e-4)
        assert all(value.abs() < 1e-4 for value in same.values()), same
        assert parts.classification_loss(detector, features, teacher_targets).abs() < 1e-6
        # Every anchor's forward residual 0.1 more: a tenth of its own diagonal, in metres; heights by its own height.
        moved = copy.deepcopy(detector)
        moved.box.bias.view(-1, 7)[:, 2] += 0.1
        moved.box.bias.view(-1, 7)[:, 1] -= 0.2
        found = parts.regression_losses(moved, features, teacher_targets)
        size = detector.anchors[teacher_targets.anchor][:, 3:6]
        metres = 0.1 * size[:, :2].norm(dim=1) + 0.2 * size[:, 2]
        assert found["centre"].item() == pytest.approx((metres * teacher_targets.weight).sum().item(), rel=1e-3)
        assert found["size_3d"].abs() < 1e-4
        turned = copy.deepcopy(detector)
        turned.box.bias.view(-1, 7)[:, 6] += 0.3
        angle = parts.regression_losses(turned, features, teacher_targets)["heading"]
        assert angle.item() == pytest.approx(math.sin(0.3) * teacher_targets.weight.sum().item(), rel=1e-3)


def test_class_scores_are_least_at_the_teachers_and_silent_where_nothing_is_taught(case):
    detector, batch, features = case
    teacher_targets = targets_of(detector, features, batch)
    other = copy.deepcopy(detector)
    with torch.no_grad():
        other.label.bias += 1.0
        found = parts.classification_loss(other, features, teacher_targets)
        student, teacher = other.class_logits(features).sigmoid(), detector.class_logits(features).sigmoid()
        apart = -(teacher * student.log() + (1 - teacher) * (1 - student).log()) * (student - teacher) ** 2
        counted = batch.targets["anchor_object"].flatten(1) > -2
        expected = apart[counted].sum() * batch.targets["mask"].sum() / len(teacher_targets.anchor)
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)


def test_unchanged_tokens_leave_the_teachers_heads_what_the_student_sees(case):
    detector, batch, features = case
    teacher_targets = targets_of(detector, features, batch)
    other = copy.deepcopy(features.bev_map) + 0.1
    seen = replace(features, bev_map=other)
    with torch.no_grad():
        tokens = parts.tokens(detector, seen)
        same = parts.adapted_losses(tokens, seen, teacher_targets)
        for name, value in parts.regression_losses(detector, seen, teacher_targets).items():
            torch.testing.assert_close(same[name], value)
        # What changes a token changes its cells: a map that is changed square by square says the same.
        change = torch.randn(2, 56 * 56, detector.network.channels)
        squares = change.transpose(1, 2).unflatten(2, (56, 56)).repeat_interleave(2, 2).repeat_interleave(2, 3)
        changed = parts.regression_losses(detector, replace(features, bev_map=other + squares), teacher_targets)
        for name, value in parts.adapted_losses(tokens + change, seen, teacher_targets).items():
            torch.testing.assert_close(value, changed[name], atol=1e-3, rtol=1e-4)
