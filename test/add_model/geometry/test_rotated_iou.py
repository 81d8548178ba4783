"""Overlap of rotated boxes against shapely, closed forms and invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from add_model.geometry.boxes import rectangle_intersection
from add_model.geometry.rotated_iou import bev_iou, footprint_intersection

sizes = st.one_of(st.floats(0.05, 12), st.sampled_from([0.5, 1.0, 2.0, 4.0]))
offsets = st.one_of(st.floats(-6, 6), st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0, -3.0]))
quarter_turns = st.sampled_from([k * np.pi / 2 for k in range(-4, 5)])
headings = st.one_of(st.floats(-7, 7), quarter_turns, st.sampled_from([1.57, -1.57, 3.14]))
footprint = st.tuples(offsets, offsets, sizes, sizes, headings).map(list)
box = st.tuples(offsets, offsets, offsets, sizes, sizes, sizes, headings).map(list)


def polygon(footprint):
    """KITTI's rotation about the axis that points down, seen from above: x forward turns towards -z."""
    x, z, length, width, rotation_y = footprint
    turn = np.array([[np.cos(rotation_y), np.sin(rotation_y)], [-np.sin(rotation_y), np.cos(rotation_y)]])
    corners = 0.5 * np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * [length, width]
    return Polygon(corners @ turn.T + [x, z])


def common(a, b):
    return footprint_intersection(np.array([a]), np.array([b]))[0]


@given(footprint, footprint)
def test_common_area_equals_shapelys(a, b):
    assert common(a, b) == pytest.approx(polygon(a).intersection(polygon(b)).area, abs=1e-9)
    assert common(a, b) >= 0


@pytest.mark.parametrize("heading", [0.0, 0.6, np.pi / 2])
@pytest.mark.parametrize(("length", "width", "forward", "side"), [(1, 12, 0, 11.5), (12, 1, 11.5, 0)])
def test_long_and_wide_boxes_that_touch_at_their_ends_share_them(length, width, forward, side, heading):
    cosine, sine = np.cos(heading), np.sin(heading)
    a, b = ([place * at for at in (cosine * forward + sine * side, cosine * side - sine * forward)] for place in (0, 1))
    long, small = [length, width, heading], [min(length, 2.0), min(width, 2.0), heading]
    assert common([*a, *long], [*b, *long]) == pytest.approx(0.5)
    near = [0.6 * place for place in b]  # a small box over the end
    assert common([*a, *long], [*near, *small]) == common([*near, *small], [*a, *long]) == pytest.approx(0.1)


@given(footprint, quarter_turns, st.sampled_from([(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5), (1, 0), (0, 1)]), sizes)
def test_coincident_edges_are_exact(a, turn, shift, length):
    """A box against one whose edges lie on its own: shifted along its axes by shares of its size, or longer."""
    x, z, a_length, a_width, heading = a
    forward, side = shift[0] * a_length, shift[1] * a_width
    cosine, sine = np.cos(heading), np.sin(heading)
    shifted = [x + cosine * forward + sine * side, z - sine * forward + cosine * side, a_length, a_width, heading]
    expected = (1 - shift[0]) * (1 - shift[1]) * a_length * a_width
    assert common(a, shifted) == pytest.approx(expected, abs=1e-9)
    longer = [x, z, length, a_width, heading]
    assert common(a, longer) == pytest.approx(min(a_length, length) * a_width, abs=1e-9)
    flipped = [x, z, a_length, a_width, heading + 2 * turn]
    assert common(a, flipped) == pytest.approx(a_length * a_width, abs=1e-9)


@given(footprint, footprint, st.floats(-7, 7), offsets, offsets)
def test_common_area_ignores_order_and_rigid_motion(a, b, turn, dx, dz):
    def moved(f):
        cosine, sine = np.cos(turn), np.sin(turn)
        return [cosine * f[0] + sine * f[1] + dx, cosine * f[1] - sine * f[0] + dz, f[2], f[3], f[4] + turn]

    assert common(a, b) == pytest.approx(common(b, a), abs=1e-9)
    assert common(moved(a), moved(b)) == pytest.approx(common(a, b), abs=1e-8)


@given(box)
def test_a_box_overlaps_itself_wholly(a):
    a = np.array([a])
    assert bev_iou(a, a)[0] == pytest.approx(1, abs=1e-9)


@given(box, box)
def test_overlap_from_above_is_that_of_the_polygons(a, b):
    (xa, _, za, la, wa, _, ra), (xb, _, zb, lb, wb, _, rb) = a, b
    area = polygon([xa, za, la, wa, ra]).intersection(polygon([xb, zb, lb, wb, rb])).area
    assert bev_iou(np.array([a]), np.array([b]))[0] == pytest.approx(area / (la * wa + lb * wb - area), abs=1e-8)


@pytest.mark.parametrize(("length", "width"), [(0, 2), (2, 0), (0, 0), (-2, 1), (2, -1)])
def test_a_box_without_area_overlaps_nothing(length, width):
    flat, solid = [0.0, 0.0, length, width, 0.3], [0.0, 0.0, 4.0, 2.0, 0.3]
    assert common(flat, solid) == common(solid, flat) == common(flat, flat) == 0
    boxes = np.array([[0, 0, 0, length, width, 0, 0.3], [0, 0, 0, 4, 2, 1, 0.3]])
    assert (bev_iou(boxes, boxes[::-1]) == 0).all()


def test_boxes_far_from_the_origin_keep_their_accuracy():
    a, b = [1000.0, 5000.0, 4.0, 2.0, 0.7], [1000.5, 5000.25, 4.0, 2.0, -0.4]
    near_a, near_b = [0.0, 0.0, 4.0, 2.0, 0.7], [0.5, 0.25, 4.0, 2.0, -0.4]
    assert common(a, b) == pytest.approx(common(near_a, near_b), abs=1e-9)


def test_no_pairs_give_no_overlaps():
    assert footprint_intersection(np.empty((0, 5)), np.empty((0, 5))).shape == (0,)


@given(st.lists(st.floats(-50, 50), min_size=8, max_size=8))
def test_image_rectangles_overlap_as_intervals(values):
    a, b = values[:4], values[4:]
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    expected = width * height if width > 0 and height > 0 else 0
    assert rectangle_intersection(np.array([a]), np.array([b]))[0] == expected


def test_flat_boxes_overlap_nothing_and_warn_of_nothing():
    flat = np.array([[0.0, 0, 10, 0, 0, 1, 0]])
    assert bev_iou(flat, flat).tolist() == [0.0]
    thin = np.array([[0.0, 0, 10, -0.5, 1, 1, 0]])  # only one side is negative
    whole = np.array([[0.0, 0, 10, 4, 2, 1, 0]])
    assert bev_iou(thin, whole).tolist() == bev_iou(whole, thin).tolist() == [0.0]
