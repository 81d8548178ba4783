"""Which labels are trained on, at each limit's two sides; cells of heatmaps and of ignored regions by brute force."""

from dataclasses import replace

import numpy as np
import pytest

from add_model.classes import KITTI_CLASSES
from add_model.detectors.keypoint_encoder import KeypointEncoder, gaussian_radius, published_radius
from add_model.detectors.target_assignment import MAX_OBJECTS, Limits, assign, require_3d
from add_model.errors import ModelError
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.labels import Labels

CAMERA = Camera.pinhole(REFERENCE_FOCAL, REFERENCE_FOCAL, 120, 40, 250, 98)  # sides that are no multiples of 4


def seen_at(*places, camera=CAMERA, high=20.0, name="Car", visible=True, size=(4, 1.7, 1.5)):
    """Labels of objects whose 3D centres project to (u, v, depth)."""
    n, centre = len(places), camera.lift(np.array(places, float).reshape(-1, 3))
    boxes = np.hstack([centre, np.tile([*size, 0.3], (n, 1))])
    uv = np.array(places, float).reshape(-1, 3)[:, :2]
    half = np.array([15, high / 2])
    boxes2d = np.hstack([uv - half, uv + half])
    return Labels(np.array([name] * n), boxes, boxes2d, np.full(n, visible))


def used(labels, camera=CAMERA, limits=None, stride=4):
    return len(assign(camera, labels, KITTI_CLASSES, limits or Limits(), stride).chosen)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize(("axis", "low", "cells"), [(0, -0.5, {1: 250, 4: 248}), (1, -0.5, {1: 98, 4: 96})])
def test_centres_count_from_the_images_edge_to_the_last_whole_cells(stride, axis, low, cells):
    high = cells[stride] - 0.5
    for value, inside in ((low - 0.01, 0), (low + 0.01, 1), (high - 0.01, 1), (high + 0.01, 0)):
        place = [100.0, 50.0, 20.0]
        place[axis] = value
        assert used(seen_at(place), stride=stride) == inside, value


@pytest.mark.parametrize("axis", [0, 1])
def test_a_centre_on_the_edge_of_a_cell_lies_in_the_cell_that_begins_there(axis):
    """Numbers are such that pixels are exact; without a stride cells are pixels, here of an odd number."""
    camera = Camera.pinhole(512, 512, 120.5, 40.5, 251, 99)
    for value, stride, inside in ((-0.5, 4, 1), ((247.5, 95.5)[axis], 4, 0), ((250.5, 98.5)[axis], 1, 0)):
        place = [100.5, 50.5, 16.0]
        place[axis] = value
        labels = seen_at(place, camera=camera)
        assert used(labels, camera, stride=stride) == inside
        place[axis] = value - 1 / 8
        assert used(seen_at(place, camera=camera), camera, stride=stride) == 1 - inside
    assert len(assign(camera, seen_at((250, 98, 16), camera=camera), KITTI_CLASSES, Limits()).chosen) == 1


@pytest.mark.parametrize(("depth", "inside"), [(-20, 0), (0.49, 0), (0.51, 1), (65, 1), (65.01, 0)])
def test_depths_count_from_half_a_metre_to_the_limit(depth, inside):
    for scale in (1, 2):  # metres at the reference focal length: a lens twice as long sees twice as far
        f = scale * REFERENCE_FOCAL
        camera = Camera.pinhole(f, f, 120, 40, 250, 98)
        assert used(seen_at((100, 50, depth * scale), camera=camera), camera) == inside


@pytest.mark.parametrize(("high", "inside"), [(7.9, 0), (8.0, 1)])
def test_objects_count_from_eight_pixels_on(high, inside):
    assert used(seen_at((100, 50.0, 20), high=high)) == inside


def test_limits_are_those_of_one_object_at_every_focal_length():
    """Twice the focal length: twice the pixels, half the metres at the reference focal length."""
    assert Limits.seen_at(REFERENCE_FOCAL) == Limits() == Limits(8.0, 65.0)
    assert Limits.seen_at(2 * REFERENCE_FOCAL) == Limits(16.0, 32.5)


def test_the_nearest_objects_are_chosen_and_headings_are_seen_from_the_camera():
    rng = np.random.default_rng(0)
    depths = rng.permutation(np.arange(2.0, 62.0))  # 60 of them
    labels = seen_at(*((rng.uniform(0, 240), rng.uniform(0, 90), depth) for depth in depths))
    choice = assign(CAMERA, labels, KITTI_CLASSES, Limits())
    assert len(choice.chosen) == MAX_OBJECTS
    np.testing.assert_allclose(depths[choice.chosen], np.arange(2.0, 52.0))
    np.testing.assert_allclose(choice.depth, depths)
    ray = np.arctan2(labels.boxes[:, 0], labels.boxes[:, 2])
    np.testing.assert_allclose(choice.heading, 0.3 - ray)
    assert not choice.ignored[choice.chosen].any()
    # Those for which there is no room are seen all the same: they must not count as background.
    assert set(np.flatnonzero(choice.ignored[:, 0])) == set(np.flatnonzero(depths >= 52)) and choice.ignored.sum() == 10


@pytest.mark.parametrize(
    ("name", "change", "classes"),
    [
        ("Car", {}, []),
        ("Car", {"visible": False}, [0]),
        ("Van", {}, [0]),
        ("truck", {}, [0]),
        ("Person_sitting", {}, [1]),
        ("Tram", {}, []),
        ("dontcare", {}, [0, 1, 2]),
        ("Cyclist", {"high": 5.0}, [2]),
    ],
)
def test_unused_labels_hide_the_classes_that_they_could_be(name, change, classes):
    choice = assign(CAMERA, seen_at((100, 50, 20), name=name, **change), KITTI_CLASSES, Limits())
    assert np.flatnonzero(choice.ignored[0]).tolist() == classes
    assert len(choice.chosen) == (name == "Car" and not change)


def test_no_labels_are_no_targets():
    choice = assign(CAMERA, seen_at(), KITTI_CLASSES, Limits())
    assert len(choice.chosen) == len(choice.label) == 0 and choice.ignored.shape == (0, 3)
    assert choice.pixel.shape == (0, 2) and choice.depth.shape == choice.heading.shape == (0,)


def test_labels_without_3d_are_refused_where_they_are_needed():
    labels = seen_at((100, 50, 20))
    require_3d(labels, "CaDDN")
    with pytest.raises(ModelError, match=r"CaDDN learns 3D boxes from all views: give .*crop\.train_3d true"):
        require_3d(replace(labels, trains_3d=False), "CaDDN")


def blobs(rows, columns, objects):
    """The heatmap of (row, column, radius): a Gaussian of a sixth of its window's side, cut at the radius."""
    heat = np.zeros((rows, columns))
    for row, column, radius in objects:
        sigma = (2 * radius + 1) / 6
        for i, j in np.ndindex(rows, columns):
            if max(abs(i - row), abs(j - column)) <= radius:
                heat[i, j] = max(heat[i, j], np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2)))
    return heat


def corner_net_radius(height, width):
    """By search: how far both corners may move together, inwards or outwards with IoU of 0.7 or more."""

    def least(r):
        shifted = max(height - r, 0) * max(width - r, 0)
        inner = max(height - 2 * r, 0) * max(width - 2 * r, 0) / (height * width)
        outer = height * width / ((height + 2 * r) * (width + 2 * r))
        return min(shifted / (2 * height * width - shifted), inner, outer)

    low, high = 0.0, height + width
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if least(middle) >= 0.7 else (low, middle)
    return low


@pytest.mark.parametrize("stride", [2, 4])
def test_heatmaps_by_brute_force(stride):
    """Objects inside, at every edge and on each other: the larger value counts, and other classes have none."""
    places = [(1.0, 2.0, 30), (246, 94, 12), (120, 50, 20), (126, 52, 25), (0, 60, 15), (60, 0, 18)]
    labels = seen_at(*places)
    sides = np.array([(60, 30), (40, 60), (80, 40), (30, 30), (100, 90), (8, 9)]) / 2
    uv = np.array(places)[:, :2]
    labels = Labels(labels.names, labels.boxes, np.hstack([uv - sides, uv + sides]), labels.visible)
    targets = KeypointEncoder(stride=stride).encode(CAMERA, labels)
    objects = []
    for (u, v), (width, height) in zip(uv, 2 * sides / stride, strict=True):
        radius = int(corner_net_radius(height, width))
        objects.append((int((v + 0.5) // stride), int((u + 0.5) // stride), radius))
    assert len({radius for *_, radius in objects}) > 1
    wanted = blobs(98 // stride, 250 // stride, objects)
    np.testing.assert_allclose(targets["heatmap"][0], wanted, atol=1e-6)
    assert not targets["heatmap"][1:].any()
    order = np.argsort([depth for *_, depth in places])
    cells = [objects[k][0] * (250 // stride) + objects[k][1] for k in order]
    assert targets["cell"][: len(places)].tolist() == cells
    centre = (np.array([objects[k][1::-1] for k in order]) + 0.5) * stride - 0.5  # of the cell, in pixels
    for key in ("offset_3d", "offset_2d"):  # 2D boxes are centred on the same place here
        np.testing.assert_allclose(targets[key][: len(places)] * stride, uv[order] - centre, atol=1e-4)
    np.testing.assert_allclose(targets["size_2d"][: len(places)] * stride, 2 * sides[order], atol=1e-4)


@pytest.mark.parametrize("radius", [gaussian_radius, published_radius])
@pytest.mark.parametrize("width", [0, -4])
def test_a_2d_box_without_extent_marks_its_own_cell(radius, width):
    """Nothing is left of the square root of a negative number, and no other cell is positive."""
    labels = seen_at((100, 50, 20))
    labels = Labels(labels.names, labels.boxes, np.array([[100.0, 46, 100 + width, 54]]), labels.visible)
    heat = KeypointEncoder(radius=radius).encode(CAMERA, labels)["heatmap"]
    assert heat.sum() == heat[0, 12, 25] == 1


@pytest.mark.parametrize("stride", [1, 4])
def test_ignored_regions_are_their_cells_and_end_at_the_image(stride):
    rectangles = np.array(
        [
            [-30, -20, 8.2, 13.3],
            [230.4, 80.1, 400, 300],
            [100.3, 30.2, 133.4, 61.3],
            [-50, 20, -20, 40],
            [20, -50, 60, -20],
        ]
    )
    labels = seen_at(*[(100, 50, 20)] * len(rectangles), name="DontCare")
    labels = Labels(labels.names, labels.boxes, rectangles, labels.visible)
    ignore = KeypointEncoder(stride=stride).encode(CAMERA, labels)["ignore"]
    wanted = np.zeros(ignore.shape[1:], bool)
    for left, top, right, bottom in rectangles:  # cells whose centre lies in it
        v, u = ((np.arange(n) + 0.5) * stride - 0.5 for n in wanted.shape)
        wanted |= ((v > top) & (v < bottom))[:, None] & ((u > left) & (u < right))[None]
    assert (ignore == wanted).all() and wanted.any()
