"""MonoDETR's targets by hand and by loops over a few labels."""

from dataclasses import replace

import numpy as np
import pytest

from add_model.classes import KITTI_CLASSES
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.monodetr.target_encoder import SetTargetEncoder
from add_model.detectors.target_assignment import MAX_OBJECTS, Limits
from add_model.geometry.camera import Camera
from add_model.labels import Labels

CAMERA = Camera(np.array([[360.0, 0, 64, 36], [0, 360, 48, 0], [0, 0, 1, 0.1]]), 131, 97)
ENCODER = SetTargetEncoder(16, DepthBins(20, 1.0, 60.0), Limits(min_height=0))
# name, (u, v, depth), 2D box
ROWS = [
    ("Car", (60.2, 50.1, 20.0), (47.7, 31.6, 90, 70)),
    ("Pedestrian", (75.0, 52.0, 9.0), (70.0, 25, 81, 69.4)),
    ("Van", (20.0, 40.0, 15.0), (9.6, 30, 30, 80)),
    ("Car", (120.5, 60.0, 30.0), (90.0, 47.4, 119.0, 75)),  # cut off before its own centre
    ("DontCare", (1.0, 1.0, 10.0), (-20.0, -9, 14, 33)),
    ("Tram", (64.0, 48.0, 10.0), (64.0, 40, 80, 60)),
]


def labels(rows):
    names, places, boxes2d = zip(*rows, strict=True) if rows else ((), (), ())
    centre = CAMERA.lift(np.array(places, float).reshape(-1, 3))
    n = len(names)
    boxes = np.hstack([centre, np.tile([3.9, 1.6, 1.5, 0.4], (n, 1)) + 0.1 * np.arange(n)[:, None]])
    return Labels(np.array(names), boxes, np.array(boxes2d, float).reshape(-1, 4), np.ones(n, bool))


def test_as_published_objects_that_are_cut_off_before_their_centre_are_background():
    given = labels(ROWS)
    t = replace(ENCODER, keep_cut=False).encode(CAMERA, given)
    assert t["mask"].sum() == 2
    whole = labels([row for k, row in enumerate(ROWS) if k != 3])
    whole.boxes[:, 3:6] = given.boxes[[0, 1, 2, 4, 5], 3:6]  # sizes go by the row
    whole.boxes[:, 6] = given.boxes[[0, 1, 2, 4, 5], 6]
    for key, value in ENCODER.encode(CAMERA, whole).items():
        np.testing.assert_array_equal(t[key], value, err_msg=key)


@pytest.mark.parametrize(("side", "further"), [(0, 1000), (1, 1000), (2, -1000), (3, -1000)])
def test_a_centre_on_a_side_of_its_2d_box_is_not_cut_off(side, further):
    given = labels([("Car", (80.0, 50.0, 20.0), (60, 30, 100, 70))])
    encoder, pixel = replace(ENCODER, keep_cut=False), CAMERA.project(given.boxes[:, :3])[0, side % 2]
    given.boxes2d[0, side] = pixel
    assert encoder.encode(CAMERA, given)["mask"].sum() == 1
    given.boxes2d[0, side] = np.nextafter(pixel, further)
    assert not encoder.encode(CAMERA, given)["mask"].any()


def test_rows_are_the_objects_from_near_to_far():
    given = labels(ROWS)
    t = ENCODER.encode(CAMERA, given)
    assert t["mask"].tolist() == [True] * 3 + [False] * (MAX_OBJECTS - 3)
    for row, k in enumerate((1, 0, 3)):
        name, place, box = ROWS[k]
        u, v, depth = place
        assert t["label"][row] == KITTI_CLASSES.index(name)
        np.testing.assert_allclose(t["centre"][row], (u, v), rtol=1e-6)
        left, top, right, bottom = box
        sides = (u - left, v - top, max(right, u + 0.5) - u, bottom - v)
        np.testing.assert_allclose(t["sides"][row], sides, rtol=1e-5)
        assert t["depth"][row] == pytest.approx(depth)
        np.testing.assert_allclose(t["size_3d"][row], given.boxes[k, 3:6], rtol=1e-6)
        own = given.boxes[k, :3] + CAMERA.translation
        heading = given.boxes[k, 6] - np.arctan2(own[0], own[2])
        turn = t["heading_bin"][row] * np.pi / 6 + t["heading_residual"][row] - heading
        assert np.cos(turn) == pytest.approx(1) and abs(t["heading_residual"][row]) <= np.pi / 12 + 1e-6
    for name, value in t.items():
        if name not in ("depth_bin", "ignored", "ignored_class"):
            assert not value[3:].any(), name


def test_boxes_reach_half_a_pixel_beyond_their_centre_at_least():
    for box, sides in [((90, 20, 110, 30), (0.5, 30, 30, 0.5)), ((50, 70, 60, 80), (30, 0.5, 0.5, 30))]:
        found = ENCODER.encode(CAMERA, labels([("Car", (80.0, 50.0, 20.0), box)]))["sides"][0]
        np.testing.assert_allclose(found, sides, atol=1e-4)


def test_what_is_not_trained_on_is_ignored_with_its_classes():
    t = ENCODER.encode(CAMERA, labels(ROWS))
    np.testing.assert_allclose(t["ignored"][:2], [ROWS[2][2], ROWS[4][2]], rtol=1e-6)
    assert t["ignored_class"][:2].tolist() == [[True, False, False], [True] * 3]
    assert not t["ignored"][2:].any() and not t["ignored_class"][2:].any()
    many = ENCODER.encode(CAMERA, labels([ROWS[4]] * (MAX_OBJECTS + 7)))
    assert many["ignored_class"].all() and not many["mask"].any()


def test_the_depth_map_by_loops():
    """Objects from far to near over ignored regions; a box has every cell that it touches."""
    found = ENCODER.encode(CAMERA, labels(ROWS))["depth_bin"]
    assert found.shape == (6, 8)
    wanted = np.full((6, 8), 20)
    paint = [(ROWS[k][2], -1) for k in (2, 4)]
    paint += [(ROWS[k][2], int(ENCODER.bins.label(np.array(ROWS[k][1][2])))) for k in (3, 0, 1)]
    for (left, top, right, bottom), value in paint:
        for i, j in np.ndindex(6, 8):
            if (
                left + 0.5 < 16 * (j + 1)
                and right + 0.5 > 16 * j
                and top + 0.5 < 16 * (i + 1)
                and bottom + 0.5 > 16 * i
            ):
                wanted[i, j] = value
    np.testing.assert_array_equal(found, wanted)
    assert set(np.unique(wanted)) > {-1, 20}
    for box in ((-60.0, -50, -20, -10), (-60, 20, -20, 60), (20, -90, 60, -50)):
        outside = ENCODER.encode(CAMERA, labels([("DontCare", (1.0, 1, 9), box)]))["depth_bin"]
        assert (outside == 20).all()


def test_an_object_beyond_the_bins_is_a_class_of_its_own_as_published():
    rows = [("Car", (60.0, 50.0, 61.0), (47, 31, 90, 70)), ("Car", (70.0, 50.0, 59.0), (60, 40, 70, 60))]
    given = labels(rows)
    plain, published = (replace(ENCODER, far_cells=far).encode(CAMERA, given)["depth_bin"] for far in (False, True))
    assert set(np.unique(plain)) == {19, 20} and set(np.unique(published)) == {19, 20, 21}
    np.testing.assert_array_equal(plain, np.minimum(published, 20))


def test_no_labels_are_an_empty_map():
    t = ENCODER.encode(CAMERA, labels([]))
    assert (t["depth_bin"] == 20).all() and not t["mask"].any() and not t["ignored_class"].any()


def test_more_ignored_labels_than_there_is_room_for_leave_none_of_their_depth_cells_as_background():
    rng = np.random.default_rng(0)
    rows = [("DontCare", (1.0, 1.0, 10.0), (u, v, u + w, v + 6)) for u, v, w in rng.uniform(4, (110, 80, 20), (70, 3))]
    t = ENCODER.encode(CAMERA, labels(rows))
    boxes2d = np.array([row[2] for row in rows])
    for left, top, right, bottom in np.floor((boxes2d + 0.5) / ENCODER.stride).astype(int):
        assert (t["depth_bin"][top : bottom + 1, left : right + 1] == -1).all()
    areas = np.prod(boxes2d[:, 2:] - boxes2d[:, :2], axis=1)
    kept = np.sort(np.argsort(-areas)[:MAX_OBJECTS])
    np.testing.assert_allclose(t["ignored"], boxes2d[kept], rtol=1e-6)
