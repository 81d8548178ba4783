"""Errors against distance: quartiles and bins against numpy on single objects."""

import numpy as np

from add_model.detections import Detections
from training.data.sample import Objects
from training.evaluation.association import FREE, IGNORED, Association
from training.evaluation.distance import EDGES, object_errors


def objects(boxes):
    n = len(boxes)
    return Objects(np.array(["Car"] * n), boxes, np.zeros((n, 4)), np.zeros(n), np.zeros(n, int))


def detections(boxes):
    n = len(boxes)
    return Detections(np.array(["Car"] * n), np.ones(n), boxes, np.zeros((n, 4)), np.ones(n))


def test_bins_are_of_ten_metres_and_one_beyond():
    assert EDGES.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, np.inf]


def test_errors_by_loops():
    """Frames of objects that are found, missed or not counted, by detections in another order, some without a box."""
    rng = np.random.default_rng(0)
    frames, wanted = [], []
    for frame in range(5):
        truth = rng.uniform([-30, -1, 0, 1, 1, 1, -np.pi], [30, 1, 100, 5, 5, 5, np.pi], (8, 7))
        truth[:3, [0, 2]] *= 0.1  # in the first bin
        found = truth + rng.normal(0, [1, 1, 3, 0.3, 0.3, 0.3, 2], (8, 7))
        found[0] = np.nan
        order, state = rng.permutation(8), rng.choice([0, FREE, IGNORED], 8, p=[0.6, 0.2, 0.2])
        partner = np.where(state == 0, order, state)
        seen = np.empty_like(found)
        seen[order] = found
        frames.append((objects(truth), detections(seen), Association(partner, np.zeros(8, int))))
        for m in np.flatnonzero(state != IGNORED):
            off, hit = np.abs(found[m] - truth[m]), state[m] == 0
            turn = np.degrees(np.arccos(np.cos(found[m, 6] - truth[m, 6])))
            row = [off[2], off[0], off[3:6].mean(), turn] if hit else [np.nan] * 4
            wanted.append((frame, np.hypot(truth[m, 0], truth[m, 2]), hit, row))
    errors = object_errors(frames)
    number, distance, hit, rows = (np.array(column) for column in zip(*wanted, strict=True))
    np.testing.assert_array_equal(errors.frame, number)
    np.testing.assert_allclose(errors.distance, distance)
    np.testing.assert_array_equal(errors.found, hit)
    np.testing.assert_allclose(errors.error, rows, atol=1e-5)
    binned = errors.binned()
    for i, low in enumerate(range(0, 90, 10)):
        inside = (distance >= low) & (distance < (low + 10 if low < 80 else np.inf))
        assert (binned.objects[i], binned.found[i]) == (inside.sum(), (inside & hit).sum())
        known = rows[inside & np.isfinite(rows).all(axis=1)]
        for k, name in enumerate(("depth", "lateral", "size", "heading")):
            quartiles = np.percentile(known[:, k], [25, 50, 75]) if len(known) else [np.nan] * 3
            np.testing.assert_allclose(getattr(binned, name)[:, i], quartiles, atol=1e-5)
    assert np.isnan(binned.depth).any() and (binned.objects > 2).any() and binned.objects[0] > 2
    assert len(binned.objects) == len(binned.found) == len(binned.edges) - 1 == 9


def test_nothing_at_all_has_no_errors():
    errors = object_errors([])
    assert errors.error.shape == (0, 4) and not errors.binned().objects.any() and np.isnan(errors.binned().recall).all()
