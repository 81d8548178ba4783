"""Labels in a wrong frame, unit or order are named by the points, and right ones are not."""

import numpy as np
import pytest

from training.data.label_formats.cuboids import Cuboids
from training.data.label_formats.faults import faults


def scene(seed, kinds=((4.2, 1.7, 1.5), (1.2, 0.8, 0.9), (0.7, 0.6, 1.75))):
    """(cuboids, points on their sides and on the ground at z = -1.7)."""
    rng = np.random.default_rng(seed)
    rows, clouds = [], [np.c_[rng.uniform(3, 35, 3000), rng.uniform(-15, 15, 3000), np.full(3000, -1.7)]]
    for _ in range(6):
        length, width, height = np.array(kinds[rng.integers(len(kinds))]) * rng.uniform(0.9, 1.1, 3)
        box = [rng.uniform(6, 30), rng.uniform(-10, 10), -1.7 + height / 2, length, width, height, rng.uniform(-3, 3)]
        rows.append(("thing", box))
        local = rng.uniform(-0.48, 0.48, (150, 3))
        local[np.arange(150), rng.integers(0, 2, 150)] = 0.48 * rng.choice([-1, 1], 150)
        c, s = np.cos(box[6]), np.sin(box[6])
        clouds.append(local * box[3:6] @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + box[:3])
    return Cuboids.of(rows), np.concatenate(clouds)


def changed(change):
    for seed in range(6):
        cuboids, points = scene(seed)
        boxes = change(cuboids.boxes.copy())
        yield Cuboids(cuboids.names, boxes, cuboids.occluded, cuboids.scores), points


def heading(factor):
    return lambda b: np.c_[b[:, :6], factor * b[:, 6]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda b: np.c_[b[:, :6], np.degrees(b[:, 6])], "degrees, where radians are needed"),
        (heading(-1), "headings that turn clockwise"),
        (lambda b: b[:, [0, 1, 2, 4, 3, 5, 6]], "length and width swapped"),
        (lambda b: b[:, [0, 1, 2, 3, 5, 4, 6]], "on their side: sizes in the order length, height, width"),
        (lambda b: b[:, [0, 1, 2, 5, 4, 3, 6]], "on their side: sizes in the order height, width, length"),
        (lambda b: np.c_[-b[:, 1], -b[:, 2], b[:, 0], b[:, 3:6], -b[:, 6] - np.pi / 2], "the frame of the camera"),
        (lambda b: np.c_[b[:, 0], -b[:, 1], b[:, 2:6], -b[:, 6]], "y to the right"),
        (lambda b: np.c_[-b[:, 1], b[:, 0], b[:, 2:6], b[:, 6] + np.pi / 2], "x to the right and y ahead"),
        (lambda b: np.c_[1000 * b[:, :6], b[:, 6]], "millimetres"),
        (lambda b: np.c_[100 * b[:, :6], b[:, 6]], "centimetres"),
        (lambda b: b - [0, 0, 1, 0, 0, 0, 0] * b[:, [5]] / 2, "is z that of the bottom"),
        (lambda b: np.add(b, [50, 30, 8, 0, 0, 0, 0]), None),
    ],
)
def test_each_fault_is_named(change, sentence):
    found = faults(changed(change))
    if sentence is None:  # beside everything: beyond the reach within which boxes have points
        assert found == []
    else:
        assert sentence in "; ".join(found)


def test_boxes_beside_their_points_are_named():
    assert "boxes within 40 m have no points" in faults(changed(lambda b: np.add(b, [2.0, 6, 4, 0, 0, 0, 0])))[0]


def test_right_labels_have_no_fault_with_scans_and_without():
    assert faults(changed(lambda b: b)) == []
    assert faults((cuboids, np.empty((0, 3))) for cuboids, _ in changed(lambda b: b)) == []
    assert faults([]) == []


def test_kittis_labels_fit_their_scans(kitti_mini):
    from training.data.kitti.dataset import KittiFolder
    from training.data.kitti.splits import read_ids
    from training.data.label_formats.cuboids import to_cuboids
    from training.labels import _DataSet

    data = _DataSet.open(kitti_mini, str(kitti_mini / "ImageSets" / "train.txt"))
    labelled = KittiFolder(kitti_mini, read_ids(kitti_mini / "ImageSets" / "train.txt"))
    chosen = [i for i in range(len(labelled)) if len(data.points(i, False))][:15]
    pairs = [(to_cuboids(labelled.objects(i), data.to_camera(i, False)), data.points(i, False)) for i in chosen]
    assert sum(len(cuboids) for cuboids, _ in pairs) > 20
    assert faults(pairs) == []
    swapped = [(Cuboids(c.names, c.boxes[:, [0, 1, 2, 4, 3, 5, 6]], c.occluded, c.scores), p) for c, p in pairs]
    assert "length and width swapped" in "; ".join(faults(swapped))
