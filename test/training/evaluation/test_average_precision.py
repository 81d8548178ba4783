"""The official evaluation: closed-form cases, and a plain-loop transcription of the rules as an independent truth."""

import math
import tracemalloc
from dataclasses import replace
from functools import lru_cache
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon
from support.label_lines import found, label
from support.own_classes import FORKLIFT, PALLET, WAREHOUSE

from add_model.classes import KITTI_CLASSES, ClassSpec, ObjectClass
from training.data.kitti.labels import COLUMNS, LabelTable, parse_table
from training.evaluation import average_precision, table_rows
from training.evaluation.average_precision import METRICS, OVERLAPS, evaluate, min_overlap, tallies
from training.evaluation.tally import RECALLS, recall_thresholds

LEVELS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.3), "hard": (25, 2, 0.5)}
NEIGHBOUR = {"car": "van", "pedestrian": "person_sitting"}


def score(labels, results, classes=KITTI_CLASSES):
    """Frames of label lines and of result lines -> the JSON table."""
    tables = [parse_table("\n".join(lines), "labels") for lines in labels]
    detected = [parse_table("\n".join(lines), "results", scores=True) for lines in results]
    return evaluate(tables, detected, classes).to_json()


# The rules, object by object, as loops over the whole set for each class, difficulty and metric.


class Row:
    def __init__(self, name, values):
        self.kind = name.lower()
        (self.truncated, self.occluded, self.alpha, self.x1, self.y1, self.x2, self.y2) = values[:7]
        (self.h, self.w, self.l, self.x, self.y, self.z, self.ry, self.score) = values[7:]

    def polygon(self):
        c, s = math.cos(self.ry), math.sin(self.ry)
        corners = [(self.l / 2, self.w / 2), (self.l / 2, -self.w / 2), (-self.l / 2, -self.w / 2)]
        corners.append((-self.l / 2, self.w / 2))
        return Polygon([(self.x + c * a + s * b, self.z - s * a + c * b) for a, b in corners])


@lru_cache(4096)
def slow_overlap(metric, a, b, of_a=False):
    if metric == "bbox":
        w, h = min(a.x2, b.x2) - max(a.x1, b.x1), min(a.y2, b.y2) - max(a.y1, b.y1)
        if w <= 0 or h <= 0:
            return 0
        area_a, area_b = (a.x2 - a.x1) * (a.y2 - a.y1), (b.x2 - b.x1) * (b.y2 - b.y1)
        return w * h / (area_a if of_a else area_a + area_b - w * h)
    if math.hypot(a.x - b.x, a.z - b.z) > 10 or min(a.w, a.l, b.w, b.l) <= 0:
        return 0
    part = a.polygon().intersection(b.polygon()).area
    size_a, size_b = a.w * a.l, b.w * b.l
    if metric == "3d":
        part *= max(0, min(a.y, b.y) - max(a.y - a.h, b.y - b.h))
        size_a, size_b = size_a * a.h, size_b * b.h
    whole = size_a if of_a else size_a + size_b - part
    return part / whole - 1e-9 if whole > 0 else 0  # shapely's rounding must not lift a tie above the threshold


def slow_curves(frames, kind, level, metric, threshold):
    height, occluded, truncated = LEVELS[level]
    prepared = []
    for truths, detections in frames:
        state_t = []
        for t in truths:
            hard = t.occluded > occluded or t.truncated > truncated or t.y2 - t.y1 <= height
            same, near = t.kind == kind, t.kind == NEIGHBOUR.get(kind)
            state_t.append(("ignored" if hard or near else "valid") if same or near else None)
        state_d = []
        for d in detections:
            short = int(abs(d.y2 - d.y1)) < height
            state_d.append("ignored" if short else "valid" if d.kind == kind else None)
        prepared.append((truths, detections, state_t, state_d))

    scores = []
    for truths, detections, state_t, state_d in prepared:
        taken = set()
        for i, t in enumerate(truths):
            best = None
            for j, d in enumerate(detections):
                free = state_t[i] and state_d[j] and j not in taken
                if (
                    free
                    and slow_overlap(metric, d, t) > threshold
                    and (best is None or d.score > detections[best].score)
                ):
                    best = j
            if best is not None:
                taken.add(best)
                if state_t[i] == state_d[best] == "valid":
                    scores.append(detections[best].score)
    total = sum(state.count("valid") for _, _, state, _ in prepared)

    scores.sort(reverse=True)
    thresholds, recall = [], 0.0
    for i, value in enumerate(scores):
        left = (i + 1) / total
        right = (i + 2) / total if i + 1 < len(scores) else left
        if right - recall < recall - left and i + 1 < len(scores):
            continue
        thresholds.append(value)
        recall += 1 / 40

    precision, similarity = [0.0] * 41, [0.0] * 41
    for k, least in enumerate(thresholds):
        hits, misses, alike = 0, 0, 0.0
        for truths, detections, state_t, state_d in prepared:
            taken = set()
            for i, t in enumerate(truths):
                valid, ignored = None, None
                for j, d in enumerate(detections):
                    if not state_t[i] or not state_d[j] or j in taken or d.score < least:
                        continue
                    overlap = slow_overlap(metric, d, t)
                    if overlap > threshold:
                        if state_d[j] == "valid" and (valid is None or overlap > valid[0]):
                            valid = (overlap, j)
                        if state_d[j] == "ignored" and ignored is None:
                            ignored = j
                j = valid[1] if valid else ignored
                if j is not None:
                    taken.add(j)
                    if state_t[i] == state_d[j] == "valid":
                        hits += 1
                        alike += (1 + math.cos(t.alpha - detections[j].alpha)) / 2
            regions = [t for t in truths if t.kind == "dontcare"]
            for j, d in enumerate(detections):
                counts = state_d[j] == "valid" and j not in taken and d.score >= least
                if counts and not any(slow_overlap(metric, d, r, of_a=True) > threshold for r in regions):
                    misses += 1
        if hits + misses:
            precision[k], similarity[k] = hits / (hits + misses), alike / (hits + misses)
    best = [max(precision[k:]) for k in range(41)], [max(similarity[k:]) for k in range(41)]
    return [(100 * sum(c[1:]) / 40, 100 * sum(c[::4]) / 11) for c in best]


def slow_score(labels, results):
    frames = [
        tuple([Row(n, v) for n, v in zip(t.names, t.values.tolist(), strict=True)] for t in pair)
        for pair in zip(labels, results, strict=True)
    ]
    detections = [d for _, found in frames for d in found]
    table = {}
    for kind, overlaps in (("car", (0.7, 0.5)), ("pedestrian", (0.5, 0.25)), ("cyclist", (0.5, 0.25))):
        own = [d for d in detections if d.kind == kind]
        ground = [d for d in own if d.x != -1000 and d.z != -1000 and d.w > 0 and d.l > 0]
        seen = {"bbox": any(d.x1 >= 0 for d in own), "bev": bool(ground)}
        seen["3d"] = any(d.y != -1000 and d.h > 0 for d in ground)
        for which, looser in (("strict", 0), ("loose", 1)):
            for metric in ("bbox", "bev", "3d"):
                threshold = overlaps[0 if metric == "bbox" else looser]
                values = [slow_curves(frames, kind, level, metric, threshold) for level in LEVELS]
                for name, k in ((metric, 0), ("aos", 1)) if metric == "bbox" else ((metric, 0),):
                    on = seen[metric] and not (name == "aos" and any(d.alpha == -10 for d in detections))
                    for points, p in (("R40", 0), ("R11", 1)):
                        key = points, which, kind.capitalize(), name
                        table[key] = [v[k][p] for v in values] if on else None
    return table


@st.composite
def sets(draw):
    """Small crowded frames: few places, so that boxes compete, ties and exact thresholds abound."""
    pick = lambda *values: draw(st.sampled_from(values))  # noqa: E731
    main = pick("Car", "Pedestrian", "Cyclist")
    kinds = (*[main] * 8, "Car", "car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck")
    frames = []
    for _ in range(draw(st.integers(1, 3))):
        texts = [], []
        for scored, texts_of in enumerate(texts):
            for _ in range(draw(st.integers(0, 7))):
                left, width, height = (
                    100 + pick(0, 5, 10, 100),
                    pick(100, 100, 70, 50),
                    pick(25, 24.99, 40, 39.5, 60, 60),
                )
                place = (pick(0, 0.25, 0.5, 9), 1.5, 20 + pick(0, 0, 0.25, 1))
                size = (pick(1.5, 1.5, 0.75, 0), pick(1.5, 1.5, 0.75, 0), pick(4, 4, 2, 2.8))
                other = {"alpha": pick(0, 0.5, 3), "ry": pick(0, 0, 0, math.pi / 2, 0.4)}
                if scored:
                    other["score"] = pick(0.25, 0.5, 0.5, 0.75)
                    other["alpha"] = pick(0, 0.5, 3, 3, -10) if draw(st.booleans()) else 1
                else:
                    other |= {"occluded": pick(0, 0, 0, 1, 2, 3), "truncated": pick(0, 0, 0, 0.15, 0.16, 0.5, 0.51)}
                line = label(pick(*kinds), (left, 100, left + width, 100 + height), place, size, **other)
                texts_of.append(line)
        for _ in range(draw(st.integers(0, 2))):
            box = (100, 100, 100 + pick(50, 35, 100), 100 + pick(60, 20))
            texts[0].append(label("DontCare", box, (-1000,) * 3, (-1,) * 3, alpha=-10, occluded=-1, ry=-10))
        frames.append(texts)
    return frames


@settings(max_examples=60)
@given(sets())
def test_every_value_equals_the_plain_loops(frames):
    labels = [parse_table("\n".join(lines), "labels") for lines, _ in frames]
    results = [parse_table("\n".join(lines), "results", scores=True) for _, lines in frames]
    table = evaluate(labels, results).to_json()
    for (points, which, kind, metric), expected in slow_score(labels, results).items():
        value = table[points][which][kind][metric]
        where = f"{points} {which} {kind} {metric}"
        assert (value is None) == (expected is None), where
        assert expected is None or value == pytest.approx(expected, abs=1e-9), where


@settings(max_examples=60)
@given(sets(), st.data())
def test_weighted_frames_score_as_the_repeated_frames_do(frames, data):
    """Tallies made once, against scoring anew the set in which each frame stands as often as its weight says."""
    labels = [parse_table("\n".join(lines), "labels") for lines, _ in frames]
    results = [parse_table("\n".join(lines), "results", scores=True) for _, lines in frames]
    weights = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(frames), max_size=len(frames))), int)
    drawn = np.repeat(np.arange(len(frames)), weights)
    weighted = tallies(labels, results).scores(weights).to_json()
    repeated = evaluate([labels[i] for i in drawn], [results[i] for i in drawn]).to_json()
    for points, by_overlap in repeated.items():
        for which, classes in by_overlap.items():
            for kind, metrics in classes.items():
                for metric, expected in metrics.items():
                    value = weighted[points][which][kind][metric]
                    if value is not None:  # what is evaluated at all, the whole set decides
                        assert value == pytest.approx(expected or [0, 0, 0], abs=1e-9)
                    elif metric != "aos":  # an alpha of -10 may not have been drawn
                        assert expected is None


@given(st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9]) | st.floats(0, 1), max_size=300), st.integers(0, 150))
def test_thresholds_equal_the_plain_loop(scores, missed):
    total, thresholds, recall = len(scores) + missed, [], 0.0
    ordered = sorted(scores, reverse=True)
    for i, value in enumerate(ordered):
        left = (i + 1) / total
        right = (i + 2) / total if i + 1 < len(scores) else left
        if i + 1 == len(scores) or not right - recall < recall - left:
            thresholds.append(value)
            recall += 1 / 40
    assert recall_thresholds(np.array(ordered), total).tolist() == thresholds
    assert len(thresholds) <= 41


def test_thresholds_stand_at_the_recalls():
    scores = np.arange(200.0, 0, -1)
    found = [(scores >= least).mean() for least in recall_thresholds(scores, 200)]
    np.testing.assert_allclose(found, RECALLS, atol=1 / 200)


@pytest.mark.parametrize(("value", "expected"), [(-1e7, 0), (-1e7 + 1, 100), (-3.0, 100)])
def test_scores_may_be_negative_down_to_the_official_kits_limit(value, expected):
    table = score([[label()]] * 50, [[found(value)]] * 50)
    assert table["R40"]["strict"]["Car"]["3d"] == pytest.approx([expected] * 3)


def test_few_perfect_hits_are_capped_by_the_recall_steps():
    """Five of five found: thresholds at recalls 0, 1/40 .. 4/40 only, so entries 1 to 4 of 40 are 1."""
    frames = [[label()]] * 5
    table = score(frames, [[found(0.9)]] * 5)
    assert table["R40"]["strict"]["Car"]["3d"] == pytest.approx([10, 10, 10])
    assert table["R11"]["strict"]["Car"]["3d"] == pytest.approx([200 / 11] * 3)


def test_of_rivals_the_first_pass_takes_the_best_score_and_the_second_the_largest_overlap():
    """80 cars, of which 48 are found twice, by a box that is off and turned round, and by the car's own.

    Down to 0.9 they are found once (recall 24/40, precision 1, half of them turned round); down to 0.3 all are hit by
    their own boxes, and the others count as wrong: precision 80/128, all hits turned as they should be.
    """
    off = {"box": (110, 100, 210, 180), "place": (0.3, 1.6, 20), "alpha": 0.3 + math.pi}
    both = [[found(0.9, **off), found(0.5)], [found(0.5, **off), found(0.9)]]
    table = score([[label()]] * 80, 24 * both + [[found(0.3)]] * 32)
    for points, expected in (("R40", (24 + 16 * 0.625) / 40), ("R11", (7 + 4 * 0.625) / 11)):
        car = table[points]["strict"]["Car"]
        assert car["bbox"] == car["bev"] == car["3d"] == pytest.approx([100 * expected] * 3)
        assert car["aos"] == pytest.approx([62.5] * 3)


def test_precision_is_0_where_every_detection_is_ignored():
    """The van takes the detection that the car took in the first pass; the van's first one is in a DontCare region."""
    boxes = {"Van": (100, 100, 200, 180), "Car": (110, 100, 210, 180), "DontCare": (85, 100, 185, 180)}
    truths = [label(kind, box) for kind, box in boxes.items()]
    results = [found(0.9, box=boxes["DontCare"]), found(0.5, box=(105, 100, 205, 180))]
    car = score([truths] * 50, [results] * 50)["R40"]["strict"]["Car"]
    assert car["bbox"] == car["aos"] == [0, 0, 0]


@pytest.mark.parametrize("heading", [0.0, 1.57, -0.4, 3.14])
def test_ground_truth_as_its_own_prediction_scores_100(heading):
    kinds, count = ("Car", "Pedestrian", "Cyclist"), 41
    frames = [
        [label(kind, (99 * i, 100, 99 * i + 90, 180), (3 * i - 60, 1.6, 20), ry=heading) for i in range(count)]
        for kind in kinds
    ]
    results = [[f"{line} 0.5" for line in frame] for frame in frames]
    table = score(frames, results)
    for points in table.values():
        for classes in points.values():
            for metrics in classes.values():
                assert all(value == pytest.approx([100] * 3) for value in metrics.values())


def test_overlap_must_exceed_the_threshold():
    """Half-length boxes overlap 0.5 exactly: a hit for no class at 0.5, one for a car at 0.5 + a hair."""
    frames = [[label("Pedestrian", size=(1.5, 1.5, 4.0))]] * 50
    half = score(frames, [[found(0.9, kind="Pedestrian", size=(1.5, 1.5, 2.0))]] * 50)
    assert half["R40"]["strict"]["Pedestrian"]["bev"] == half["R40"]["strict"]["Pedestrian"]["3d"] == [0, 0, 0]
    assert half["R40"]["loose"]["Pedestrian"]["3d"] == pytest.approx([100] * 3)
    more = score(frames, [[found(0.9, kind="Pedestrian", size=(1.5, 1.5, 2.001))]] * 50)
    assert more["R40"]["strict"]["Pedestrian"]["3d"] == pytest.approx([100] * 3)


@pytest.mark.parametrize(
    ("height", "expected"), [(25, [0, 0, 0]), (25.01, [0, 100, 100]), (40, [0, 100, 100]), (40.01, [100, 100, 100])]
)
def test_ground_truth_of_exactly_the_least_height_is_ignored(height, expected):
    frames = [[label(box=(100, 100, 200, 100 + height))]] * 50
    results = [[found(0.9, box=(100, 100, 200, 100 + height))]] * 50
    assert score(frames, results)["R40"]["strict"]["Car"]["bbox"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("height", "expected"), [(24.9, [0, 0, 0]), (25, [0, 100, 100]), (39.9, [0, 100, 100]), (40, [100, 100, 100])]
)
def test_a_detection_of_exactly_the_least_height_counts(height, expected):
    """Against the ground truth of 30 or 45 pixels that it overlaps by more than 0.8."""
    frames = [[label(box=(100, 100, 200, 130 if height < 30 else 145))]] * 50
    results = [[found(0.9, box=(100, 100, 200, 100 + height))]] * 50
    assert score(frames, results)["R40"]["strict"]["Car"]["bbox"] == pytest.approx(expected)


@pytest.mark.parametrize("heading", [0, 0.7, math.pi / 2, 0.257])
@pytest.mark.parametrize("apart", [3.93, -3.93])
def test_boxes_that_share_their_ends_alone_overlap(heading, apart):
    """4 m long, 3.93 m apart: 0.07 / 7.93 of them is common, though their pixels are apart."""
    kind = ObjectClass("Pole", (4, 1, 1), min_overlap=0.0088, loose_overlap=0.0088)
    far = {"box": (600, 100, 700, 180), "place": (apart * math.cos(heading), 1.6, 20 - apart * math.sin(heading))}
    results = [[found(0.9, kind="Pole", size=(1.5, 0.5, 4.0), ry=heading, **far)]] * 41
    labels = [[label("Pole", size=(1.5, 0.5, 4.0), ry=heading)]] * 41
    table = score(labels, results, ClassSpec((kind,)))["R40"]["strict"]["Pole"]
    assert table["bbox"] == [0, 0, 0] and table["bev"] == table["3d"] == pytest.approx([100] * 3)


def test_what_does_not_count_is_told_by_its_first_reason():
    """Of easy, moderate and hard cars."""
    cars = [label(), label(occluded=2, truncated=0.2), label(box=(9, 9, 99, 39), occluded=1), label(truncated=0.9)]
    left_out = evaluate([parse_table("\n".join([*cars, label("Van")]), "")], [parse_table("", "", True)]).left_out
    assert left_out == {
        "Car": {
            "occluded beyond the limit": [1, 1, 0],
            "at most 40 pixels high": [1, 0, 0],
            "truncated beyond the limit": [1, 1, 1],
        },
        "Pedestrian": {},
        "Cyclist": {},
    }


def test_a_short_detection_of_another_class_absorbs_the_ground_truth():
    """It has the higher score, so it takes the car in the first pass: that car is neither hit nor miss."""
    cars, thief = [[label()]] * 50, found(0.9, kind="Truck", box=(100, 100, 200, 120))
    table = score(cars, [[thief, found(0.5)]] * 50)
    assert table["R40"]["strict"]["Car"]["3d"] == [0, 0, 0]
    assert table["R40"]["strict"]["Car"]["bbox"] == pytest.approx([100] * 3)  # too small to overlap in the image


@pytest.mark.parametrize(("kind", "neighbour"), [("Car", "vAN"), ("Pedestrian", "person_Sitting")])
def test_a_neighbour_is_never_a_false_positive(kind, neighbour):
    far = {"box": (600, 100, 700, 180), "place": (10, 1.6, 20)}
    results = [[found(0.9, kind=kind), found(0.9, kind=kind, **far)]] * 50
    beside = score([[label(kind), label(neighbour, **far)]] * 50, results)
    without = score([[label(kind)]] * 50, results)
    assert beside["R40"]["strict"][kind]["bbox"] == pytest.approx([100] * 3)
    assert without["R40"]["strict"][kind]["bbox"] == pytest.approx([50] * 3)


@pytest.mark.parametrize(("covered", "expected"), [(70, 50), (71, 100)])
def test_detections_in_dont_care_regions_are_dropped_in_the_image_only(covered, expected):
    region = label("DontCare", (600, 100, 600 + covered, 180), (-1000,) * 3, (-1,) * 3, occluded=-1, ry=-10)
    stray = found(0.9, box=(600, 100, 700, 180), place=(10, 1.6, 20))
    table = score([[label(), region]] * 50, [[found(0.9), stray]] * 50)
    assert table["R40"]["strict"]["Car"]["bbox"] == pytest.approx([expected] * 3)
    assert table["R40"]["strict"]["Car"]["3d"] == pytest.approx([50] * 3)


def test_orientation_similarity_is_the_cosine_and_minus_ten_switches_it_off():
    frames = [[label(alpha=0.2)]] * 50
    turned = score(frames, [[found(0.9, alpha=0.2 + math.pi / 3)]] * 50)
    assert turned["R40"]["strict"]["Car"]["aos"] == pytest.approx([75] * 3)
    unknown = score(frames, [[found(0.9, alpha=0.2)]] * 49 + [[found(0.9, alpha=-10)]])
    assert unknown["R40"]["strict"]["Car"]["aos"] is None
    assert unknown["R40"]["strict"]["Car"]["bbox"] == pytest.approx([100] * 3)


def test_classes_never_detected_are_null_and_classes_without_truth_score_zero():
    table = score([[label()]], [[found(0.9, kind="Cyclist")]])["R40"]["strict"]
    assert table["Car"] == table["Pedestrian"] == {"bbox": None, "aos": None, "bev": None, "3d": None}
    assert table["Cyclist"] == {"bbox": [0] * 3, "aos": [0] * 3, "bev": [0] * 3, "3d": [0] * 3}
    flat = found(0.9, place=(-1000,) * 3, size=(-1,) * 3)
    assert [score([[label()]], [[flat]])["R40"]["strict"]["Car"][m] is None for m in ("bbox", "bev", "3d")] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("place", "evaluated"), [((-1000, 1.6, 20), ()), ((0, 1.6, -1000), ()), ((0, -1000, 20), ("bev",))]
)
def test_each_coordinate_of_minus_1000_is_none(place, evaluated):
    table = score([[label()]], [[found(0.9, place=place)]])["R40"]["strict"]["Car"]
    assert [metric for metric in ("bev", "3d") if table[metric] is not None] == list(evaluated)


@pytest.mark.parametrize(
    ("change", "evaluated"),
    [
        ({"box": (0, 100, 90, 180)}, ("bbox", "bev", "3d")),
        ({"box": (-1, 100, 90, 180)}, ("bev", "3d")),
        ({"size": (0.9, 0.4, 0.6)}, ("bbox", "bev", "3d")),
        ({"size": (0, 1.6, 4)}, ("bbox", "bev")),
        ({"size": (1.5, 0, 4)}, ("bbox",)),
        ({"size": (1.5, 1.6, 0)}, ("bbox",)),
    ],
)
def test_a_metric_is_evaluated_where_a_detection_has_what_it_needs(change, evaluated):
    table = score([[label()]], [[found(0.9, **change)]])["R40"]["strict"]["Car"]
    assert tuple(metric for metric in ("bbox", "bev", "3d") if table[metric] is not None) == evaluated


def test_no_frames_and_no_detections_are_not_evaluated():
    empty = LabelTable([], np.empty((0, len(COLUMNS))))
    for labels, results in (([], []), ([empty], [empty]), ([parse_table(label(), "")], [empty])):
        table = evaluate(labels, results).to_json()
        assert table["R40"]["strict"]["Car"] == {"bbox": None, "aos": None, "bev": None, "3d": None}
    with pytest.raises(ValueError, match="1 frames of labels but 0"):
        evaluate([empty], [])
    with pytest.raises(ValueError, match="no score"):
        evaluate([empty], [parse_table(label(), "")])


@pytest.mark.parametrize(
    "absurd",
    [
        {"box": (100, 100, 200, 1e300)},
        {"box": (-1e300, 100, 1e300, 1e200)},
        {"place": (1e300, 1.6, -1e300)},
        {"size": (1e300, 1e300, 1e300)},
    ],
)
def test_an_absurd_box_is_a_plain_false_positive(absurd):
    """No warning either: they are errors here."""
    stray = found(0.95, **({"box": (600, 100, 700, 180), "place": (10, 1.6, 20)} | absurd))
    table = score([[label()]] * 50, [[found(0.9), stray]] * 50)["R40"]["strict"]["Car"]
    assert table["bbox"] == table["bev"] == table["3d"] == pytest.approx([50] * 3)


OFFICIAL = {"Car": (0.7, 0.5, "van"), "Pedestrian": (0.5, 0.25, "person_sitting"), "Cyclist": (0.5, 0.25, None)}


def test_kittis_classes_have_the_official_overlaps_and_neighbours():
    assert tuple(OFFICIAL) == KITTI_CLASSES.names
    for kind in KITTI_CLASSES:
        strict, loose, neighbour = OFFICIAL[kind.name]
        assert {metric: min_overlap(kind, "strict", metric) for metric in METRICS} == dict.fromkeys(METRICS, strict)
        looser = {"bbox": strict, "aos": strict, "bev": loose, "3d": loose}
        assert {metric: min_overlap(kind, "loose", metric) for metric in METRICS} == looser
        assert [name.lower() for name in kind.neighbours] == ([neighbour] if neighbour else [])


def fixed_set():
    """60 frames with objects of every difficulty, detections of every overlap, and neighbours."""
    labels, results = [], []
    for i in range(60):
        kind = ("Car", "Car", "Pedestrian", "Cyclist", "Van", "Person_sitting")[i % 6]
        own = {"Van": "Car", "Person_sitting": "Pedestrian"}.get(kind, kind)
        box, place, off = (100, 100, 200 + i % 7, 126 + i % 40), (i % 5 - 2, 1.6, 10 + i % 11), (7 * i % 13) / 26
        labels.append([label(kind, box, place, occluded=i % 3, truncated=i % 4 / 10)])
        moved = {"box": (100 + 40 * off, *box[1:]), "place": (place[0] + off, 1.6, place[2] + off / 4)}
        results.append([found((i * 37 % 60) / 60, kind=own, **moved)])
        if i % 4 == 0:
            far = {"box": (600, 100, 700, 180), "place": (10, 1.6, 20)}
            results[-1].append(found((i * 11 % 60) / 60, kind=own, **far))
    return labels, results


@pytest.mark.parametrize("pairs", [1, 7, 30])
def test_overlaps_of_few_pairs_at_a_time_give_the_same_scores(pairs, monkeypatch):
    at_once = score(*fixed_set())
    monkeypatch.setattr(table_rows, "_AT_ONCE", pairs)
    assert score(*fixed_set()) == at_once


@settings(max_examples=60)
@given(sets(), st.integers(1, 4), st.data())
def test_blocks_of_frames_are_scored_as_one(frames, at_once, data):
    labels = [parse_table("\n".join(lines), "labels") for lines, _ in frames]
    results = [parse_table("\n".join(lines), "results", scores=True) for _, lines in frames]
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(frames), max_size=len(frames))), int)
    whole = tallies(labels, results)
    with mock.patch.object(average_precision, "_FRAMES_AT_ONCE", at_once):
        parts = tallies(iter(labels), iter(results))
    assert (parts.frames, parts.aos, parts.left_out) == (whole.frames, whole.aos, whole.left_out)
    for draw in (None, weights):
        assert parts.scores(draw).to_json() == whole.scores(draw).to_json()
        assert parts.scores(draw).objects == whole.scores(draw).objects


@pytest.mark.parametrize(("labelled", "detected"), [(3, 7), (7, 3), (4, 5), (4, 6), (6, 4), (0, 1), (1, 0)])
def test_frames_without_a_counterpart_are_counted(labelled, detected, monkeypatch):
    monkeypatch.setattr(average_precision, "_FRAMES_AT_ONCE", 2)
    with pytest.raises(ValueError, match=f"^{labelled} frames of labels but {detected} of results$"):
        evaluate([parse_table("", "labels")] * labelled, [parse_table("", "results", scores=True)] * detected)


def test_matching_takes_no_more_memory_for_more_frames(monkeypatch):
    monkeypatch.setattr(average_precision, "_FRAMES_AT_ONCE", 10)
    frames, results, needed = *crowded(10), []
    for times in (2, 8):
        tracemalloc.start()
        scored = tallies(frames * times, results * times)
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert scored.frames == 10 * times
        needed.append(most - kept)
    assert needed[1] < 2 * needed[0]


def crowded(count):
    """Frames of 8 objects and 40 detections each."""
    rng = np.random.default_rng(0)
    places = [[(z / 3, 1.6, z) for z in rng.uniform(5, 60, 8)] for _ in range(count)]
    frames = [parse_table("\n".join(label(place=place) for place in of), "labels") for of in places]
    lines = ["\n".join(found(rng.random(), place=place) for place in 5 * of) for of in places]
    return frames, [parse_table(text, "results", scores=True) for text in lines]


def test_scoring_keeps_little_of_a_frame():
    (frames, results), kept = crowded(40), {}
    for count in (10, 40):
        tracemalloc.start()
        scored = tallies(frames[:count], results[:count])
        kept[scored.frames] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert kept[40] - kept[10] < 30 * 8000, (
        "bytes of 30 frames of 40 detections; numbers in full would take 26,000 each"
    )


def test_kittis_numbers_are_to_the_bit_those_of_fixed_overlaps():
    """As the evaluator gave them when KITTI's classes were written into it."""
    table = score(*fixed_set())["R40"]
    cars, strict_cars = [0.5, 32.89556277056277, 32.89556277056277], [0.0, 25.934523809523807, 25.934523809523807]
    people, cyclists = [0.0, 0.0, 15.949633699633697], [5.0, 22.5, 22.5]
    expected = {
        "strict": {"Car": (cars, strict_cars, strict_cars), "Pedestrian": (people,) * 3, "Cyclist": (cyclists,) * 3},
        "loose": {"Car": (cars,) * 3, "Pedestrian": (people,) * 3, "Cyclist": (cyclists,) * 3},
    }
    for overlaps in OVERLAPS:
        for name, values in expected[overlaps].items():
            assert tuple(table[overlaps][name][metric] for metric in ("bbox", "bev", "3d")) == values


@settings(max_examples=30)
@given(sets())
def test_a_classs_numbers_depend_neither_on_the_other_classes_nor_on_their_order(frames):
    labels, results = zip(*frames, strict=True)
    expected = score(labels, results)
    assert score(labels, results, ClassSpec.from_json(KITTI_CLASSES.to_json())) == expected
    for classes in ((*KITTI_CLASSES.classes[::-1], FORKLIFT), KITTI_CLASSES.classes[1:2], (PALLET, *KITTI_CLASSES)):
        table = score(labels, results, ClassSpec(tuple(classes)))
        for points, by_overlap in table.items():
            for overlaps, by_class in by_overlap.items():
                assert list(by_class) == [kind.name for kind in classes]
                for name in set(by_class) & set(KITTI_CLASSES.names):
                    assert by_class[name] == expected[points][overlaps][name]


def test_own_classes_found_perfectly_score_100_where_there_are_enough():
    labels = [[label("forklift"), label("Pallet", (600, 100, 700, 180), (10, 1.6, 20))]] * 41
    results = [[f"{line} {1 - i / 100}" for line in frame] for i, frame in enumerate(labels)]
    table = score(labels, results, WAREHOUSE)
    assert list(table["R40"]["strict"]) == ["Forklift", "pallet"]
    for by_overlap in table.values():
        for by_class in by_overlap.values():
            for values in by_class.values():
                assert all(value == pytest.approx([100] * 3) for value in values.values())
    assert score(labels[:21], results[:21], WAREHOUSE)["R40"]["loose"]["pallet"]["3d"] == pytest.approx([50] * 3)


@pytest.mark.parametrize(("length", "strict", "loose"), [(2.8, 100, 100), (2.2, 0, 100), (1.5, 0, 0)])
def test_own_overlaps_are_kept(length, strict, loose):
    """Overlaps of 0.7, 0.55 and 0.375 against the forklift's 0.6 and 0.4."""
    results = [[found(0.9, kind="forklift", size=(1.5, 1.6, length))]] * 41
    table = score([[label("forklift")]] * 41, results, WAREHOUSE)["R40"]
    assert table["strict"]["Forklift"]["3d"] == table["strict"]["Forklift"]["bev"] == pytest.approx([strict] * 3)
    assert table["loose"]["Forklift"]["3d"] == table["loose"]["Forklift"]["bev"] == pytest.approx([loose] * 3)
    assert table["strict"]["Forklift"]["bbox"] == table["loose"]["Forklift"]["bbox"] == pytest.approx([100] * 3)


def test_each_of_several_neighbours_is_ignored():
    """A class may be another's neighbour too, and counts as itself nevertheless."""
    places = [((300, 100, 400, 180), (5, 1.6, 20)), ((600, 100, 700, 180), (10, 1.6, 20))]
    labels, results = [label("forklift")], [found(0.9, kind="forklift")]
    for name, (box, place) in zip(("reach_truck", "Tugger"), places, strict=True):
        labels.append(label(name, box, place))
        results.append(found(0.95, kind="forklift", box=box, place=place))
    results.append(found(0.9, kind="Tugger", box=places[1][0], place=places[1][1]))

    def strict(classes):
        table = score([labels] * 41, [results] * 41, classes)["R40"]["strict"]
        return {name: metrics["3d"] for name, metrics in table.items()}

    assert strict(WAREHOUSE)["Forklift"] == pytest.approx([100] * 3)
    assert strict(ClassSpec((replace(FORKLIFT, neighbours=("tugger",)),)))["Forklift"] == pytest.approx([50] * 3)
    both = strict(ClassSpec((*WAREHOUSE, ObjectClass("Tugger", (2, 1, 1)))))
    assert both["Forklift"] == both["Tugger"] == pytest.approx([100] * 3)


def test_scores_and_tallies_name_their_classes():
    known = tallies(
        [parse_table(label("forklift"), "")], [parse_table(found(0.5, kind="forklift"), "", True)], WAREHOUSE
    )
    assert known.classes == known.scores().classes == WAREHOUSE
    assert known.scores(np.array([3])).objects == {"Forklift": [3] * 3, "pallet": [0] * 3}
    assert evaluate([], []).classes == KITTI_CLASSES
