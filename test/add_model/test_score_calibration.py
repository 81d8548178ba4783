"""Calibrated scores are Platt's scaling of the network's, keep the order within a class, and travel with the model."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.special import logit as scipy_logit

from add_model.candidates import Candidates
from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.metadata import read_metadata, write_metadata
from add_model.preprocessing import postprocess
from add_model.score_calibration import calibrated

SLOPES = ((2.0, 1.5), (1.0, 0.0), (0.5, -1.0))
SPEC = ClassSpec(tuple(replace(kind, score_calibration=pair) for kind, pair in zip(KITTI_CLASSES, SLOPES, strict=True)))


@given(st.lists(st.tuples(st.floats(1e-6, 1 - 1e-6), st.integers(0, 2)), max_size=20))
def test_scores_are_scaled_as_scipy_scales_them(pairs):
    scores, labels = np.array([p for p, _ in pairs]), np.array([label for _, label in pairs], int)
    slope, offset = np.array(SLOPES)[labels].T
    expected = expit(slope * scipy_logit(scores) + offset)
    np.testing.assert_allclose(calibrated(scores, labels, SPEC), expected, rtol=1e-6)


def test_the_ends_stay_numbers_and_without_calibration_nothing_changes():
    scores = np.array([0.0, 0.3, 1.0], np.float32)
    assert np.isfinite(calibrated(scores, np.zeros(3, int), SPEC)).all()
    assert calibrated(scores, np.zeros(3, int), KITTI_CLASSES) is scores


def test_detections_are_ordered_by_what_is_published():
    camera = Camera.pinhole(500, 500, 320, 120, 640, 240)
    boxes = np.array([[-6.0, 0, 20, 4, 2, 1.5, 0], [6.0, 0, 20, 4, 2, 1.5, 0]])
    boxes2d = np.array([[100.0, 100, 200, 150], [400, 100, 500, 150]])
    candidates = Candidates(np.array([0.6, 0.5]), np.array([2, 0]), boxes, boxes2d, np.ones(2))
    found = postprocess(candidates, SPEC, camera, camera)
    assert found.names.tolist() == ["Car", "Cyclist"]  # expit(1.5) = 0.82 against expit(0.5 * 0.41 - 1) = 0.31
    np.testing.assert_allclose(found.scores, [expit(1.5), expit(0.5 * scipy_logit(0.6) - 1)])
    np.testing.assert_array_equal(found.boxes, boxes[::-1])


def test_files_carry_it():
    class Network:
        classes, focal, size_multiple, nms = SPEC, 360.0, 32, None

    assert read_metadata(write_metadata(Network)).classes == SPEC


@pytest.mark.parametrize("pair", [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))])
def test_impossible_calibrations_are_refused(pair):
    with pytest.raises(ModelError, match=r"Car.*score_calibration"):
        ClassSpec((replace(KITTI_CLASSES.classes[0], score_calibration=pair),))
