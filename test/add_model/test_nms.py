"""What counts as a repetition, on arrangements whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon
from shapely.geometry import box as shapely_box

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.geometry.rotated_iou import bev_iou
from add_model.nms import NmsSettings, nms

CAMERA = Camera.pinhole(720, 720, 620, 180, 1242, 375)


def detections(boxes, names=None):
    boxes = np.array(boxes, float).reshape(-1, 7)
    names = np.array(names if names is not None else ["Car"] * len(boxes), dtype="U10")
    rectangles = box3d.clip_to_image(box3d.project_boxes(boxes, CAMERA), CAMERA)
    return Detections(names, np.linspace(0.9, 0.1, len(boxes)), boxes, rectangles, np.ones(len(boxes)))


def car(x, z, heading=-np.pi / 2):
    return (x, 0.9, z, 4, 1.7, 1.5, heading)


def test_a_second_peak_on_a_near_car_is_dropped():
    found = detections([car(0, 8), car(0.3, 8.6), car(-0.2, 9.1)])
    np.testing.assert_array_equal(nms(found).scores, found.scores[:1])


def in_image(places):
    """Cars 10 m to the left of one another, so that the image alone can tell that two are one; (depth, 2D box) each."""
    boxes = np.array([(10.0 * k, 0.9, depth, 4, 1.7, 1.5, 0) for k, (depth, _) in enumerate(places)])
    names, count = np.array(["Car"] * len(places)), len(places)
    rectangles = np.array([rectangle for _, rectangle in places], float)
    return Detections(names, np.linspace(0.9, 0.5, count), boxes, rectangles, np.ones(count))


WHOLE = (0, 0, 100, 100)


@pytest.mark.parametrize(
    ("depth", "rectangle", "kept"),
    [
        (20.0, WHOLE, 1),
        (25.9, WHOLE, 1),  # 1.295 times as far
        (26.1, WHOLE, 2),  # 1.305 times: another object behind it
        (15.5, WHOLE, 1),
        (15.3, WHOLE, 2),
        (20.0, (0, 0, 100, 61), 1),  # intersection over union 0.61
        (20.0, (0, 0, 100, 59), 2),
        (20.0, (0, 0, 59, 100), 2),
        (20.0, (100, 0, 200, 100), 2),  # edges touch
        (20.0, (0, 0, 100, 60), 2),  # not more than 0.6
        (20.0, (150, 150, 250, 250), 2),
        (20.0, (0, 150, 100, 250), 2),
        (20.0, (150, 0, 250, 100), 2),
    ],
)
@pytest.mark.parametrize("corner", [(0, 0), (300, 200)])
@pytest.mark.parametrize("unit", [1, 1 / 128])
def test_detections_that_cover_the_same_pixels_at_the_same_depth_are_one(depth, rectangle, kept, corner, unit):
    pair = ((d, unit * np.array(r, float) + np.tile(corner, 2)) for d, r in ((20.0, WHOLE), (depth, rectangle)))
    assert len(nms(in_image(list(pair)))) == kept


def test_a_detector_without_suppression_keeps_repetitions():
    found = detections([car(0, 8), car(0.3, 8.6)])
    assert len(nms(found)) == 1
    assert len(nms(found, None)) == 2


@pytest.mark.parametrize(("forward", "side", "kept"), [(1.9, 0, 1), (2.1, 0, 2), (0, 0.8, 1), (0, 0.9, 2)])
@pytest.mark.parametrize("heading", [0.0, 0.7, -2.4])
def test_a_centre_within_the_better_ones_footprint_is_the_same_object(forward, side, kept, heading):
    """A car 4 m long and 1.7 m wide reaches 2 m forward and 0.85 m to its side."""
    x = forward * np.cos(heading) + side * np.sin(heading)
    z = side * np.cos(heading) - forward * np.sin(heading)
    boxes = np.array([(0, 0.9, 30, 4, 1.7, 1.5, heading), (x, 0.9, 30 + z, 4, 1.7, 1.5, heading)])
    rectangles = np.array([(0.0, 0, 10, 10), (50, 0, 60, 10)])
    found = Detections(np.array(["Car", "Car"]), np.array([0.9, 0.8]), boxes, rectangles, np.ones(2))
    assert len(nms(found)) == kept


@pytest.mark.parametrize(("x", "z"), [(2.0, 0), (0, 0.75)])
def test_a_centre_on_the_better_ones_side_is_another_object(x, z):
    boxes = np.array([(0, 0.9, 30, 4, 1.5, 1.5, 0), (x, 0.9, 30 + z, 4, 1.5, 1.5, 0)])
    rectangles = np.array([(0.0, 0, 10, 10), (50, 0, 60, 10)])
    assert len(nms(Detections(np.array(["Car"] * 2), np.array([0.9, 0.8]), boxes, rectangles, np.ones(2)))) == 2


drawn = st.lists(
    st.tuples(
        st.floats(-3, 3), st.floats(8, 14), st.floats(-3.1, 3.1), st.sampled_from(["Car", "Van"]),
        st.floats(0, 60), st.floats(0, 60), st.floats(5, 60), st.floats(5, 60),
    ),
    min_size=2,
    max_size=8,
)  # fmt: skip


@given(drawn)
def test_the_default_rule_by_brute_force(rows):
    """2D boxes are drawn apart from the 3D ones, so that neither rule hides the other."""
    boxes = np.array([car(x, z, turn) for x, z, turn, *_ in rows])
    rectangles = np.array([(left, top, left + w, top + h) for *_, left, top, w, h in rows])
    names = np.array([row[3] for row in rows])
    found = Detections(names, np.linspace(0.9, 0.1, len(rows)), boxes, rectangles, np.ones(len(rows)))

    def same_view(a, b):
        one, two = shapely_box(*rectangles[a]), shapely_box(*rectangles[b])
        near = 1 / 1.3 < boxes[a, 2] / boxes[b, 2] < 1.3
        return near and one.intersection(two).area > 0.6 * one.union(two).area

    def inside(a, better):
        apart = boxes[a, [0, 2]] - boxes[better, [0, 2]]
        forward = np.array([np.cos(boxes[better, 6]), -np.sin(boxes[better, 6])])
        side = np.array([np.sin(boxes[better, 6]), np.cos(boxes[better, 6])])
        return abs(apart @ forward) < 2.0 and abs(apart @ side) < 0.85

    kept = []
    for k in range(len(rows)):
        if not any(names[k] == names[j] and (same_view(k, j) or inside(k, j)) for j in kept):
            kept.append(k)
    np.testing.assert_array_equal(nms(found).scores, found.scores[kept])


def test_by_default_footprints_that_share_a_part_are_two_objects():
    """Two cars side by side, 1.2 m apart, share 30% of their footprints' union or so; their 2D boxes do not overlap."""
    boxes = np.array([car(0, 20, 0), car(0, 21.2, 0)])
    found = Detections(
        np.array(["Car"] * 2), np.array([0.9, 0.8]), boxes, np.array([(0.0, 0, 9, 9), (20, 0, 29, 9)]), np.ones(2)
    )
    assert len(nms(found)) == 2
    assert len(nms(found, NmsSettings(0.1))) == 1


@pytest.mark.parametrize(
    "boxes",
    [
        # A T of two boxes of 12 m by 1 m, whose centres are 6.2 m apart, near and far
        [(0, 0.9, 30, 12, 1, 1.5, 0), (0, 0.9, 36.2, 12, 1, 1.5, -np.pi / 2)],
        [(20, 0.9, 1, 12, 1, 1.5, 0), (20, 0.9, 7.2, 12, 1, 1.5, -np.pi / 2)],
        # Two low ones that share a corner
        [(20, 0.9, 30, 12, 3, 0.5, 0), (31.83, 0.9, 32.96, 12, 3, 0.5, 0)],
    ],
)
def test_long_boxes_that_touch_at_their_ends_are_compared_too(boxes):
    a, b = (Polygon(corners[:4, [0, 2]]) for corners in box3d.corners(np.array(boxes)))
    overlap = a.intersection(b).area / a.union(b).area
    found = Detections(
        np.array(["Car"] * 2), np.array([0.9, 0.8]), np.array(boxes), np.array([(0.0, 0, 9, 9), (20, 0, 29, 9)]),
        np.ones(2),
    )  # fmt: skip
    assert len(nms(found, NmsSettings(0.99 * overlap))) == 1
    assert len(nms(found, NmsSettings(1.01 * overlap))) == 2
    exact = float(bev_iou(found.boxes[1:], found.boxes[:1])[0])
    assert len(nms(found, NmsSettings(exact))) == 2  # not more than this


def test_rectangles_apart_in_both_directions_share_nothing():
    pair = in_image([(20.0, (0, 0, 0.9, 0.9)), (20.0, (1.9, 1.9, 2.8, 2.8))])
    assert len(nms(pair)) == 2


def test_neighbours_are_kept():
    parked = detections([car(-6, 12, 0), car(-6, 14, 0), car(-6, 16, 0)])  # side by side across the road
    lane = detections([car(0, 10), car(0, 16.5), car(0, 23)])  # a queue, one hiding the next
    oncoming = detections([car(-1.5, 20), car(1.5, 20, np.pi / 2)])
    for found in (parked, lane, oncoming):
        assert len(nms(found)) == len(found)


def test_other_classes_may_share_a_place():
    found = detections([(0, 0.9, 10, 1.8, 0.6, 1.7, 0), (0, 0.9, 10, 0.8, 0.6, 1.7, 0)], ["Cyclist", "Pedestrian"])
    assert len(nms(found)) == 2


@given(
    st.lists(
        st.tuples(st.floats(-15, 15), st.floats(4, 60), st.floats(-3.1, 3.1), st.sampled_from(["Car", "Cyclist"])),
        max_size=12,
    )
)
def test_it_keeps_the_best_and_never_needs_a_second_pass(arrangement):
    boxes = [car(x, z, heading) for x, z, heading, _ in arrangement]
    found = detections(boxes, [name for *_, name in arrangement])
    once = nms(found)
    np.testing.assert_array_equal(nms(once).scores, once.scores)
    assert len(once) == 0 if not len(found) else once.scores[0] == found.scores[0]
    # Whatever was dropped has a better one of its class close by.
    for k in np.flatnonzero(~np.isin(found.scores, once.scores)):
        same = (once.names == found.names[k]) & (once.scores > found.scores[k])
        assert np.linalg.norm(once.boxes[same][:, [0, 2]] - found.boxes[k, [0, 2]], axis=1).min() < 0.4 * 60


@given(
    st.lists(st.tuples(st.floats(-4, 4), st.floats(8, 16), st.floats(-3.1, 3.1)), max_size=8),
    st.sampled_from([0.1, 0.3]),
)
def test_rotated_suppression_agrees_with_polygons(arrangement, overlap):
    found = detections([car(*place) for place in arrangement])
    shapes = [Polygon(c[:4, [0, 2]]) for c in box3d.corners(found.boxes)]
    kept = []
    for k, box in enumerate(shapes):
        ratios = [box.intersection(shapes[j]).area / box.union(shapes[j]).area for j in kept]
        if not any(r > overlap for r in ratios):
            kept.append(k)
    once = nms(found, NmsSettings(overlap))
    # What always counts as a repetition does so here too, and only removes more.
    both = nms(found[np.array(kept, int)])
    if np.array_equal(both.scores, found.scores[kept]):
        np.testing.assert_array_equal(once.scores, found.scores[kept])
    areas = [Polygon(c[:4, [0, 2]]) for c in box3d.corners(once.boxes)]
    for i, j in zip(*np.triu_indices(len(areas), 1), strict=True):
        assert areas[i].intersection(areas[j]).area / areas[i].union(areas[j]).area <= overlap + 1e-9
