"""Two runs compared: every interval against scoring the resampled frames anew, and which frames are drawn together."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from add_model.classes import KITTI_CLASSES
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_ros.bag_evaluation.compare import MEASURES, compare
from add_ros.bag_evaluation.run import EvaluatedFrame, EvaluatedRun
from add_ros.bag_evaluation.scoring import score
from add_ros.bag_evaluation.text import difference_rows, format_comparison
from training.data.sample import Objects
from training.evaluation.average_precision import METRICS
from training.evaluation.bootstrap import resamples
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import EDGES, QUANTITIES

CAMERA = Camera.pinhole(700, 700, 600, 180, 1200, 360)
LEAST = 0.3
FRAMES = 40
ARRAYS = ("names", "scores", "boxes", "boxes2d", "depth_std")


def projected(boxes):
    return box3d.clip_to_image(box3d.project_boxes(boxes, CAMERA), CAMERA)


def drive(rng, frames):
    """Frames with 1 to 5 objects in sight, with 2D boxes."""
    made = []
    for i in range(frames):
        n = rng.integers(1, 6)
        z = rng.uniform(8, 55, n)
        boxes = np.stack([rng.uniform(-0.6, 0.6, n) * z, np.full(n, 0.9), z, *np.tile([[4.0], [1.7], [1.5]], n),
                          rng.uniform(-3, 3, n)], axis=1)  # fmt: skip
        names = rng.choice(["Car", "Car", "Pedestrian", "Van"], n)
        objects = Objects(names, boxes, projected(boxes), np.zeros(n), rng.integers(0, 3, n))
        ids = np.full(n, "")
        made.append(EvaluatedFrame(10**18 + i * 10**8, "camera", CAMERA, objects, ids, Detections.empty()))
    return made


def detected(rng, frames, noise):
    """Each object is found in four of five cases, displaced along the line of sight, among one stray a frame."""
    found = []
    for frame in frames:
        kept = rng.uniform(size=len(frame.objects)) < 0.8
        boxes, names = frame.objects.boxes[kept].copy(), frame.objects.names[kept]
        boxes[:, [0, 2]] *= 1 + rng.normal(0, noise, (len(boxes), 1))
        boxes[:, 6] += rng.normal(0, 0.1, len(boxes))
        boxes = np.vstack([boxes, [[rng.uniform(-4, 4), 0.9, rng.uniform(10, 50), 4, 1.7, 1.5, 0.3]]])
        names = np.append(np.where(names == "Van", "Car", names), "Car")
        scores = np.round(rng.uniform(0.1, 1, len(names)), 2)
        order = np.argsort(-scores, kind="stable")
        detections = Detections(names, scores, boxes, projected(boxes), np.ones(len(names)))[order]
        found.append(replace(frame, detections=detections))
    return found


def run(name, frames):
    return EvaluatedRun(name, "bag", frames, Counter(), [])


@pytest.fixture(scope="module")
def sides():
    rng = np.random.default_rng(8)
    frames = drive(rng, FRAMES)
    return [score(run(name, detected(rng, frames, noise)), LEAST) for name, noise in (("a", 0.06), ("b", 0.02))]


def anew(scored, drawn):
    """AP_R40 strict, and the median depth error of cars by bin, of frames drawn: by the whole-set functions alone."""
    frames = [scored.frames[i] for i in drawn]
    again = score(run("again", frames), LEAST)
    table = again.scores.percent("R40", "strict")
    ap = np.array([[table[name][metric] or [np.nan] * 3 for metric in METRICS] for name in KITTI_CLASSES.names])
    return ap, again.classes["Car"].distance.depth[1], again.classes["Car"].distance.recall


@pytest.mark.parametrize("block", [1, 4])
def test_every_interval_is_that_of_scoring_the_resampled_frames_anew(sides, block):
    comparison = compare(*sides, count=10, block=block, seed=3)
    assert comparison.paired
    differences = ([], [], [])
    for weights in resamples(FRAMES, 10, block, seed=3):
        drawn = np.repeat(np.arange(FRAMES), weights)
        for kept, x, y in zip(differences, anew(sides[0], drawn), anew(sides[1], drawn), strict=True):
            kept.append(y - x)
    ends = [2.5, 97.5]
    np.testing.assert_allclose(comparison.ap[2:, 0, :2], np.percentile(differences[0], ends, axis=0)[:, :2], atol=1e-9)
    car = comparison.distance[:, KITTI_CLASSES.index("Car")]
    for values, measure in ((differences[1], "depth"), (differences[2], "recall")):
        values = np.array(values)[:, 1:5]
        unknown = np.isnan(values).sum(axis=0) > 1  # fewer than nine in ten resamples have a value
        low, high = np.where(unknown, np.nan, np.nanpercentile(values, ends, axis=0))
        np.testing.assert_allclose(car[2:, MEASURES.index(measure), 1:5], [low, high], atol=1e-9)
    whole = [anew(side, range(FRAMES)) for side in sides]
    np.testing.assert_allclose(comparison.ap[:2, 0, :2], [w[0][:2] for w in whole], atol=1e-9)
    assert comparison.ap[1, 0, 0, 3, 1] > comparison.ap[0, 0, 0, 3, 1]  # less noise, more 3D AP


def test_the_better_depth_shows_and_is_marked(sides):
    """Depth errors of 6% against 2%: the median error falls, and the interval excludes 0 where there are many cars."""
    comparison = compare(*sides, count=100)
    first, second, low, high = comparison.distance[:, 0, MEASURES.index("depth"), 2]
    assert second < 0.7 * first and low <= second - first <= high < 0
    lines = [line for line in format_comparison(comparison).splitlines() if "depth, m, 20 to 30 m" in line]
    assert lines and lines[0].endswith("*")
    entry = comparison.to_json()["distance"]["Car"]["depth"][2]
    assert entry == {"first": first, "second": second, "difference": second - first, "low": low, "high": high}
    assert len(comparison.to_json()["distance"]["Car"]["recall"]) == len(EDGES) - 1
    assert set(MEASURES) == {"recall", *QUANTITIES}


def test_other_frames_are_drawn_independently(sides):
    rng = np.random.default_rng(9)
    other = score(run("other", detected(rng, drive(rng, 30), 0.02)), LEAST)
    comparison = compare(sides[0], other, count=20)
    assert not comparison.paired and comparison.agreement is None
    # The same stamps, but another scene: not the same frames.
    shifted = [replace(frame, objects=frame.objects[:0]) for frame in sides[0].frames]
    assert not compare(sides[0], score(run("empty", shifted), LEAST), count=20).paired


@pytest.mark.parametrize("block", [5, FRAMES, FRAMES + 1])
def test_too_few_blocks_give_no_interval_and_say_so(sides, block):
    """8 blocks or fewer: one block of all frames would make every resample the whole set, and every difference sure."""
    comparison = compare(*sides, count=20, block=block)
    assert np.isnan(comparison.ap[2:]).all() and np.isnan(comparison.distance[2:]).all()
    np.testing.assert_array_equal(comparison.ap[:2], compare(*sides, count=20).ap[:2])
    text = format_comparison(comparison)
    said = f"No intervals: {FRAMES} frames hold fewer than 10 blocks of {block}"
    assert said in text and "--block 4 or less gives some" in text and "*" not in text and " to +" not in text
    (note,) = comparison.to_json()["notes"]
    assert note.startswith(said)
    entry = comparison.to_json()["AP_R40"]["strict"]["Car"]["bbox"][2]
    assert entry["low"] is None and entry["difference"] == pytest.approx(entry["second"] - entry["first"])


def test_the_usual_block_is_taken_and_reported(sides):
    comparison = compare(*sides, count=20)
    assert comparison.block == comparison.to_json()["block"] == 2 and comparison.intervals
    assert "resamples of blocks of 2 consecutive frames" in format_comparison(comparison)


def test_ap_of_few_objects_is_compared_on_the_same_frames_only(sides):
    """Perfect detections of 8 frames and of all: AP differs by the number of objects alone, which is no difference."""

    def perfect(name, frames):
        named = [
            replace(f, detections=Detections(o.names, np.linspace(1, 0.5, len(o)), o.boxes, o.boxes2d, np.ones(len(o))))
            for f in frames
            for o in [f.objects[f.objects.names != "Van"]]
        ]
        return score(run(name, named), LEAST)

    few, many = perfect("few", sides[0].frames[:8]), perfect("many", sides[0].frames)
    cars = [few.scores.objects["Car"][2], many.scores.objects["Car"][2]]
    assert cars[0] < 41 <= cars[1]
    comparison = compare(few, many, count=20)
    first, second = comparison.ap[:2, 0, 0, 0, 2]
    assert first == pytest.approx(100 * (cars[0] - 1) / 40) and second == pytest.approx(100)
    titles = {row[0] for _, rows in difference_rows(comparison) for row in rows}
    assert not [title for title in titles if title.startswith(("Car", "Pedestrian")) and title.endswith(DIFFICULTIES)]
    assert "recall, 20 to 30 m" in titles  # which needs no number of objects
    text = format_comparison(comparison)
    assert "AP is left out where the two sets differ" in text and f"Car hard ({cars[0]} and {cars[1]})" in text
    entry = comparison.to_json()["AP_R40"]["strict"]["Car"]["bbox"][2]
    assert entry == {"first": first, "second": second, "difference": None, "low": None, "high": None}
    # The same frames have the same objects, however few.
    same = compare(few, few, count=20)
    assert same.comparable("Car", 0) and "left out" not in format_comparison(same)


def test_a_difference_that_is_printed_as_none_has_no_star():
    """A shift of 2 mm in every depth is sure, and 0.00 m in print; one of 2 cm is both."""
    for shift, star in ((0.002, False), (0.02, True)):
        frames = drive(np.random.default_rng(3), 20)
        exact, moved = [], []
        for frame in frames:
            o = frame.objects
            for kept, by in ((exact, 0), (moved, shift)):
                boxes = o.boxes + by * np.eye(7)[2]
                kept.append(
                    replace(frame, detections=Detections(o.names, np.ones(len(o)), boxes, o.boxes2d, np.ones(len(o))))
                )
        comparison = compare(*(score(run("x", side), LEAST) for side in (exact, moved)), count=20)
        rows = {row[0]: row for _, rows in difference_rows(comparison) for row in rows}
        row = rows["depth, m, 20 to 30 m"]
        assert comparison.distance[2, 0, MEASURES.index("depth"), 2] == pytest.approx(shift)
        assert (row[3], row[6]) == (f"+{shift:.2f}", "*" if star else "")


def test_agreement_counts_what_differs(sides):
    """One detection moved by 2 mm and scored otherwise, one dropped, one added far away."""
    frames = list(sides[0].frames)
    found = frames[0].detections
    boxes = found.boxes.copy()
    boxes[0, 0] += 0.002
    frames[0] = replace(frames[0], detections=replace(found, boxes=boxes, scores=found.scores + 0.05))
    frames[1] = replace(frames[1], detections=frames[1].detections[1:])
    extra = frames[2].detections
    far = replace(extra[:1], boxes=extra.boxes[:1] + 20 * np.eye(7)[2])
    frames[2] = replace(
        frames[2],
        detections=Detections(*(np.concatenate([getattr(extra, f), getattr(far, f)]) for f in ARRAYS)),
    )
    agreement = compare(sides[0], score(run("changed", frames), LEAST), count=20).agreement
    assert (agreement.frames, agreement.same, agreement.first, agreement.second) == (FRAMES, FRAMES - 2, 1, 1)
    assert agreement.shift == pytest.approx(0.002) and agreement.score == pytest.approx(0.05)
    assert agreement.turn == 0
