"""CaDDN's anchors and what they are trained on: one object on an empty grid against polygons."""

import math

import cv2
import numpy as np
import pytest
import shapely
import torch
from shapely.geometry import box as rectangle
from support.detector_cases import all_visible

from add_model.classes import KITTI_CLASSES, ClassSpec, ObjectClass
from add_model.detectors.caddn.anchors import (
    HEADINGS,
    AnchorTargetEncoder,
    Grid,
    decode_residuals,
    encode_residuals,
)
from add_model.detectors.caddn.depth_targets import mean_of_all, mean_of_known
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import Limits
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.labels import Labels

CAMERA = Camera.pinhole(360, 360, 320, 96, 640, 192)
GRID = Grid(low=(2.0, -6.4, -3.0), high=(21.2, 6.4, 1.0), sides=(0.16, 0.16, 1.0))
ENCODER = AnchorTargetEncoder(GRID, stride=1, bins=DepthBins(20, 2.0, 40.0), map_stride=4, limits=Limits(min_height=0))
DEPTH = np.zeros((192, 640), np.float32)
THRESHOLDS = {"Car": (0.6, 0.45), "Pedestrian": (0.5, 0.35), "Cyclist": (0.5, 0.35)}  # CaDDN.yaml


def test_anchors_stand_on_the_ground_below_kittis_camera():
    anchors = ENCODER.anchors
    np.testing.assert_allclose(anchors[..., 1] + anchors[..., 5] / 2, 1.65)
    for kind, size in enumerate(KITTI_CLASSES.mean_sizes):
        np.testing.assert_allclose(anchors[:, :, kind, :, 3:6], np.broadcast_to(size, (120, 80, 2, 3)))
    assert (0.0, math.pi / 2) == HEADINGS


def footprint(x, z, along_x, along_z):
    return rectangle(x - along_x / 2, z - along_z / 2, x + along_x / 2, z + along_z / 2)


@pytest.mark.parametrize("name", KITTI_CLASSES.names)
@pytest.mark.parametrize("heading", [0, 1])
def test_an_object_is_matched_by_overlap_from_above(name, heading):
    kind, (enough, little) = KITTI_CLASSES.index(name), THRESHOLDS[name]
    length, width, height = (1.1 * side for side in KITTI_CLASSES.mean_sizes[kind])
    box = np.array([[0.43, 1.65 - height / 2, 11.3, length, width, height, HEADINGS[heading]]])
    targets = ENCODER.encode(CAMERA, all_visible(CAMERA, np.array([name]), box), DEPTH)
    owner, anchors = targets["anchor_object"], ENCODER.anchors
    assert targets["mask"].sum() == 1
    turned = lambda a, b, i: (a, b) if i == 0 else (b, a)  # noqa: E731
    shape = footprint(0.43, 11.3, *turned(length, width, heading))
    x, z, a, b = np.moveaxis(anchors[:, :, kind][..., [0, 2, 3, 4]], -1, 0)
    along_x, along_z = np.stack([a[..., 0], b[..., 1]], -1), np.stack([b[..., 0], a[..., 1]], -1)
    others = shapely.box(x - along_x / 2, z - along_z / 2, x + along_x / 2, z + along_z / 2)
    common = shapely.area(shapely.intersection(shape, others))
    overlap = common / (shape.area + shapely.area(others) - common)
    expected, best = (
        np.where(overlap >= enough, 0, np.where(overlap >= little, -2, -1)),
        overlap >= overlap.max() - 1e-9,
    )
    sure = np.minimum(np.abs(overlap - enough), np.abs(overlap - little)) > 1e-6
    found = owner[:, :, kind]
    assert ((found == expected) | ((found == 0) & best))[sure].all() and (found[best] == 0).any()
    assert set(np.unique(expected[sure]).tolist()) == {0, -1, -2}
    assert (np.delete(owner, kind, axis=2) == -1).all()


def test_anchors_on_an_object_that_is_hidden_are_not_counted():
    length, width, height = KITTI_CLASSES.mean_sizes[0]
    box = np.array([[0.4, 1.65 - height / 2, 11.3, length, width, height, 0.0]])
    labels = all_visible(CAMERA, np.array(["Car"]), box)
    hidden = Labels(labels.names, labels.boxes, labels.boxes2d, np.zeros(1, bool))
    owner = ENCODER.encode(CAMERA, hidden, DEPTH)["anchor_object"]
    assert set(np.unique(owner[:, :, 0]).tolist()) == {-2, -1} and (owner[:, :, 1:] == -1).all()


def test_anchors_of_an_object_stay_its_own_where_a_hidden_one_overlaps_them():
    length, width, height = KITTI_CLASSES.mean_sizes[0]
    boxes = np.array([[x, 1.65 - height / 2, 11.3, length, width, height, 0.0] for x in (0.4, 0.7)])
    alone = ENCODER.encode(CAMERA, all_visible(CAMERA, np.array(["Car"]), boxes[:1]), DEPTH)["anchor_object"]
    both = all_visible(CAMERA, np.array(["Car", "Car"]), boxes)
    labels = Labels(both.names, both.boxes, both.boxes2d, np.array([True, False]))
    owner = ENCODER.encode(CAMERA, labels, DEPTH)["anchor_object"]
    np.testing.assert_array_equal(owner == 0, alone == 0)
    assert (alone == 0).sum() > 10 and (owner == -2).sum() > (alone == -2).sum()


def test_directions_change_at_45_degrees():
    """Where OpenPCDet's CaDDN changes them: its dir_offset is 0.78539."""
    anchors = torch.tensor([[0, 0, 10, 4, 1.6, 1.5, 0.0]]).expand(4, 7)
    boxes = anchors.clone()
    boxes[:, 6] = torch.deg2rad(torch.tensor([44.0, 46, 224, 226]))
    assert encode_residuals(boxes, anchors)[1].tolist() == [1, 0, 0, 1]


def test_residuals_of_a_batch_are_those_of_each_and_sizes_have_an_end():
    generator = torch.Generator().manual_seed(0)
    anchors = torch.rand(5, 7, generator=generator) + 1
    residuals = torch.randn(2, 5, 7, generator=generator)
    residuals[1, 3, 3:6] = torch.tensor([9.0, 3.5, -9.0])
    direction = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 0, 0]])
    found = decode_residuals(residuals, direction, anchors.expand(2, 5, 7))
    for image in range(2):
        torch.testing.assert_close(found[image], decode_residuals(residuals[image], direction[image], anchors))
    boxes = torch.rand(2, 5, 7, generator=generator) + 1
    coded, directions = encode_residuals(boxes, anchors.expand(2, 5, 7))
    for image in range(2):
        alone, direction = encode_residuals(boxes[image], anchors)
        torch.testing.assert_close(coded[image], alone)
        assert torch.equal(directions[image], direction)
    e = math.exp(3)
    torch.testing.assert_close(found[1, 3, 3:6], anchors[3, 3:6] * torch.tensor([e, e, 1 / e]))


@pytest.mark.parametrize(("x", "inside"), [(6.3, True), (6.5, False), (-6.3, True), (-6.5, False)])
def test_objects_beside_the_grid_are_not_trained_on(x, inside):
    box = np.array([[x, 0.9, 15.0, 3.9, 1.6, 1.5, 0.0]])
    targets = ENCODER.encode(CAMERA, all_visible(CAMERA, np.array(["Car"]), box), DEPTH)
    assert targets["mask"].sum() == int(inside)


def test_a_2d_box_at_the_images_edge_marks_its_first_cells():
    box = np.array([[0.0, 0.9, 15.0, 3.9, 1.6, 1.5, 0.0]])
    labels = Labels(np.array(["Car"]), box, np.array([[0.0, 0.0, 9.0, 6.0]]), np.ones(1, bool))
    foreground = ENCODER.encode(CAMERA, labels, DEPTH)["depth_foreground"]
    expected = np.zeros_like(foreground)
    expected[:2, :3] = True
    np.testing.assert_array_equal(foreground, expected)
    for outside in ([-60.0, 0, -20, 60], [0, -60, 60, -20]):
        labels = Labels(np.array(["Car"]), box, np.array([outside], float), np.ones(1, bool))
        assert not ENCODER.encode(CAMERA, labels, DEPTH)["depth_foreground"].any()


@pytest.mark.parametrize(("length", "little"), [(2.5, 0.35), (2.51, 0.45)])
def test_classes_longer_than_2_5_metres_have_the_large_overlaps(length, little):
    """Hidden, so that the lower of the two limits alone counts."""
    classes = ClassSpec((ObjectClass("Cart", (length, 1.0, 1.5)),))
    box = np.array([[0.43, 0.9, 11.3, length, 1.0, 1.5, 0.0]])
    labels = Labels(np.array(["Cart"]), box, np.array([[0.0, 0, 90, 60]]), np.zeros(1, bool))
    encoder = AnchorTargetEncoder(GRID, 1, DepthBins(20, 2.0, 40.0), 4, Limits(min_height=0), classes)
    owner, anchors = encoder.encode(CAMERA, labels, DEPTH)["anchor_object"][:, :, 0], encoder.anchors[:, :, 0]
    for place in np.ndindex(owner.shape):
        overlap = overlap_from_above(anchors[place], box[0], place[2])
        assert owner[place] == (-2 if overlap >= little else -1)


def street(rng):
    """Objects side by side, so that several overlap one anchor: names, boxes and which of them are seen."""
    names, boxes = [], []
    for _ in range(7):
        name = rng.choice(["Car", "Car", "Car", "Pedestrian", "Cyclist", "Van"])
        size = np.array(KITTI_CLASSES.mean_sizes[max(KITTI_CLASSES.index(name), 0)]) * rng.uniform(0.8, 1.2, 3)
        names.append(name)
        boxes.append([rng.uniform(-3, 3), 1, rng.uniform(8, 13), *size, rng.uniform(-math.pi, math.pi)])
    return np.array(names), np.array(boxes), rng.random(7) < 0.7


def overlap_from_above(anchor, box, turned):
    """IoU of an anchor with a box that is turned to the nearest right angle."""
    upright = abs(math.cos(box[6])) >= abs(math.sin(box[6]))
    own, other = anchor[3:5] if turned == 0 else anchor[4:2:-1], box[3:5] if upright else box[4:2:-1]
    common = 1.0
    for axis, place in enumerate((0, 2)):
        a, b, half_a, half_b = anchor[place], box[place], own[axis] / 2, other[axis] / 2
        common *= max(0.0, min(a + half_a, b + half_b) - max(a - half_a, b - half_b))
    return common / (own[0] * own[1] + other[0] * other[1] - common)


@pytest.mark.parametrize("seed", range(4))
def test_anchors_of_a_crowd_by_loops(seed):
    """The object that overlaps most; every object has an anchor; what is hidden or looks like it is left open."""
    encoder = AnchorTargetEncoder(
        Grid(low=(7.0, -4.0, -3.0), high=(14.0, 4.0, 1.0), sides=(0.5, 0.4, 1.0)), 1, DepthBins(20, 2.0, 40.0), 4,
        Limits(min_height=0),
    )  # fmt: skip
    names, boxes, visible = street(np.random.default_rng(seed))
    camera = Camera(CAMERA.P + np.outer([90, 0, 0.1], [0, 0, 0, 1]), 640, 192)
    boxes[:, :3] -= camera.translation  # given in P's frame
    seen = all_visible(camera, names, boxes)
    targets = encoder.encode(camera, Labels(seen.names, boxes, seen.boxes2d, visible), DEPTH)
    own = boxes + np.append(camera.translation, np.zeros(4))
    n = int(targets["mask"].sum())
    used = [k for k in np.argsort(own[:, 2]) if visible[k] and names[k] != "Van"]
    np.testing.assert_allclose(targets["box"][:n], own[used], rtol=1e-5)
    assert not targets["box"][n:].any() and targets["mask"].tolist() == [True] * n + [False] * (50 - n)
    assert [KITTI_CLASSES.names[i] for i in targets["label"][:n]] == names[used].tolist()
    anchors, owner = encoder.anchors, targets["anchor_object"]
    wanted = np.full(owner.shape, -1)
    for kind, name in enumerate(KITTI_CLASSES.names):
        enough, little = THRESHOLDS[name]
        mine = [row for row, k in enumerate(used) if names[k] == name]
        open_ = [k for k in range(7) if k not in used and (names[k] == name or (name, names[k]) == ("Car", "Van"))]
        best_of = dict.fromkeys(mine, (0.0, None))
        for place in np.ndindex(*owner.shape[:2], 2):
            where = (*place[:2], kind, place[2])
            overlaps = {row: overlap_from_above(anchors[where], own[used[row]], place[2]) for row in mine}
            for row, value in overlaps.items():
                best_of[row] = max(best_of[row], (value, where), key=lambda pair: pair[0])
            row, value = max(overlaps.items(), key=lambda pair: pair[1], default=(None, 0.0))
            hidden = any(overlap_from_above(anchors[where], own[k], place[2]) >= little for k in open_)
            wanted[where] = row if value >= enough else -2 if value >= little or hidden else -1
        for row in mine:
            wanted[best_of[row][1]] = row
    np.testing.assert_array_equal(owner, wanted)
    assert {-2, -1, 0} <= set(np.unique(wanted).tolist())


def test_of_equal_objects_the_first_has_the_anchors():
    length, width, height = KITTI_CLASSES.mean_sizes[0]
    boxes = np.array([[0.4, 1.65 - height / 2, 11.3, length, width, height, 0.0]] * 2)
    owner = ENCODER.encode(CAMERA, all_visible(CAMERA, np.array(["Car"] * 2), boxes), DEPTH)["anchor_object"][:, :, 0]
    assert (owner == 0).sum() > 3 and (owner == 1).sum() == 1  # its one best anchor, which it is given


@pytest.mark.parametrize(
    ("overlaps", "visible", "wanted"),
    [((0.6, 0.5), True, [0, -2, -2, -2, -2]), ((0.5, 0.25), True, [0] * 5), ((0.6, 0.5), False, [-2] * 5)],
)
def test_an_overlap_that_equals_a_limit_is_on_its_upper_side(overlaps, visible, wanted):
    """A box twice as long as the anchors, of which five lie in it: 8 of 16 square metres are common, exactly."""
    classes = ClassSpec((ObjectClass("Car", (4.0, 2.0, 1.5)),))
    grid = Grid(low=(0.0, -8.0, -3.0), high=(16.0, 8.0, 1.0), sides=(1.0, 1.0, 1.0))
    encoder = AnchorTargetEncoder(
        grid, 1, DepthBins(20, 2.0, 40.0), 4, Limits(min_height=0), classes, large_overlaps=overlaps
    )
    box = np.array([[0.5, 0.9, 8.5, 8.0, 2.0, 1.5, 0.0]])
    labels = Labels(np.array(["Car"]), box, np.array([[0.0, 0, 90, 60]]), np.array([visible]))
    owner = encoder.encode(CAMERA, labels, DEPTH)["anchor_object"][:, :, 0, 0]
    x = grid.centres()[1]
    inside = np.flatnonzero(np.abs(x - 0.5) <= 2)
    assert len(inside) == 5 and sorted(owner[8, inside], reverse=True) == wanted
    owner[8, inside] = -9
    # Of the anchors beside them those that share 6 of 18 square metres count for the lower of the lower limits.
    assert set(np.unique(owner).tolist()) == ({-9, -1} if overlaps[1] == 0.5 else {-9, -2, -1})


def test_a_grid_by_hand():
    grid = Grid(low=(2.0, -4.0, -3.0), high=(10.0, 4.0, 1.0), sides=(2.0, 1.0, 2.0))
    assert grid.shape == (4, 8, 2)
    z, x, y = grid.centres()
    assert (z.tolist(), y.tolist()) == ([3, 5, 7, 9], [2, 0])
    assert x.tolist() == [3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5]  # columns go left
    z, x, y = grid.centres(2)
    assert (z.tolist(), x.tolist(), y.tolist()) == ([4, 8], [3, 1, -1, -3], [2, 0])
    published = Grid()  # CaDDN.yaml: POINT_CLOUD_RANGE and VOXEL_SIZE
    assert (published.low, published.high) == ((2.0, -30.08, -3.0), (46.8, 30.08, 1.0)) and published.sides == (
        0.16,
    ) * 3


@pytest.mark.parametrize(
    ("x", "z", "inside"),
    [
        (0, 1.99, 0),
        (0, 2.01, 1),
        (0, 21.19, 1),
        (0, 21.21, 0),
        (6.39, 15, 1),
        (6.41, 15, 0),
        (-6.39, 15, 1),
        (-6.41, 15, 0),
        (0, 2.0, 1),
        (0, 21.2, 0),
        (6.4, 15, 1),
        (-6.4, 15, 0),
    ],
)
def test_objects_count_up_to_the_grids_sides(x, z, inside):
    """On a side itself: where the voxel that begins there exists."""
    box = np.array([[x, 0.2, z, 0.8, 0.6, 1.7, 0.0]])
    labels = Labels(np.array(["Pedestrian"]), box, np.array([[1.0, 1, 90, 90]]), np.ones(1, bool))
    wide = Camera.pinhole(90, 360, 320, 96, 640, 192)
    assert ENCODER.encode(wide, labels, DEPTH)["mask"].sum() == inside


def test_an_object_beyond_the_grid_is_no_negative_where_its_anchors_reach_into_it():
    box = np.array([[6.45, 0.9, 15.0, 3.9, 1.6, 1.5, 0.0]])
    targets = ENCODER.encode(CAMERA, all_visible(CAMERA, np.array(["Car"]), box), DEPTH)
    assert not targets["mask"].any() and set(np.unique(targets["anchor_object"][:, :, 0])) == {-2, -1}
    assert (targets["anchor_object"][:, :, 1:] == -1).all()


def test_regions_without_a_3d_box_leave_anchors_alone_and_depth_maps_are_needed():
    labels = Labels(np.array(["DontCare"]), np.full((1, 7), np.nan), np.array([[9.0, 9, 99, 99]]), np.ones(1, bool))
    targets = ENCODER.encode(CAMERA, labels, DEPTH)
    assert (targets["anchor_object"] == -1).all() and not targets["depth_foreground"].any()
    with pytest.raises(ModelError, match=r"CaDDN trains on depth maps: give data\.depth"):
        ENCODER.encode(CAMERA, labels)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_cells_depth_is_its_nearest_known_one(scale):
    """At the reference focal length; the last rows and columns that fill no cell are left out."""
    rng = np.random.default_rng(3)
    camera = Camera.pinhole(360 * scale, 360 * scale, 40, 30, 83, 62)
    depth = (rng.uniform(1, 90, (62, 83)) * (rng.random((62, 83)) < 0.08)).astype(np.float32)
    rectangles = np.array([[-9.0, -9, 3.6, 11.2], [40.2, 30, 90, 90]])
    box = np.array([[0.0, 0.9, 15.0, 3.9, 1.6, 1.5, 0.0]] * 2)
    targets = ENCODER.encode(camera, Labels(np.array(["Car", "Van"]), box, rectangles, np.ones(2, bool)), depth)
    assert targets["depth_bin"].shape == targets["depth_foreground"].shape == (15, 20)
    for row, column in np.ndindex(15, 20):
        cell = depth[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        wanted = ENCODER.bins.label(cell[cell > 0].min() / scale) if cell.any() else -1
        assert targets["depth_bin"][row, column] == wanted
    touched = np.zeros((15, 20), bool)
    touched[:3, :2] = True  # of the car; a van is none of the classes
    np.testing.assert_array_equal(targets["depth_foreground"], touched)
    assert (targets["depth_bin"] == -1).any() and (targets["depth_bin"] == 20).any()


def test_the_published_depth_of_a_cell_is_its_mean():
    """Nothing is divided by what is unknown; what lies before the first bin is in the last class, as published."""
    rng = np.random.default_rng(5)
    depth = (rng.uniform(0.5, 60, (62, 83)) * (rng.random((62, 83)) < 0.3)).astype(np.float32)
    depth[:4, :4], depth[4:8, :4] = 1.0, 0.0
    found = mean_of_known(depth, 4, ENCODER.bins, 1.5)
    assert found.shape == (15, 20)
    for row, column in np.ndindex(15, 20):
        cell = depth[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        mean = cell[cell > 0].mean() / 1.5 if cell.any() else None
        # LID by its definition: 20 bins from 2 m, each a step wider than the one before.
        edges = 2.0 + 38.0 / 210 * np.cumsum(np.arange(21))
        wanted = -1 if mean is None else int(np.searchsorted(edges, mean, "right")) - 1 if mean >= 2 else 20
        assert found[row, column] == min(wanted, 20)
    assert found[0, 0] == 20 and found[1, 0] == -1


def test_of_completed_maps_unknown_pixels_count_as_0_m_and_cells_without_depth_are_beyond():
    """By the published formula: the square root that inverts the bins' growing widths, all outside them the last."""
    rng = np.random.default_rng(6)
    depth = (rng.uniform(0.5, 90, (60, 80)) * (rng.random((60, 80)) < 0.7)).astype(np.float32)
    depth[:8] = 0.0  # sky
    found = mean_of_all(depth, 4, ENCODER.bins, 1.5)
    mean = cv2.resize(depth, (20, 15), interpolation=cv2.INTER_AREA).astype(float) / 1.5
    step = 2 * 38.0 / (20 * 21)
    with np.errstate(invalid="ignore"):
        index = -0.5 + 0.5 * np.sqrt(1 + 8 * (mean - 2.0) / step)
    wanted = np.where((index >= 0) & (index <= 20), index, 20).astype(int)
    np.testing.assert_array_equal(found, wanted)
    assert (found[:2] == 20).all() and len(np.unique(found[2:])) > 5
