"""Which detection shows which object: the rules as plain loops over crowded frames."""

import numpy as np
import pytest

from add_model.classes import KITTI_CLASSES
from add_model.detections import SCORE_THRESHOLD, Detections
from training.data.sample import Objects
from training.evaluation.association import FREE, IGNORED, associate, associate_on_ground, best_threshold

NEIGHBOUR = {"car": "van", "pedestrian": "person_sitting"}


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def common(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def nearness_in_image(objects, m, detections, n):
    a, b = objects.boxes2d[m], detections.boxes2d[n]
    iou = common(a, b) / (area(a) + area(b) - common(a, b))
    return iou if iou >= 0.5 else 0


def nearness_on_ground(objects, m, detections, n):
    x, z = objects.boxes[m, [0, 2]]
    distance = np.hypot(x, z)
    off = detections.boxes[n, [0, 2]] - (x, z)
    along = abs(off @ (x, z)) / distance / max(2, 0.2 * distance)
    across = abs(off @ (z, -x)) / distance / 2
    return 3 - along**2 - across**2 if along <= 1 and across <= 1 else 0


def by_loops(objects, detections, name, ground):
    nearness = nearness_on_ground if ground else nearness_in_image
    kinds = [kind.lower() for kind in objects.names]
    valid = []
    for m, kind in enumerate(kinds):
        height = objects.boxes2d[m, 3] - objects.boxes2d[m, 1]
        hard = objects.truncated[m] > 0.5 or (not ground and (objects.occluded[m] > 2 or height <= 25))
        valid.append(kind == name.lower() and not hard and np.isfinite(objects.boxes[m]).all())
    truth = [FREE if ok else IGNORED for ok in valid]
    found = [FREE if kind.lower() == name.lower() else IGNORED for kind in detections.names]
    for n in sorted(range(len(detections)), key=lambda n: -detections.scores[n]):
        if found[n] == IGNORED:
            continue
        free = [(nearness(objects, m, detections, n), -m) for m in range(len(kinds)) if truth[m] == FREE]
        near, m = max(free, default=(0, 0))
        if near > 0:
            truth[-m], found[n] = n, -m
            continue
        similar = [m for m, kind in enumerate(kinds) if kind in (name.lower(), NEIGHBOUR.get(name.lower()))]
        regions = [objects.boxes2d[m] for m, kind in enumerate(kinds) if kind == "dontcare"]
        box = detections.boxes2d[n]
        if any(not valid[m] and nearness(objects, m, detections, n) > 0 for m in similar) or any(
            common(box, region) / area(box) > 0.5 for region in regions
        ):
            found[n] = IGNORED
    return truth, found


def crowd(rng, count, kinds):
    """Names, 3D boxes and, apart from these, 2D boxes at few places: objects compete, and limits are met exactly."""
    pick = lambda *values: rng.choice(values, count)  # noqa: E731
    boxes = np.tile([0.0, 1, 0, 4, 1.6, 1.5, 0], (count, 1))
    boxes[:, 0], boxes[:, 2] = pick(0, 0, 1, 2, 3, -4, -12), pick(0.3, 5, 7, 10, 12, 15, 30, 40)
    left = 100 + pick(0, 10, 25, 50, 400)
    boxes2d = np.stack([left, np.full(count, 100), left + pick(100, 100, 50, 150), 100 + pick(25, 26, 40, 80)], axis=1)
    return pick(*kinds), boxes, boxes2d.astype(float)


def frame(rng):
    names, boxes, boxes2d = crowd(rng, n := int(rng.integers(0, 9)), ("Car", "Car", "Car", "car", "Van", "DontCare"))
    boxes[(names == "DontCare") | (rng.random(n) < 0.1)] = np.nan
    truncated, occluded = rng.choice([0.0, 0.0, 0.5, 0.51], n), rng.choice([0, 1, 2, 2, 3], n)
    objects = Objects(names, boxes, boxes2d, truncated, occluded)
    names, boxes, boxes2d = crowd(rng, n := int(rng.integers(0, 9)), ("Car", "Car", "Car", "CAR", "Pedestrian"))
    return objects, Detections(names, rng.choice([0.2, 0.5, 0.5, 0.9], n), boxes, boxes2d, np.ones(n))


@pytest.mark.parametrize("ground", [False, True])
def test_every_pair_is_that_of_the_plain_loops(ground):
    rng, states = np.random.default_rng(0), []
    for _ in range(200):
        objects, detections = frame(rng)
        name = rng.choice(["Car", "Car", "Car", "pedestrian"])
        result = (associate_on_ground if ground else associate)(objects, detections, name)
        truth, found = by_loops(objects, detections, name, ground)
        assert (result.truth.tolist(), result.detection.tolist()) == (truth, found)
        states += [min(n, 0) for n in found]
    assert all(states.count(state) > 50 for state in (0, FREE, IGNORED))


def one(name="Car", box=(4.0, 1.6, 1.5), at=(0.0, 10.0), box2d=(100.0, 100, 200, 180)):
    boxes, boxes2d = np.array([[at[0], 1, at[1], *box, 0]]), np.array([box2d], float)
    return np.array([name]), boxes, boxes2d


@pytest.mark.parametrize(("right", "hit"), [(250, True), (251, False)])
def test_half_of_two_thirds_is_enough(right, hit):
    """Intersection over union of 100 x 80 in (right - 50) pixels: 0.5 is a pair."""
    names, boxes, boxes2d = one(box2d=(100, 100, 200, 180))
    objects = Objects(names, boxes, boxes2d, np.zeros(1), np.zeros(1, int))
    wide = np.array([[100.0, 100, right + 50, 180]])
    found = Detections(names, np.ones(1), boxes, wide, np.ones(1))
    assert associate(objects, found, "Car").truth.tolist() == [0 if hit else FREE]


@pytest.mark.parametrize("distance", [5.0, 10.0, 40.0])
def test_on_the_ground_tolerances_are_met_exactly(distance):
    """2 m across the line of sight; along it 2 m, or a fifth of the distance beyond 10 m."""
    names, boxes, boxes2d = one(at=(0.0, distance))
    objects = Objects(names, boxes, boxes2d, np.zeros(1), np.zeros(1, int))
    along = max(2.0, distance / 5)
    for x, z, hit in [(0, along, 1), (0, -along, 1), (2, 0, 1), (-2, 0, 1), (0, along + 0.01, 0), (2.01, 0, 0)]:
        found = Detections(names, np.ones(1), boxes + np.array([x, 0, z, 0, 0, 0, 0]), boxes2d + 900, np.ones(1))
        assert associate_on_ground(objects, found, "Car").truth.tolist() == [0 if hit else FREE], (x, z)
    corner = Detections(names, np.ones(1), boxes + np.array([2, 0, along, 0, 0, 0, 0]), boxes2d, np.ones(1))
    assert associate_on_ground(objects, corner, "Car").truth.tolist() == [0]  # both tolerances at once


def test_an_object_at_the_origin_has_no_line_of_sight_and_no_warning():
    names, boxes, boxes2d = one(at=(0.0, 0.0))
    objects = Objects(names, boxes, boxes2d, np.zeros(1), np.zeros(1, int))
    associate_on_ground(objects, Detections(names, np.ones(1), boxes, boxes2d, np.ones(1)), "Car")


@pytest.mark.parametrize(("covered", "ignored"), [(50, False), (51, True)])
def test_more_than_half_of_a_stray_must_lie_in_a_region(covered, ignored):
    names, boxes, boxes2d = one("DontCare", box2d=(100, 100, 100 + covered, 180))
    objects = Objects(names, boxes * np.nan, boxes2d, np.zeros(1), np.zeros(1, int))
    found = Detections(*one()[:1], np.ones(1), *one()[1:], np.ones(1))
    for pair in (associate, associate_on_ground):
        assert pair(objects, found, "Car").detection.tolist() == [IGNORED if ignored else FREE]


def test_a_class_that_is_none_has_no_neighbours():
    names, boxes, boxes2d = one("Van")
    objects = Objects(names, boxes, boxes2d, np.zeros(1), np.zeros(1, int))
    found = Detections(np.array(["Lorry"]), np.ones(1), boxes, boxes2d, np.ones(1))
    assert associate(objects, found, "Lorry", KITTI_CLASSES).detection.tolist() == [FREE]


def test_the_threshold_takes_all_detections_of_equal_score():
    """By hand: at 0.5 both count, one of them false: F1 is 2 * 2 / (3 + 2); at 0.9 it is 2 * 1 / (1 + 2)."""
    kind = type(associate(Objects.empty(), Detections.empty(), "Car"))
    frame = kind(np.array([0, 1]), np.array([0, 1, FREE, IGNORED]))
    assert best_threshold([(frame, np.array([0.9, 0.5, 0.5, 0.99]))]) == 0.5
    # A further false one at 0.5 makes 0.9 better: 4 / 6 against 2 * 2 / (4 + 2); of equals the higher score.
    frame = kind(np.array([0, 1]), np.array([0, 1, FREE, FREE]))
    assert best_threshold([(frame, np.array([0.9, 0.5, 0.5, 0.5]))]) == 0.9
    nothing = kind(np.array([FREE]), np.array([FREE]))
    assert best_threshold([(nothing, np.array([0.9]))]) == best_threshold([]) == SCORE_THRESHOLD
    assert best_threshold([(kind(np.empty(0, int), np.array([FREE])), np.array([0.9]))]) == SCORE_THRESHOLD


@pytest.mark.parametrize(("across", "nearest"), [(0.9, 0), (1.1, 1)])
def test_on_the_ground_the_nearer_by_squares_is_taken(across, nearest):
    """Half of the tolerance along the line of sight is farther than 0.45 of it across, and nearer than 0.55."""
    names, boxes, boxes2d = (np.repeat(part, 2, axis=0) for part in one(at=(0.0, 10.0)))
    boxes[1, [0, 2]] = across * 0.9, 9.0
    objects = Objects(names, boxes, boxes2d, np.zeros(2), np.zeros(2, int))
    found = boxes[:1] + np.array([across, 0, 0, 0, 0, 0, 0])
    result = associate_on_ground(objects, Detections(names[:1], np.ones(1), found, boxes2d[:1], np.ones(1)), "Car")
    assert result.truth.tolist() == ([0, FREE] if nearest == 0 else [FREE, 0])
