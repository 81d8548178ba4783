"""RoIAlign against its definition, written out as a loop, and as the node of an exported graph."""

import math

import numpy as np
import onnxruntime
import pytest
import torch

from add_model.networks.roi_align import roi_align

BINS = 7
SPECIAL = (
    (0.5, 0.5, 7.5, 7.5),  # whole cells
    (-0.5, -0.5, 6.5, 6.5),
    (5.5, 5.5, 5.5, 5.5),  # a point
    (6.0, 5.0, 2.0, 3.0),  # inside out
    (-3.0, -3.0, -1.0, -1.0),  # outside
    (12.5, 9.5, 30.0, 30.0),
    (-100.3, -99.8, 200.1, 201.4),  # larger than the map
    (3.0, 2.0, 3.4, 2.2),  # less than a cell
)


def sampled(feature_map, y, x):
    """Linear interpolation of a map (C, h, w) at y, x (N,): cell (i, j) is centred on (j, i), 0 from one outside on."""
    rows, columns = feature_map.shape[1:]
    inside = (y >= -1) & (y <= rows) & (x >= -1) & (x <= columns)
    y, x = y.clip(0, rows - 1), x.clip(0, columns - 1)
    i, j = (np.minimum(at.astype(int), max(count - 2, 0)) for at, count in ((y, rows), (x, columns)))
    below, right = np.minimum(i + 1, rows - 1), np.minimum(j + 1, columns - 1)
    upper = (1 - (x - j)) * feature_map[:, i, j] + (x - j) * feature_map[:, i, right]
    lower = (1 - (x - j)) * feature_map[:, below, j] + (x - j) * feature_map[:, below, right]
    return ((1 - (y - i)) * upper + (y - i) * lower) * inside


def brute_force(feature_map, box, bins):
    left, top, right, bottom = (side - 0.5 for side in box)
    height, width = max(bottom - top, 1) / bins, max(right - left, 1) / bins
    down, across = math.ceil(height), math.ceil(width)
    i, j = np.indices((down, across)).reshape(2, -1)
    pooled = np.zeros((feature_map.shape[0], bins, bins))
    for p, q in np.ndindex(bins, bins):
        y, x = top + (p + (i + 0.5) / down) * height, left + (q + (j + 0.5) / across) * width
        pooled[:, p, q] = sampled(feature_map, y, x).mean(axis=1)
    return torch.from_numpy(pooled)


def random_boxes(count, rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-0.3, 1.3, (count, 2)) * [columns, rows]
    side = rng.uniform(-0.1, 1.5, (count, 2)) * [columns, rows]
    return torch.from_numpy(np.concatenate([centre - side / 2, centre + side / 2], 1))


@pytest.mark.parametrize("bins", [7, 1, 4])
@pytest.mark.parametrize("shape", [(9, 12), (24, 17), (1, 1), (2, 30)])
def test_roi_align_by_brute_force(shape, bins):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *shape, dtype=torch.double)
    boxes = torch.cat([random_boxes(22, *shape), torch.tensor(SPECIAL, dtype=torch.double)]).unflatten(0, (2, -1))
    found = roi_align(features, boxes, bins)
    assert found.shape == (2, 15, 3, bins, bins)
    for b, k in np.ndindex(2, 15):
        torch.testing.assert_close(found[b, k], brute_force(features[b].numpy(), boxes[b, k].tolist(), bins))


def test_a_linear_map_gives_the_centres_of_bins():
    """Cell (i, j) is centred on (j + 0.5, i + 0.5): a map that says where it is gives where each bin is."""
    rows, columns = torch.arange(20) + 0.5, torch.arange(30) + 0.5
    features = torch.stack([columns.expand(20, -1), rows[:, None].expand(-1, 30)])[None]
    found = roi_align(features, torch.tensor([[[3.3, 2.1, 24.3, 16.1]]]))[0, 0]
    across, down = 3.3 + 3 * (torch.arange(7) + 0.5), 2.1 + 2 * (torch.arange(7) + 0.5)
    torch.testing.assert_close(found, torch.stack([across.expand(7, -1), down[:, None].expand(-1, 7)]))


def test_gradients_reach_the_map_and_not_the_boxes():
    torch.manual_seed(0)
    features = torch.randn(1, 2, 6, 5, dtype=torch.double, requires_grad=True)
    boxes = random_boxes(4, 6, 5)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: roi_align(x, boxes.detach(), 3), features)
    roi_align(features, boxes).sum().backward()
    assert boxes.grad is None


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of the exporter itself
def test_the_exported_node_is_the_same_and_keeps_sizes_open(tmp_path):
    class Network(torch.nn.Module):
        def forward(self, features, boxes):
            return roi_align(features, boxes)

    rows, columns = (torch.export.Dim(name, min=2, max=64) for name in ("rows", "columns"))
    shapes = {"features": {2: 8 * rows, 3: 8 * columns}, "boxes": None}
    example = (torch.zeros(2, 5, 24, 80), torch.zeros(2, 30, 4))
    program = torch.onnx.export(
        Network().eval(), example, dynamo=True, opset_version=20, dynamic_shapes=shapes, verbose=False
    )
    assert [node.op_type for node in program.model.graph].count("RoiAlign") == 1
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    torch.manual_seed(0)
    for seed, size in enumerate([(24, 80), (48, 32)]):
        features = torch.randn(2, 5, *size)
        boxes = random_boxes(60, *size, seed).float().unflatten(0, (2, -1))
        boxes[0, :8] = torch.tensor(SPECIAL) + 0.01  # where samples lie on the border rounding decides
        names = [value.name for value in session.get_inputs()]
        (found,) = session.run(None, dict(zip(names, (features.numpy(), boxes.numpy()), strict=True)))
        torch.testing.assert_close(torch.from_numpy(found), roi_align(features, boxes), atol=1e-4, rtol=1e-4)
