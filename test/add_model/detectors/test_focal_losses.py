"""Focal losses by hand."""

import math

import pytest
import torch

from add_model.detectors.focal_losses import depth_map_loss, sigmoid_focal_loss


def test_focal_losses_by_hand():
    p = 1 / (1 + math.exp(-0.7))
    found = sigmoid_focal_loss(torch.tensor([0.7, 0.7]), torch.tensor([1.0, 0.0]))
    assert found[0].item() == pytest.approx(-0.25 * (1 - p) ** 2 * math.log(p))
    assert found[1].item() == pytest.approx(-0.75 * p**2 * math.log(1 - p), rel=1e-5)
    # Three cells of three classes: one sees an object, one does not, of one nothing is known.
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])).T[None, :, None]
    target = torch.tensor([[[1, 2, -1]]])
    expected = -0.25 * (13 * 0.7**2 * math.log(0.3) + 0.2**2 * math.log(0.8))
    assert depth_map_loss(logits, target, target == 1).item() == pytest.approx(expected, rel=1e-5)
