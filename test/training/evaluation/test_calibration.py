"""A calibration is found again from outcomes that were drawn by it, and leaves honest scores as they are."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detections import Detections
from add_model.metadata import read_classes
from training.calibrate_scores import calibrate, main
from training.data.kitti.dataset import KittiFolder
from training.evaluation.association import FREE, IGNORED, Association, outcomes
from training.evaluation.calibration import fit_calibration, reliability
from training.world import main as world_main


@pytest.mark.parametrize("slope, offset", [(1.0, 0.0), (1.7, 2.0), (0.6, -1.0)])
def test_it_is_found_again(slope, offset):
    rng = np.random.default_rng(0)
    scores = expit(rng.normal(-2, 1.5, 20000))
    right = rng.random(len(scores)) < expit(slope * logit(scores) + offset)
    found = fit_calibration(scores, right)
    np.testing.assert_allclose(found, (slope, offset), atol=0.1)
    # The best of all: no neighbour is likelier.
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))

    def likelihood(pair):
        p = expit(pair[0] * logit(scores) + pair[1])
        return np.sum(target * np.log(p) + (1 - target) * np.log1p(-p))

    best = likelihood(found)
    for step in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        assert likelihood(np.add(found, step)) < best


@pytest.mark.parametrize("hits, misses", [(9, 100), (100, 9), (0, 0)])
def test_too_few_say_nothing(hits, misses):
    right = np.repeat([True, False], [hits, misses])
    assert fit_calibration(np.full(len(right), 0.5), right) is None


def test_only_detections_that_count_are_asked():
    pairs = Association(np.array([1]), np.array([FREE, 0, IGNORED]))
    scores, right = outcomes(
        [(pairs, np.array([0.9, 0.8, 0.7])), (Association(np.empty(0, int), np.empty(0, int)), np.empty(0))]
    )
    assert scores.tolist() == [0.9, 0.8] and right.tolist() == [False, True]
    assert [len(values) for values in outcomes([])] == [0, 0]


def test_reliability_counts_by_hand():
    scores, right = np.array([0.0, 0.2, 0.5, 0.99, 1.0]), np.array([False, True, True, False, True])
    count, share = reliability(scores, right, np.array([0, 0.25, 0.5, 0.75, 1]))
    assert count.tolist() == [2, 0, 1, 2]
    np.testing.assert_array_equal(share, [0.5, np.nan, 1, 0.5])


class Sure:
    """Finds every labelled car and as many that are not there; its scores of 0.2 and 0.1 are right in 100 and 0%."""

    class_spec = KITTI_CLASSES

    def __init__(self, frames):
        self.objects = [frames.sample(i).objects for i in range(len(frames))]
        self.turn = 0

    def predict(self, image, camera):
        objects = self.objects[self.turn]
        self.turn += 1
        cars = objects[objects.names == "Car"]
        n = len(cars)
        elsewhere = cars.boxes2d + np.array([0, 1000, 0, 1000])
        return Detections(
            np.array(["Car"] * (2 * n)),
            np.repeat([0.2, 0.1], n),
            np.concatenate([cars.boxes, cars.boxes]),
            np.concatenate([cars.boxes2d, elsewhere]),
            np.ones(2 * n),
        )


def test_the_command_measures_labelled_frames(tmp_path, capsys):
    assert world_main(["--out", str(tmp_path / "w"), "--frames", "12", "--width", "621", "--height", "188"]) == 0
    frames = KittiFolder(tmp_path / "w", [f"{i:06}" for i in range(12)])
    classes, text = calibrate([(Sure(frames), frames)])
    car = classes.classes[0]
    slope, offset = car.score_calibration
    assert expit(slope * logit(0.2) + offset) > 0.85 and expit(slope * logit(0.1) + offset) < 0.15
    # Of pedestrians nothing is known: they take what holds for all classes together, here the cars'.
    assert [kind.score_calibration for kind in classes] == [car.score_calibration] * 3
    assert "Pedestrian: 0 right of 0" in text and "as of all classes together" in text
    again, _ = calibrate([(_with(Sure(frames), classes), frames)])
    # What was calibrated is calibrated anew from what it gives now, which here are the raw scores.
    a, b = again.classes[0].score_calibration
    np.testing.assert_allclose((a, b), (slope * slope, slope * offset + offset), rtol=1e-5)

    # Cross-fitting: what two models say of their own frames counts together.
    parts = [KittiFolder(tmp_path / "w", frames.ids[:7]), KittiFolder(tmp_path / "w", frames.ids[7:])]
    assert calibrate([(Sure(part), part) for part in parts]) == (classes, text)
    with pytest.raises(ValueError, match="the models differ in their classes or their calibration"):
        calibrate([(Sure(parts[0]), parts[0]), (_with(Sure(parts[1]), classes), parts[1])])

    out = tmp_path / "classes.json"
    capsys.readouterr()
    arguments = [
        "--model",
        "monodle_lite0",
        "--data",
        str(tmp_path / "w"),
        "--ids",
        str(tmp_path / "w/ImageSets/train.txt"),
    ]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "Car:" in capsys.readouterr().out
    once = tmp_path / "once.json"
    assert main([*arguments, "--out", str(once), "--no-flip-test", "--device", "cpu"]) == 0
    assert once.read_text() != out.read_text()  # scores are others without the flip test
    capsys.readouterr()
    assert read_classes(out).names == KITTI_CLASSES.names and len(json.loads(out.read_text())) == 3
    halves = [tmp_path / "first.txt", tmp_path / "second.txt"]
    for half, part in zip(halves, parts, strict=True):
        half.write_text("\n".join(part.ids))
    both = [*arguments[:2], "monodle_lite0", *arguments[2:5], *map(str, halves)]
    assert main([*both, "--out", str(tmp_path / "both.json")]) == 0
    assert (tmp_path / "both.json").read_text() == out.read_text()
    capsys.readouterr()
    assert main([*both[:-1], "--out", str(out)]) == 1
    assert capsys.readouterr().err == "error: 2 models but 1 files of --ids: give one for each\n"
    assert main([*arguments[:2], "--data", str(tmp_path / "none"), *arguments[4:], "--out", str(out)]) == 1
    assert "none" in capsys.readouterr().err


def _with(predictor, classes: ClassSpec):
    predictor.class_spec = ClassSpec(tuple(replace(kind) for kind in classes))
    return predictor
