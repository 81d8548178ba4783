"""CaDDN's voxels: against direct projection of their centres, and against a frustum that torch samples."""

import math

import numpy as np
import pytest
import torch

from add_model.detectors.caddn.anchors import Grid
from add_model.detectors.caddn.frustum import sample_voxels
from add_model.detectors.depth_bins import DepthBins
from add_model.geometry.camera import Camera, project, reference_focal_scale

GRID = Grid(low=(2.0, -12.0, -3.0), high=(32.0, 12.0, 1.0), sides=(0.75, 0.75, 1.0))


def by_hand(frustum, place):
    """Linear interpolation of (D, h, w) at (d, v, u), integers at cell centres; 0 outside."""
    low = [math.floor(p) for p in place]
    value = 0.0
    for corner in np.ndindex(2, 2, 2):
        index = [a + c for a, c in zip(low, corner, strict=True)]
        if all(0 <= i < n for i, n in zip(index, frustum.shape, strict=True)):
            weight = math.prod(1 - abs(p - i) for p, i in zip(place, index, strict=True))
            value += weight * frustum[tuple(index)]
    return value


def voxel_case(seed=0):
    torch.manual_seed(seed)
    K = np.array([[150.0, 0, 75], [0, 140, 30], [0, 0, 1]])
    camera = Camera(np.hstack([K, (K @ [0.3, -0.1, 0.02])[:, None]]), 160, 64)
    features = torch.randn(1, 3, 16, 40, dtype=torch.double)
    distribution = torch.rand(1, 12, 16, 40, dtype=torch.double).softmax(1)
    z, x, y = GRID.centres()
    points = torch.from_numpy(np.stack(np.broadcast_arrays(x, y[:, None, None], z[:, None]), -1))
    return camera, features, distribution, points, DepthBins(12, 3.0, 70.0)


def test_voxels_hold_what_their_centres_project_to():
    camera, features, distribution, points, bins = voxel_case()
    P = torch.tensor(camera.P)[None]
    found = sample_voxels(features, distribution, P, points, bins, camera.width, camera.height)[0]
    rows, columns, heights = GRID.shape
    assert found.shape == (3, heights, rows, columns)
    frustum = (features[0, :, None] * distribution[0, None]).numpy()
    rng, seen = np.random.default_rng(0), 0
    for _ in range(400):
        row, column, height = (int(rng.integers(n)) for n in GRID.shape)
        # Forward, left and up of a voxel's centre are z, -x and -y of the camera's own frame.
        place = [a + s * (k + 0.5) for a, s, k in zip(GRID.low, GRID.sides, (row, column, height), strict=True)]
        u, v, depth = camera.own_frame().project([-place[1], -place[2], place[0]])
        depth /= reference_focal_scale(camera.P)
        # The continuous index t solves near + step / 2 * t (t + 1) = depth; its whole numbers are edges, not middles.
        root = np.roots([bins.step / 2, bins.step / 2, bins.near - depth]).max() if depth > bins.near else -5
        cell = (root - 0.5, (v + 0.5) / 4 - 0.5, (u + 0.5) / 4 - 0.5)
        expected = [by_hand(part, cell) for part in frustum]
        np.testing.assert_allclose(found[:, height, row, column].numpy(), expected, atol=1e-9)
        seen += expected[0] != 0
    assert seen > 100


def sampled_by_torch(features, distribution, P, points, bins, width, height):
    """The same by torch's own sampler, from the frustum itself."""
    own = P.clone()
    own[..., 3] = 0
    u, v, depth = project(own[:, None, None, None], *points.unbind(-1))
    along = bins.position(depth / reference_focal_scale(own[:, None, None, None])) / bins.count
    places = torch.stack([(u + 0.5) / width, (v + 0.5) / height, along], -1)
    frustum = features[:, :, None] * distribution[:, None]
    return torch.nn.functional.grid_sample(frustum, 2 * places - 1, align_corners=False)


@pytest.mark.parametrize("exporting", [False, True])  # the graph has operators of its own
def test_voxels_and_their_gradients_are_those_of_a_frustum_sampled_by_torch(exporting, monkeypatch):
    camera, features, distribution, points, bins = voxel_case()
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: exporting)
    turned = torch.tensor([[150.0, 3, 90, 4], [2, 140, 30, 1], [0.02, -0.01, 1, 0]], dtype=torch.double)
    P = torch.stack([torch.tensor(camera.P), turned])  # skewed and turned too: no row of voxels shares a depth
    maps = [torch.cat([m, m.roll(3, 3)]).requires_grad_() for m in (features, distribution)]
    results = []
    for sampler in (sample_voxels, sampled_by_torch):
        found = sampler(*maps, P, points, bins, camera.width, camera.height)
        weights = torch.linspace(-3, 3, found.numel(), dtype=torch.double).view(found.shape).sin()
        results.append([found, *torch.autograd.grad((weights * found).sum(), maps)])
    assert (results[0][0] != 0).double().mean() > 0.3
    for ours, wanted in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-10, rtol=1e-10)


def test_voxels_mirror_with_the_image():
    camera, features, distribution, points, bins = voxel_case()
    whole, P = [], torch.tensor(camera.P)[None]
    for maps, projection in (
        ((features, distribution), P),
        ((features.flip(3), distribution.flip(3)), torch.tensor(camera.flip().P)[None]),
    ):
        whole.append(sample_voxels(*maps, projection, points, bins, camera.width, camera.height))
    torch.testing.assert_close(whole[1].flip(4), whole[0])
