"""Errors against distance and the HTML report: closed forms, brute force, and the page as a browser would read it."""

import base64
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.own_classes import WAREHOUSE, write_classes

from add_model.colours import class_colour
from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_ros.node.parameter_list import PARAMETERS
from training import evaluate as scoring
from training.data.kitti.calib import write_calib
from training.data.kitti.labels import write_objects, write_results
from training.data.sample import Objects
from training.evaluation.association import (
    FREE,
    IGNORED,
    associate,
    associate_on_ground,
    best_threshold,
)
from training.evaluation.distance import EDGES, ObjectErrors, object_errors
from training.evaluation.table import bin_rows
from training.report import __main__ as command
from training.report.cases import worst_false_positives, worst_misses
from training.report.charts import recall_by_distance

CAMERA = Camera.pinhole(900, 900, 600, 180, 1200, 360)


def boxes_at(*places, heading=0.3):
    """Upright boxes of 4 x 1.6 x 1.5 m at (x, z)."""
    return np.array([[x, 1.0, z, 4.0, 1.6, 1.5, heading] for x, z in places], float).reshape(-1, 7)


def projected(boxes):
    return box3d.clip_to_image(box3d.project_boxes(boxes, CAMERA), CAMERA)


def labelled(boxes, names=None, occluded=0):
    count = len(boxes)
    names = np.array(names or ["Car"] * count, dtype="U20")
    return Objects(names, boxes, projected(boxes), np.zeros(count), np.full(count, occluded))


def detected(boxes, scores, rectangles=None, names=None):
    names = np.array(names or ["Car"] * len(boxes), dtype="U20")
    rectangles = projected(boxes) if rectangles is None else rectangles
    return Detections(names, np.array(scores, float), boxes, rectangles, np.ones(len(boxes)))


def test_the_best_score_takes_the_object_and_the_rest_are_false():
    boxes = boxes_at((-3, 12), (3, 12))
    found = detected(boxes[[0, 0, 1]], [0.4, 0.9, 0.2])
    result = associate(labelled(boxes), found, "Car")
    assert result.truth.tolist() == [1, 2]
    assert result.detection.tolist() == [FREE, 0, 1]


def test_what_is_not_asked_for_is_ignored():
    boxes = boxes_at((-6, 14), (-2, 14), (2, 14), (6, 14))
    objects = labelled(boxes, ["Car", "Van", "DontCare", "Cyclist"], occluded=3)
    result = associate(objects, detected(boxes, [0.9] * 4), "car")
    assert result.truth.tolist() == [IGNORED] * 4
    assert result.detection.tolist() == [IGNORED, IGNORED, IGNORED, FREE]  # too hard, neighbour, region; stray
    empty = associate(Objects.empty(), detected(boxes, [0.9] * 4), "Car")
    assert empty.detection.tolist() == [FREE] * 4 and empty.truth.shape == (0,)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), max_size=12), st.integers(0, 4))
def test_the_threshold_has_the_best_f1(found, missed):
    scores = np.array([score for score, _ in found])
    hits = [hit for _, hit in found]
    objects = sum(hits) + missed

    def f1(threshold):
        kept = [hit for score, hit in found if score >= threshold]
        return 2 * sum(kept) / (len(kept) + objects)

    frame = associate(Objects.empty(), Detections.empty(), "Car")
    truth = np.r_[np.flatnonzero(hits), np.full(missed, FREE)].astype(int)
    detection = np.where(np.array(hits, bool), 0, FREE)
    frame = type(frame)(truth, detection)
    best = best_threshold([(frame, scores)])
    if any(hits):
        assert f1(best) == pytest.approx(max(f1(score) for score in scores))
    else:
        assert best == SCORE_THRESHOLD == next(p.default for p in PARAMETERS if p.name == "score_threshold")


@pytest.mark.parametrize("pair", [associate, associate_on_ground])
def test_known_shifts_come_back_as_errors(pair):
    """Each object is found displaced by known amounts, in the 2D box where it is labelled."""
    truth = boxes_at((-2, 8), (0, 15), (4, 15), (0, 33))
    found = truth + np.array([0.25, 0, -0.5, 0.3, 0, -0.3, np.radians(10)])
    found[3, 6] += np.pi  # turned round
    far = found[:3]
    objects = [labelled(truth), labelled(truth)]
    detections = [detected(found, [0.9] * 4, projected(truth)), detected(far, [0.9] * 3, projected(truth)[:3])]
    pairs = [pair(o, d, "Car") for o, d in zip(objects, detections, strict=True)]
    errors = object_errors(zip(objects, detections, pairs, strict=True)).binned()
    assert errors.objects[:4].tolist() == [2, 4, 0, 2] and errors.found[:4].tolist() == [2, 4, 0, 1]
    np.testing.assert_allclose(errors.recall[:4], [1, 1, np.nan, 0.5])
    for quartile in range(3):
        np.testing.assert_allclose(errors.depth[quartile, :4], [0.5, 0.5, np.nan, 0.5])
        np.testing.assert_allclose(errors.lateral[quartile, :4], [0.25, 0.25, np.nan, 0.25])
        np.testing.assert_allclose(errors.size[quartile, :4], [0.2, 0.2, np.nan, 0.2])
        np.testing.assert_allclose(errors.heading[quartile, :4], [10, 10, np.nan, 170])


def test_what_is_beyond_80_m_has_a_bin_of_its_own():
    """One object within 80 m and two beyond, of which one is found, 3 m too near."""
    truth = boxes_at((0, 75), (0, 95), (0, 200))
    found = detected(truth[1:2] - 3 * np.eye(7)[2], [0.9])
    pairs = associate_on_ground(labelled(truth), found, "Car")
    errors = object_errors([(labelled(truth), found, pairs)]).binned()
    assert errors.objects.tolist() == [0] * 7 + [1, 2] and errors.found.tolist() == [0] * 8 + [1]
    assert errors.depth[:, 8] == pytest.approx(3) and errors.recall[8] == 0.5
    assert bin_rows(errors) == [
        ["70 to 80 m", "1", "0.00", "-", "-", "-", "-"],
        ["80 m and more", "2", "0.50", "3.00", "0.00", "0.00", "0.00"],
    ]
    assert recall_by_distance(errors, "Car").startswith("<?xml")  # though a bin has no end


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 150), st.floats(0, 9), st.booleans()), max_size=30),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_weighted_frames_have_the_errors_of_the_repeated_frames(rows, weights):
    def errors(rows):
        frame, distance, error, found = (np.array(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
        error = np.where(np.array(found, bool), error, np.nan)[:, None].repeat(4, axis=1)
        return ObjectErrors(np.array(frame, int), np.array(distance), np.array(found, bool), error)

    repeated = [row for row in rows for _ in range(weights[row[0]])]
    weighted, plain = errors(rows).weighted(np.array(weights)).binned(), errors(repeated).binned()
    for i, (low, high) in enumerate(pairwise(EDGES)):
        inside = [row for row in repeated if low <= row[1] < high]
        hits = [row[2] for row in inside if row[3]]
        assert weighted.objects[i] == len(inside) and weighted.found[i] == len(hits)
        assert weighted.depth[1, i] == pytest.approx(np.median(hits) if hits else np.nan, nan_ok=True)
        np.testing.assert_array_equal(weighted.heading[:, i], plain.heading[:, i])


def test_on_the_ground_a_detection_shows_what_lies_in_its_line_of_sight():
    """At 30 m and 45 degrees to the right: 6 m of tolerance along the line of sight, 2 m across it."""
    distance, sight, side = 30.0, np.array([1, 1]) / np.sqrt(2), np.array([1, -1]) / np.sqrt(2)
    camera = Camera.pinhole(500, 500, 600, 180, 1200, 360)
    truth = boxes_at(distance * sight)
    objects = Objects(np.array(["Car"]), truth, np.full((1, 4), np.nan), np.full(1, -1.0), np.full(1, -1))
    for along, across, hit in [(5.9, 0, True), (-5.9, 0, True), (6.1, 0, False), (0, 1.9, True), (0, -2.1, False)]:
        found = boxes_at((distance + along) * sight + across * side)
        detections = Detections(
            np.array(["Car"]), np.ones(1), found, box3d.project_boxes(found, camera), np.full(1, np.nan)
        )
        result = associate_on_ground(objects, detections, "Car")
        assert result.truth.tolist() == [0 if hit else FREE] and result.detection.tolist() == [0 if hit else FREE]


def test_on_the_ground_neighbours_and_objects_outside_the_image_are_ignored():
    boxes = boxes_at((-6, 14), (0, 14), (6, 14))
    objects = labelled(boxes, ["Car", "Van", "Car"])
    objects = Objects(objects.names, boxes, np.full((3, 4), np.nan), np.array([0.6, 0, 0.5]), objects.occluded)
    result = associate_on_ground(objects, detected(boxes, [0.9] * 3), "Car")
    assert result.truth.tolist() == [IGNORED, IGNORED, 2]
    assert result.detection.tolist() == [IGNORED, IGNORED, 2]
    empty = associate_on_ground(Objects.empty(), detected(boxes, [0.9] * 3), "Car")
    assert empty.detection.tolist() == [FREE] * 3 and empty.truth.shape == (0,)


def test_the_worst_cases_come_first():
    near, far, hidden = boxes_at((0, 10)), boxes_at((0, 20)), boxes_at((0, 9))
    objects = [labelled(hidden, occluded=2), labelled(far), labelled(near)]
    misses = worst_misses(objects, [Detections.empty()] * 3, "Car", 2)
    assert [case.frame for case in misses] == [2, 1]
    stray = [detected(near, [score]) for score in (0.2, 0.8, 0.5)]
    strays = worst_false_positives([Objects.empty()] * 3, stray, "Car", 2)
    assert [case.frame for case in strays] == [1, 2]
    assert "score 0.80 at 10 m" in strays[0].text
    flat = Detections(**(vars(stray[1]) | {"boxes": np.full((1, 7), np.nan)}))
    assert "score 0.80 without a 3D box" in worst_false_positives([Objects.empty()], [flat], "Car", 2)[0].text


class Page(HTMLParser):
    """Tags, attributes and text; fails on tags that are closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def write_folder(root):
    """Three frames in KITTI's layout: one all found, one with a miss, one with a false positive and no labels."""
    for kind in ("image_2", "calib", "label_2", "results"):
        (root / kind).mkdir()
    for i, places in enumerate([((-3, 12), (3, 12)), ((0, 18),), ((1, 15),)]):
        name, boxes = f"{i:06d}", boxes_at(*places)
        image = np.random.default_rng(i).integers(0, 90, (360, 1200, 3), np.uint8)
        cv2.imwrite(str(root / "image_2" / f"{name}.png"), image)
        write_calib(root / "calib" / f"{name}.txt", CAMERA.P)
        write_objects(root / "label_2" / f"{name}.txt", labelled(boxes if i != 2 else boxes[:0]))
        if i != 1:
            found = detected(boxes, [0.9, 0.8] if i == 0 else [0.95])
            write_results(root / "results" / f"{name}.txt", found, CAMERA)
    return root


def report(folder, *more):
    out = folder / "pages" / "report.html"
    status = command.main(["--kitti", str(folder), "--results", str(folder / "results"), "--out", str(out), *more])
    return status, out.read_text(encoding="utf-8") if status == 0 else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("kitti"))


ARGUMENTS = ("--score", "0.5", "--title", "<script>alert('x')</script> & more")


@pytest.fixture(scope="module")
def text(folder):
    status, text = report(folder, *ARGUMENTS)
    assert status == 0
    return text


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_stands_alone_and_is_accessible(page):
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    assert "<script>alert('x')</script> & more" in page.words  # as text, not as a tag
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 4 + 5 + 2  # curves, errors, a miss and a false positive
    assert all(image["src"].startswith("data:image/") and len(image["alt"]) > 10 for image in images)
    assert dict(page.tags)["html"]["lang"] == "en"
    anchors = {a["href"][1:] for tag, a in page.tags if tag == "a"}
    assert anchors == {"ap", "Car"} <= {a["id"] for _, a in page.tags if "id" in a}


def test_the_pages_numbers_are_the_evaluators(folder, page):
    arguments = ["--labels", str(folder / "label_2"), "--results", str(folder / "results")]
    assert scoring.main([*arguments, "--json", str(folder / "scores.json")]) == 0
    expected = json.loads((folder / "scores.json").read_text())["R40"]["strict"]["Car"]["3d"]
    words = [word for word in page.words if word]
    start = next(i for i, word in enumerate(words) if words[i : i + 2] == ["Car", "3D"])
    assert words[start + 3 : start + 6] == [f"{value:.2f}" for value in expected]
    start = next(i for i, word in enumerate(words) if words[i : i + 2] == ["Car", "objects"])
    assert words[start + 2 : start + 5] == ["3"] * 3
    text = " ".join(" ".join(words).split())
    assert "Car easy, moderate, hard: AP cannot exceed 5.00 here (9.09 in AP_R11): only 3 objects." in text
    assert "Pedestrian easy, moderate, hard: none is labelled" in text
    assert "1 frames have no result file" in text and "000001" in text
    assert "2 of 3 objects of the hard difficulty are found, with 1 false positives" in text


def test_the_pictures_show_the_miss_and_the_false_positive(page):
    pictures = {a["alt"]: a["src"] for tag, a in page.tags if tag == "img" and "jpeg" in a["src"]}
    miss, stray = sorted(pictures)
    assert miss.startswith("Frame 000001: Car missed at 18 m, ") and miss.endswith(" pixels high, occlusion 0")
    assert stray == "Frame 000002: Car found with score 0.95 at 15 m that matches no labelled object"
    for alt, place in ((miss, (0, 18)), (stray, (1, 15))):
        data = np.frombuffer(base64.b64decode(pictures[alt].partition(",")[2]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        rows, columns = np.nonzero((picture[..., 2] > 180) & (picture[..., 1] < 130) & (picture[..., 0] < 130))
        left, top, right, bottom = projected(boxes_at(place))[0]
        # JPEG and the frame's margin and width blur its edges by a few pixels.
        assert np.array([columns.min(), rows.min(), columns.max(), rows.max()]) == pytest.approx(
            [left, top, right, bottom], abs=9
        )


def test_the_same_results_give_the_same_page(folder, text):
    assert report(folder, *ARGUMENTS)[1] == text


def test_a_page_without_detections_or_pictures(tmp_path):
    folder = write_folder(tmp_path)
    for path in (folder / "results").iterdir():
        path.write_text("")
    out = folder / "page.html"
    arguments = ["--labels", str(folder / "label_2"), "--results", str(folder / "results"), "--out", str(out)]
    assert command.main(arguments) == 0
    text = " ".join(" ".join(Page(out.read_text(encoding="utf-8")).words).split())
    assert "0 of 3 objects of the hard difficulty are found" in text
    assert "Neither labelled nor detected: Pedestrian, Cyclist" in text


def test_own_classes_are_on_the_page_with_their_colours(tmp_path):
    folder = write_folder(tmp_path)
    for path in (*(folder / "label_2").iterdir(), *(folder / "results").iterdir()):
        path.write_text(path.read_text().replace("Car", "Pallet"))
    status, text = report(folder, "--classes", str(write_classes(folder / "classes.json")), "--score", "0.5")
    assert status == 0
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    assert "Neither labelled nor detected: Forklift" in words and "Cyclist" not in words
    assert "2 of 3 objects of the hard difficulty are found, with 1 false positives" in words
    assert {a["href"] for tag, a in page.tags if tag == "a"} == {"#ap", "#pallet"}
    (source,) = [a["src"] for tag, a in page.tags if tag == "img" and "pallet found with score 0.95" in a["alt"]]
    data = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    assert (np.abs(picture - class_colour("pallet", WAREHOUSE)) < 25).all(axis=2).sum() > 200


@pytest.mark.parametrize("pair", [associate, associate_on_ground])
def test_own_neighbours_are_ignored(pair):
    boxes = boxes_at((-6, 14), (0, 14), (6, 14))
    objects = labelled(boxes, ["Forklift", "TUGGER", "reach_truck"])
    found = detected(boxes, [0.9] * 3, names=["forklift"] * 3)
    assert pair(objects, found, "forklift", WAREHOUSE).detection.tolist() == [0, IGNORED, IGNORED]
    assert pair(objects, found, "forklift").detection.tolist() == [0, FREE, FREE]  # KITTI knows none


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "image_2" / "000001.png").unlink(), r"1 frames have no images in .*: 000001"),
        (lambda f: (f / "calib" / "000002.txt").unlink(), r"1 frames have no calibrations in .*: 000002"),
        (lambda f: (f / "label_2" / "000000.txt").write_text("Car 1\n"), r"000000\.txt, line 1"),
        (lambda f: (f / "image_2" / "000001.png").write_bytes(b"no image"), r"000001\.png"),
    ],
)
def test_what_cannot_be_shown_is_an_error_that_names_it(tmp_path, capsys, break_it, message):
    folder = write_folder(tmp_path)
    break_it(folder)
    assert report(folder)[0] == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error)
    assert not (folder / "pages" / "report.html").exists()
