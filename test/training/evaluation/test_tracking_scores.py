"""Scores of tracks against their closed forms: what a switch, a gap, a shift and an ignored object cost."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from add_model.classes import KITTI_CLASSES
from add_model.detections import Detections
from add_model.geometry.boxes import project_boxes
from add_model.geometry.camera import Camera
from training.data.sample import Objects
from training.evaluation.tracking import MissingTrackevalError, TrackedFrame, track_scores

pytest.importorskip("trackeval", reason="trackeval is not installed: requirements/tracking.txt")
CAMERA = Camera.pinhole(720, 720, 620, 187, 1242, 375)
CAR, FRAMES = KITTI_CLASSES.classes[0], 20


def boxes(*places):
    return np.array([[x, 1.0, z, 4.0, 1.7, 1.5, 0.4] for x, z in places]).reshape(-1, 7)


def objects(solid, names="Car", truncated=0.0, occluded=0):
    n = len(solid)
    return Objects(
        np.full(n, names), solid, project_boxes(solid, CAMERA), np.full(n, truncated), np.full(n, occluded, dtype=int)
    )


def found(solid):
    n = len(solid)
    return Detections(np.full(n, "Car"), np.full(n, 0.9), solid, project_boxes(solid, CAMERA), np.ones(n))


def drive(place, ids, shift=0.0, **kind):
    """One object; ids: what it is called in each frame, None where it is not found."""
    frames = []
    for k, name in enumerate(ids):
        solid = boxes(place(k))
        there = solid[: name is not None] + shift * np.eye(7)[0]
        frames.append(
            TrackedFrame(objects(solid, **kind), np.array([7]), found(there), np.array([name or 0])[: len(there)])
        )
    return frames


def still(_):
    return 2.0, 20.0


@pytest.mark.parametrize("on_ground", [False, True])
def test_the_truth_scores_100(on_ground):
    scores = track_scores({"a": drive(lambda k: (k - 9, 20), [5] * FRAMES)}, CAR, on_ground)
    assert (scores.hota, scores.deta, scores.assa, scores.mota, scores.idf1) == pytest.approx((100,) * 5)
    assert (scores.switches, scores.objects, scores.found) == (0, FRAMES, FRAMES)


def test_a_switch_in_the_middle_halves_the_association():
    scores = track_scores({"a": drive(still, [1] * 10 + [2] * 10)}, CAR)
    assert scores.switches == 1
    assert scores.assa == pytest.approx(50) and scores.idf1 == pytest.approx(50)
    assert scores.hota == pytest.approx(100 * np.sqrt(0.5)) and scores.mota == pytest.approx(95)


def test_gaps_cost_detection_and_association():
    ids = [None if k % 10 in (2, 5, 8) else 3 for k in range(FRAMES)]
    scores = track_scores({"a": drive(still, ids)}, CAR)
    assert scores.deta == pytest.approx(70) and scores.assa == pytest.approx(70) and scores.hota == pytest.approx(70)
    assert scores.mota == pytest.approx(70) and scores.idf1 == pytest.approx(100 * 1.4 / 1.7)
    assert scores.switches == 0


@pytest.mark.parametrize(("shift", "similarity"), [(1.0, 0.75), (2.5, 0.375), (5.0, 0.0)])
def test_on_the_ground_a_shift_passes_the_thresholds_below_its_similarity(shift, similarity):
    scores = track_scores({"a": drive(lambda _: (2.0, 40.0), [1] * FRAMES, shift=shift)}, CAR, on_ground=True)
    assert scores.hota == pytest.approx(100 * (np.arange(0.05, 0.99, 0.05) <= similarity + 1e-9).mean())
    assert scores.mota == pytest.approx(100 if similarity >= 0.5 else -100)


def test_what_kitti_ignores_is_neither_missed_nor_wrong():
    nothing = (0, 0)
    for kind in ({"names": "Van"}, {"truncated": 0.4}, {"occluded": 3}):
        scores = track_scores({"a": drive(still, [1] * FRAMES), "b": drive(still, [1] * FRAMES, **kind)}, CAR)
        assert (scores.objects, scores.found) == (FRAMES, FRAMES), kind
    low = [TrackedFrame(objects(boxes()), np.empty(0, int), found(boxes((0, 60))), np.array([1]))] * FRAMES
    care = Objects(
        np.array(["DontCare"]),
        np.full((1, 7), np.nan),
        np.array([[0.0, 0, 1241, 374]]),
        np.array([-1.0]),
        np.array([-1]),
    )
    hidden = [TrackedFrame(care, np.array([-1]), found(boxes((2, 20))), np.array([1]))] * FRAMES
    for frames in (low, hidden):
        scores = track_scores({"a": drive(still, [1] * FRAMES), "b": frames}, CAR)
        assert (scores.objects - FRAMES, scores.found - FRAMES) == nothing
    wrong = [TrackedFrame(objects(boxes()), np.empty(0, int), found(boxes((2, 20))), np.array([1]))] * FRAMES
    assert track_scores({"a": drive(still, [1] * FRAMES), "b": wrong}, CAR).mota == pytest.approx(0)


def test_every_class_is_scored_by_its_own_objects():
    frames = drive(still, [1] * FRAMES, names="Cyclist")
    assert track_scores({"a": frames}, KITTI_CLASSES.classes[2]).found == 0
    assert track_scores({"a": frames}, CAR).objects == 0


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackeval", None)
    monkeypatch.setitem(sys.modules, "trackeval.datasets", None)
    with pytest.raises(MissingTrackevalError, match="pip install --no-deps trackeval"):
        track_scores({"a": drive(still, [1])}, CAR)
