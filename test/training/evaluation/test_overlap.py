"""Areas of rectangles by hand and against polygons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from training.evaluation.overlap import rectangle_area, rectangle_intersection

side = st.floats(-50, 50)
corners = st.tuples(side, side, side, side).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@given(st.lists(st.tuples(corners, corners), max_size=5))
def test_areas_are_those_of_polygons(pairs):
    a, b = (np.array([pair[k] for pair in pairs]).reshape(-1, 4) for k in (0, 1))
    np.testing.assert_allclose(rectangle_area(a), [rectangle(*x).area for x, _ in pairs], atol=1e-9)
    wanted = [rectangle(*x).intersection(rectangle(*y)).area for x, y in pairs]
    np.testing.assert_allclose(rectangle_intersection(a, b), wanted, atol=1e-9)


@pytest.mark.parametrize(
    ("other", "common"),
    [
        ((2, 3, 6, 8), 20), ((4, 5, 9, 9), 6), ((-9, -9, 3, 4), 1), ((6, 3, 8, 8), 0), ((2, 8, 6, 9), 0),
        ((7, 9, 8, 10), 0), ((6, 8, 2, 3), 0), ((3, 4, 3, 7), 0), ((3, 4, 3.5, 4.5), 0.25),
        ((6.5, 3, 8, 8), 0), ((2, 8.5, 6, 9), 0), ((6.5, 8.5, 8, 9), 0),
    ],
)  # fmt: skip
def test_by_hand(other, common):
    """Of (2, 3, 6, 8) with others inside, beside, touching, inverted both ways, without a width, half a pixel apart."""
    found = rectangle_intersection(np.array([[2.0, 3, 6, 8]]), np.array([other], float))
    assert found.tolist() == [common] and found.dtype == float
