"""The detector's sparse computation equals the dense one, and its losses equal closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.detector_cases import all_visible
from torch import nn

from add_model.classes import KITTI_CLASSES
from add_model.detectors.base import damped_score, precise_score
from add_model.detectors.decoding import top_peaks
from add_model.detectors.focal_losses import gaussian_focal_loss
from add_model.detectors.keypoint_encoder import KeypointEncoder
from add_model.detectors.losses import Normaliser, dimension_aware_loss, heading_loss, laplacian_loss
from add_model.detectors.monodle.detector import MonoDLE
from add_model.detectors.monodle.variants import monodle_lite0
from add_model.detectors.sparse_heads import SparseHeads
from add_model.detectors.target_assignment import MAX_OBJECTS
from add_model.geometry.camera import Camera
from add_model.geometry.heading import HEADING_BINS
from add_model.networks.plain import PlainNet
from add_model.networks.pyramid import FeaturePyramid


def test_peak_heads_equal_the_dense_convolutions_at_every_cell():
    torch.manual_seed(0)
    heads = SparseHeads(8, 16, {"a": 2, "b": 5})
    features = torch.randn(2, 8, 6, 10)
    sparse = heads(features, torch.arange(60).expand(2, -1))
    hidden = torch.relu(nn.functional.conv2d(features, heads.shared.weight, heads.shared.bias, padding=1))
    for (name, layer), part in zip(heads.outputs.items(), hidden.split(16, dim=1), strict=True):
        dense = nn.functional.conv2d(part, layer.weight[:, :, None, None], layer.bias)
        torch.testing.assert_close(sparse[name], dense.flatten(2).transpose(1, 2), atol=1e-5, rtol=0)


def test_peaks_are_the_best_local_maxima():
    rng = np.random.default_rng(0)
    heat = rng.random((1, 3, 9, 12)).astype(np.float32)
    expected = []
    for label, row, column in np.ndindex(3, 9, 12):
        around = heat[0, label, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if heat[0, label, row, column] == around.max():
            expected.append((heat[0, label, row, column], label, row * 12 + column))
    expected.sort(reverse=True)
    scores, labels, cells = (value[0].tolist() for value in top_peaks(torch.from_numpy(heat), 10))
    assert list(zip(scores, labels, cells, strict=True)) == [(float(s), c, k) for s, c, k in expected[:10]]


def test_focal_loss_by_hand():
    logits = torch.tensor([[[[0.3, -1.2, 2.0, 0.5]]]])
    heatmap = torch.tensor([[[[1.0, 0.6, 0.0, 0.0]]]])
    ignore = torch.tensor([[[[False, False, False, True]]]])
    p = [1 / (1 + math.exp(-x)) for x in (0.3, -1.2, 2.0)]
    expected = -((1 - p[0]) ** 2) * math.log(p[0])
    expected -= 0.4**4 * p[1] ** 2 * math.log(1 - p[1]) + p[2] ** 2 * math.log(1 - p[2])
    assert gaussian_focal_loss(logits, heatmap, ignore).item() == pytest.approx(expected, rel=1e-5)


def test_laplacian_loss_is_the_negative_log_likelihood():
    depth, log_variance, target = torch.tensor([20.0]), torch.tensor([1.4]), torch.tensor([22.5])
    laplace = torch.distributions.Laplace(depth, torch.exp(log_variance / 2) / 2**0.5)  # variance 2 b^2
    constant = math.log(2**0.5)
    found = laplacian_loss(depth, log_variance, target)
    torch.testing.assert_close(found, -laplace.log_prob(target) - constant, atol=1e-5, rtol=1e-5)


def test_dimension_aware_loss_keeps_the_magnitude_of_l1():
    size, target = torch.tensor([[1.0, 0.2, 0.0]]), torch.zeros(1, 3)
    full = torch.tensor([[4.0, 2.0, 1.5]])
    assert dimension_aware_loss(size, target, full).item() == pytest.approx(1.2)
    size.requires_grad_()
    dimension_aware_loss(size, target, full).backward()
    assert size.grad[0, 1] / size.grad[0, 0] == pytest.approx(2.0)  # the shorter side counts for more


def test_heading_loss_is_zero_for_a_sure_and_right_answer():
    heading = torch.zeros(1, 2 * HEADING_BINS)
    heading[0, 3], heading[0, HEADING_BINS + 3] = 50.0, 0.1
    assert heading_loss(heading, torch.tensor([3]), torch.tensor([0.1])).item() == pytest.approx(0, abs=1e-6)
    assert heading_loss(heading, torch.tensor([3]), torch.tensor([-0.1])).item() == pytest.approx(0.2)
    assert heading_loss(heading, torch.tensor([4]), torch.tensor([0.0])).item() == pytest.approx(50, rel=1e-3)


def _targets(boxes_of_images):
    camera = Camera.pinhole(360, 360, 128, 48, 256, 96)
    images = []
    for boxes in boxes_of_images:
        names = np.array(["Car", "Cyclist"] * 2)[: len(boxes)]
        images.append(KeypointEncoder().encode(camera, all_visible(camera, names, boxes)))
    return {key: torch.from_numpy(np.stack([t[key] for t in images])) for key in images[0]}


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return monodle_lite0().eval()


def test_the_loss_of_a_batch_is_the_sum_over_its_objects(detector):
    """Normalised by the objects of all processes: two halves, each with the global count, sum to the whole."""
    boxes = np.array([[-2.0, 1, 12, 4, 1.7, 1.5, 0.3], [2.0, 1, 9, 1.7, 0.6, 1.7, -1.0]])
    features = torch.randn(2, 64, 24, 64, generator=torch.Generator().manual_seed(0))
    targets = _targets([boxes, boxes[:1]])
    whole = detector.losses(features, targets)
    halves = [
        detector.losses(
            features[k : k + 1],
            {key: v[k : k + 1] for key, v in targets.items()},
            Normaliser(_total_of(targets), 2),
        )
        for k in (0, 1)
    ]
    for key in whole.keys() - {"size_3d"}:  # size is rescaled by ratios of sums, which the fake total can't follow
        torch.testing.assert_close(whole[key], (halves[0][key] + halves[1][key]) / 2)


def test_a_view_without_3d_teaches_what_the_image_shows(detector):
    """Depth, 3D size and 3D offset are means over the other views' objects; all else is as if it were one of them."""
    boxes = np.array([[-2.0, 1, 12, 4, 1.7, 1.5, 0.3], [2.0, 1, 9, 1.7, 0.6, 1.7, -1.0]])
    features = torch.randn(2, 64, 24, 64, generator=torch.Generator().manual_seed(0))
    targets = _targets([boxes, boxes[:1]])
    whole = detector.losses(features, targets)
    targets["mask_3d"][1] = False
    found = detector.losses(features, targets)
    first = detector.losses(features[:1], {key: v[:1] for key, v in targets.items()})
    for key, value in found.items():
        torch.testing.assert_close(value, (first if key in ("depth", "size_3d", "offset_3d") else whole)[key])
    targets["mask_3d"][:] = False
    nothing = {key for key, value in detector.losses(features, targets).items() if value == 0}
    assert nothing == {"depth", "size_3d", "offset_3d"}


def _total_of(targets):
    return lambda value: targets["mask"].sum().float()


def test_an_image_without_objects_has_a_finite_loss_and_gradients(detector):
    features = torch.randn(1, 64, 24, 64, requires_grad=True)
    losses = detector.losses(features, _targets([np.empty((0, 7))]))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert torch.isfinite(features.grad).all()
    assert losses["depth"] == 0
    assert losses["heatmap"] > 0


def test_candidates_are_sorted_and_well_formed(detector):
    images = torch.randint(0, 255, (2, 96, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    P = torch.tensor([[360.0, 0, 128, 20], [0, 360, 48, 0.1], [0, 0, 1, 0.003]]).expand(2, 3, 4)
    with torch.no_grad():
        found = detector(images, P)
    assert found.boxes.shape == (2, 50, 7)
    assert (found.scores.diff(dim=1) <= 0).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert found.labels.max() < len(KITTI_CLASSES.names)
    assert (found.boxes[..., 3:6] > 0).all()
    assert MAX_OBJECTS == 50


@given(st.lists(st.tuples(st.floats(0.001, 1), st.floats(0.02, 60)), min_size=2, max_size=20))
def test_published_scores_sort_as_the_published_ones_and_stay_probabilities(pairs):
    """MonoDLE's and MonoDETR's: probability / deviation, which exceeds 1; GUPNet's: probability * exp(-deviation)."""
    probability, std = torch.tensor(pairs, dtype=torch.double).T
    sharp, damped = precise_score(probability, std), damped_score(probability, std)
    for found, published in ((sharp, probability / std), (damped, probability * torch.exp(-std))):
        order = published.argsort()
        assert (found[order].diff() >= -1e-12).all()
        assert found.min() >= 0 and found.max() <= 1
    torch.testing.assert_close(damped, probability * torch.exp(-std))


def test_published_heads_start_near_zero_and_answer_the_logarithm_of_the_deviation():
    torch.manual_seed(0)
    backbone = PlainNet()
    neck = FeaturePyramid(backbone.channels, 16)
    options = {"hidden": 16, "focal": 360.0, "score": precise_score, "likely_start": False, "log_deviation": True}
    detector = MonoDLE(backbone, neck, **options).eval()
    assert detector.heatmap_head[-1].bias.sigmoid().tolist() == pytest.approx([0.1] * 3)
    for name, parameter in detector.heads.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(1e-3, rel=0.3)
    with torch.no_grad():
        detector.heads.outputs["depth"].bias[1] = 0.35
        detector.heads.outputs["depth"].weight[1] = 0
        P = torch.tensor([[[360.0, 0, 64, 0], [0, 360, 32, 0], [0, 0, 1, 0]]])
        images = torch.randint(0, 255, (1, 64, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        found = detector(images, P)
        heat = detector.heatmap_head(detector.extract_features(images, P)).sigmoid()
    torch.testing.assert_close(found.depth_std, torch.full_like(found.depth_std, math.exp(0.35)))
    assert found.scores[0, 0].item() == pytest.approx(float(heat.max() / (heat.max() + math.exp(0.35))), rel=1e-5)
