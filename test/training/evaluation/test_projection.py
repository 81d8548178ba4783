"""2D boxes derived from 3D ones: closed forms, and what is given stays."""

import numpy as np
import pytest

from add_model.classes import DONT_CARE
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.sample import Objects
from training.evaluation.projection import Derived, complete_detections, complete_objects

CAMERA = Camera.pinhole(500, 500, 399.5, 199.5, 800, 400)
# Boxes of 2 x 2 x 2 m that face the camera, their near faces 9 m away: 1000 / 9 = 111.1 pixels wide and high.
SIDE = 1000 / 9


def cubes(*xs, z=10.0):
    return np.array([[x, 0, z, 2, 2, 2, 0] for x in xs], float)


def unlabelled(boxes):
    n = len(boxes)
    return Objects(np.array(["Car"] * n), boxes, np.full((n, 4), np.nan), np.full(n, -1.0), np.full(n, -1))


def test_a_cube_projects_to_its_near_face_and_its_truncation_is_the_part_outside():
    # The right edge of the image is 400 pixels from the centre: a cube at x = 7.2 m has its middle there.
    objects, kept, derived = complete_objects(unlabelled(cubes(0, 7.2, 30)), CAMERA)
    assert objects.boxes2d[0] == pytest.approx([399.5 - SIDE / 2, 199.5 - SIDE / 2, 399.5 + SIDE / 2, 199.5 + SIDE / 2])
    # Its left edge is the far face's: 500 * 6.2 / 11.
    left, right = 500 * 6.2 / 11, 500 * 8.2 / 9
    assert objects.boxes2d[1, [0, 2]] == pytest.approx([399.5 + left, 799])
    assert objects.truncated == pytest.approx([0, 1 - (799 - 399.5 - left) / (right - left)])
    assert objects.occluded.tolist() == [-1, -1]
    assert len(objects) == 2 and kept.tolist() == [True, True, False]  # the third is far outside
    assert (derived.objects, derived.boxes2d, derived.truncation, derived.occlusion, derived.out_of_sight) == (
        2, 2, 2, 2, 1,
    )  # fmt: skip


def test_what_is_behind_the_camera_is_out_of_sight():
    objects, _, derived = complete_objects(unlabelled(cubes(0, z=-10.0)), CAMERA)
    assert len(objects) == 0 and derived.out_of_sight == 1 and derived.objects == 0


def test_given_values_and_regions_stay():
    boxes = np.vstack([cubes(0, 7.2), np.full((1, 7), np.nan)])
    given = Objects(
        np.array(["Car", "Car", DONT_CARE]),
        boxes,
        np.array([[1, 2, 3, 4.0], [5, 6, 7, 8], [9, 10, 11, 12]]),
        np.array([0.2, -1, -1]),
        np.array([1, 3, -1]),
    )
    objects, _, derived = complete_objects(given, CAMERA)
    np.testing.assert_array_equal(objects.boxes2d, given.boxes2d)
    assert objects.truncated[[0, 2]].tolist() == [0.2, -1] and 0.3 < objects.truncated[1] < 0.35
    assert objects.occluded.tolist() == [1, 3, -1]
    assert (derived.objects, derived.boxes2d, derived.truncation, derived.occlusion) == (2, 0, 1, 0)


@pytest.mark.parametrize("project_all", [False, True])
def test_detections_without_2d_boxes_get_projected_ones(project_all):
    boxes = np.vstack([cubes(0, 1, 40), np.full((1, 7), np.nan)])
    given = np.full((4, 4), np.nan)
    given[1] = 10, 20, 30, 40
    found = Detections(np.array(["Car"] * 4), np.array([0.9, 0.8, 0.7, 0.6]), boxes, given, np.ones(4))
    complete, derived = complete_detections(found, CAMERA, project_all)
    projected = box3d.clip_to_image(box3d.project_boxes(cubes(0, 1), CAMERA), CAMERA)
    np.testing.assert_allclose(complete.boxes2d[0], projected[0])
    np.testing.assert_allclose(complete.boxes2d[1], projected[1] if project_all else given[1])
    assert (derived.detections, derived.detections2d, derived.lost) == (2, 2 if project_all else 1, 2)
    assert (derived + derived).lost == 4


def test_nothing_is_fine():
    objects, kept, of_objects = complete_objects(Objects.empty(), CAMERA)
    assert kept.shape == (0,)
    detections, of_detections = complete_detections(Detections.empty(), CAMERA, True)
    assert len(objects) == len(detections) == 0
    assert not any(vars(of_objects + of_detections).values())


def test_what_is_given_as_0_is_given():
    """A truncation or an occlusion of 0 is no unknown, and a box with a side of 0 or below is none."""
    boxes = cubes(7.2, 0, 0, 0, 0)
    boxes[2, 3], boxes[3, 5], boxes[4, 0] = 0, -1, np.nan
    given = Objects(np.array(["Car"] * 5), boxes, np.full((5, 4), np.nan), np.zeros(5), np.zeros(5, int))
    objects, _, derived = complete_objects(given, CAMERA)
    assert objects.truncated.tolist() == [0, 0] and len(objects) == 2
    assert (derived.objects, derived.boxes2d, derived.truncation, derived.occlusion, derived.out_of_sight) == (
        2,
        2,
        0,
        0,
        3,
    )
    seen = Objects(given.names, boxes, np.tile([1.0, 2, 3, 4], (5, 1)), np.full(5, -1.0), np.full(5, -1))
    objects, _, derived = complete_objects(seen, CAMERA)  # a 2D box of its own keeps an object, whatever its 3D box is
    assert len(objects) == 5 and (derived.objects, derived.truncation, derived.occlusion, derived.out_of_sight) == (
        2,
        2,
        2,
        0,
    )
    assert objects.truncated[2:].tolist() == [-1] * 3


def test_objects_outside_that_have_a_2d_box_stay_and_are_truncated_wholly():
    given = Objects(np.array(["Car"]), cubes(30), np.array([[780.0, 9, 799, 30]]), np.full(1, -1.0), np.zeros(1, int))
    objects, _, derived = complete_objects(given, CAMERA)
    assert objects.truncated.tolist() == [1] and (derived.objects, derived.boxes2d, derived.out_of_sight) == (1, 0, 0)


@pytest.mark.parametrize("project_all", [False, True])
def test_detections_without_score_size_or_place_are_lost(project_all):
    boxes = cubes(*[0] * 6, 30)
    boxes[1, 4], boxes[2, 5], boxes[3, 2] = 0, -0.5, np.nan
    scores = np.array([0.5, 0.5, 0.5, 0.5, np.nan, np.inf, 0.5])
    found = Detections(np.array(["Car"] * 7), scores, boxes, np.tile([1.0, 2, 3, 4], (7, 1)), np.arange(7.0))
    complete, derived = complete_detections(found, CAMERA, project_all)
    kept = [0] if project_all else [0, 6]  # the last one lies outside, which its own 2D box does not say
    assert complete.depth_std.tolist() == kept
    assert (derived.detections, derived.detections2d, derived.lost) == (len(kept), int(project_all), 7 - len(kept))


def test_counts_of_frames_add_up():
    counts = [Derived(*range(8)), Derived(*[10] * 8)]
    assert counts[0] + counts[1] == Derived(*range(10, 18)) and Derived() == Derived(*[0] * 8)


def test_truncation_is_a_share_of_the_area():
    """In the image's lower right corner, cut at both sides."""
    boxes = cubes(7.2)
    boxes[0, 1] = 3.0
    objects, _, _ = complete_objects(unlabelled(boxes), CAMERA)
    left, right, top, bottom = 500 * 6.2 / 11, 500 * 8.2 / 9, 500 * 2 / 11, 500 * 4 / 9  # pixels off the centre
    share = (799 - 399.5 - left) * (399 - 199.5 - top) / ((right - left) * (bottom - top))
    assert objects.truncated[0] == pytest.approx(1 - share)


def test_what_covers_less_than_a_pixel_is_in_the_image_all_the_same():
    objects, kept, _ = complete_objects(unlabelled(cubes(0, z=2000.0)), CAMERA)
    assert kept.tolist() == [True] and objects.truncated.tolist() == [0]
    assert objects.boxes2d[0, 2] - objects.boxes2d[0, 0] == pytest.approx(1000 / 1999)
