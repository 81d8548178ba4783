"""Bins of linearly growing width against their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from add_model.detectors.depth_bins import DepthBins

bins = st.builds(DepthBins, st.integers(1, 120), st.floats(1e-3, 3), st.floats(20, 120))


@given(bins)
def test_widths_grow_linearly_from_near_to_far(bins):
    edges = bins.edges
    assert edges[0] == bins.near
    np.testing.assert_allclose(edges[-1], bins.far, rtol=1e-12)
    np.testing.assert_allclose(np.diff(edges), bins.step * np.arange(1, bins.count + 1), rtol=1e-6)
    assert (edges[:-1] < bins.middles).all() and (bins.middles < edges[1:]).all()


@given(bins, st.lists(st.floats(-5, 200), min_size=1, max_size=30))
def test_a_depth_belongs_to_the_bin_between_whose_edges_it_lies(bins, depths):
    depths = np.array(depths)
    depths = depths[np.abs(depths[:, None] - bins.edges).min(axis=1) > 1e-9]  # not on an edge
    expected = np.searchsorted(bins.edges, depths, side="right") - 1
    np.testing.assert_array_equal(bins.label(depths), np.clip(expected, -1, bins.count))


@given(bins)
def test_the_continuous_index_inverts_the_edges(bins):
    index = np.arange(bins.count + 1)
    np.testing.assert_allclose(bins.position(bins.edges), index, atol=1e-6)
    np.testing.assert_allclose(bins.position(torch.from_numpy(bins.edges)).numpy(), index, atol=1e-6)
    beyond = bins.position(np.linspace(-10, 200, 500))
    assert (np.diff(beyond) > 0).all()


def test_by_hand():
    bins = DepthBins(3, 1.0, 13.0)
    assert bins.edges.tolist() == [1, 3, 7, 13]
    assert bins.middles.tolist() == [2, 5, 10]
    # Beyond `far` by the same rule, nearer than `near` along the tangent.
    assert bins.position(np.array([21.0, 2.0, 1.0, 0.0, -1.0])) == pytest.approx([4, 0.618034, 0, -1, -2])
    assert bins.label(np.array([0.9, 1, 2.9, 3.1, 12.9, 13.1])).tolist() == [-1, 0, 0, 1, 2, 3]
