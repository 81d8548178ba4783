"""CaDDN's anchors and what they are trained on: one object on an empty grid against polygons."""

import math

import numpy as np
import pytest
from shapely.geometry import box as rectangle
from support.detector_cases import all_visible

from add_model.classes import KITTI_CLASSES
from add_model.detectors.caddn.anchors import HEADINGS, AnchorTargetEncoder, Grid
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.target_assignment import Limits
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
    seen, best = set(), (0.0, None)
    for row, column, turn in np.ndindex(owner.shape[0], owner.shape[1], 2):
        x, _, z, a, b, *_ = anchors[row, column, kind, turn]
        if abs(x - 0.43) > 6 or abs(z - 11.3) > 6:
            assert owner[row, column, kind, turn] == -1
            continue
        other = footprint(x, z, *turned(a, b, turn))
        common = shape.intersection(other).area
        overlap = common / (shape.area + other.area - common)
        best = max(best, (overlap, (row, column, turn)), key=lambda pair: pair[0])
        if min(abs(overlap - enough), abs(overlap - little)) > 1e-6:
            expected = 0 if overlap >= enough else -2 if overlap >= little else -1
            found = owner[row, column, kind, turn]
            assert found == expected or (found == 0 and overlap >= best[0] - 1e-9)
            seen.add(expected)
    assert seen == {0, -1, -2} and owner[(*best[1][:2], kind, best[1][2])] == 0
    others = [k for k in range(3) if k != kind]
    assert (owner[:, :, others] == -1).all()


def test_anchors_on_an_object_that_is_hidden_are_not_counted():
    length, width, height = KITTI_CLASSES.mean_sizes[0]
    box = np.array([[0.4, 1.65 - height / 2, 11.3, length, width, height, 0.0]])
    labels = all_visible(CAMERA, np.array(["Car"]), box)
    hidden = Labels(labels.names, labels.boxes, labels.boxes2d, np.zeros(1, bool))
    owner = ENCODER.encode(CAMERA, hidden, DEPTH)["anchor_object"]
    assert set(np.unique(owner[:, :, 0]).tolist()) == {-2, -1} and (owner[:, :, 1:] == -1).all()


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
