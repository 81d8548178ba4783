"""Deformable attention against its definition, written out as a loop."""

import math

import numpy as np
import pytest
import torch

from add_model.networks.attention import DeformableAttention


def sampled(channel_map, x, y):
    """Linear interpolation of a map (h, w) whose cell (i, j) is centred on (j + 0.5, i + 0.5); 0 outside."""
    value = 0.0
    column, row = x - 0.5, y - 0.5
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < channel_map.shape[0] and 0 <= j < channel_map.shape[1]:
                value += (1 - abs(row - i)) * (1 - abs(column - j)) * channel_map[i, j]
    return value


@pytest.mark.parametrize("per_query", [False, True])
def test_deformable_attention_by_brute_force(per_query):
    torch.manual_seed(0)
    channels, heads, points, count = 8, 2, 3, 5
    shapes = [(6, 10), (3, 5), (2, 3)]
    attention = DeformableAttention(channels, heads, len(shapes), points).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    queries = torch.randn(2, count, channels, dtype=torch.double)
    maps = [torch.randn(2, channels, *shape, dtype=torch.double) for shape in shapes]
    centre = torch.rand(2, count, 2, dtype=torch.double) * 1.2 - 0.1  # some look past the edge
    if per_query:
        reach = torch.rand(2, count, 1, 2, dtype=torch.double) * 0.3
    else:
        reach = torch.tensor([[1 / w, 1 / h] for h, w in shapes], dtype=torch.double)[None, None]
    with torch.no_grad():
        found = attention(queries, centre, reach, maps).numpy()
        offsets = attention.offsets(queries).reshape(2, count, heads, len(shapes), points, 2).numpy()
        weights = attention.weights(queries).reshape(2, count, heads, -1).softmax(-1)
        weights = weights.reshape(2, count, heads, len(shapes), points).numpy()
        values = [attention.value(m.permute(0, 2, 3, 1)).numpy() for m in maps]
    reach = reach.expand(2, count, len(shapes), 2).numpy()
    read = np.zeros((2, count, channels))
    width = channels // heads
    for b, q, head, level, point in np.ndindex(2, count, heads, len(shapes), points):
        rows, columns = shapes[level]
        place = centre[b, q].numpy() + offsets[b, q, head, level, point] * reach[b, q, level]
        for c in range(head * width, (head + 1) * width):
            value = sampled(values[level][b, :, :, c], place[0] * columns, place[1] * rows)
            read[b, q, c] += weights[b, q, head, level, point] * value
    expected = attention.out(torch.from_numpy(read)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_heads_start_by_looking_around_their_reference():
    """The first of 4 heads looks right, down, left and up, each point one cell farther."""
    attention = DeformableAttention(8, heads=4, levels=1, points=3)
    with torch.no_grad():
        offsets = attention.offsets(torch.randn(1, 1, 8)).reshape(4, 3, 2)
    way = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    torch.testing.assert_close(offsets, way[:, None] * torch.tensor([1.0, 2, 3])[:, None], atol=1e-6, rtol=0)
