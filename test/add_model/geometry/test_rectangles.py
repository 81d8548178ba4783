"""Areas of rectangles by hand and against polygons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from add_model.geometry.boxes import image_iou, rectangle_area, rectangle_intersection, rectangle_iou, visible_part
from add_model.geometry.camera import Camera

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
    unions = np.array([rectangle(*x).union(rectangle(*y)).area for x, y in pairs])
    wanted = np.where(unions > 0, np.array(wanted) / np.maximum(unions, 1e-300), 0)
    np.testing.assert_allclose(rectangle_iou(a, b), wanted, atol=1e-6)
    np.testing.assert_array_equal(np.diagonal(image_iou(a, b)), rectangle_iou(a, b))


@given(st.lists(corners, max_size=5))
def test_the_part_in_the_image_is_that_of_polygons(rectangles):
    camera = Camera.pinhole(30, 30, 15, 10, 32, 21)
    inside = [rectangle(*x).intersection(rectangle(0, 0, 31, 20)).area for x in rectangles]
    whole = np.array(rectangles, float).reshape(-1, 4)
    clipped, share = visible_part(whole, camera)
    np.testing.assert_allclose(rectangle_area(clipped), inside, atol=1e-9)
    areas = rectangle_area(whole)
    np.testing.assert_array_equal(np.isnan(share), areas == 0)
    known = areas > 1e-6
    np.testing.assert_allclose(share[known], np.array(inside)[known] / areas[known], atol=1e-6)


def test_of_what_is_behind_the_camera_no_share_is_known():
    clipped, share = visible_part(np.full((1, 4), np.nan), Camera.pinhole(30, 30, 15, 10, 32, 21))
    assert np.isnan(clipped).all() and np.isnan(share).all()


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
