"""Labels as they pass through the messages of a bag, and what the benchmark says of them afterwards."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from add_model.detections import Detections
from add_ros.bags import convert, types
from add_ros.bags.ground_truth import GroundTruthError, decode, encode
from add_ros.bags.messages import stamp_of
from add_ros.bags.reading import read
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import LabelTable, detections_table, objects_table, read_table
from training.data.kitti.splits import read_ids
from training.data.sample import Objects
from training.evaluation.average_precision import evaluate

STORE = types.typestore()


def through_cdr(truth, rectangles):
    pairs = ((truth, types.DETECTIONS), (rectangles, types.RECTANGLES))
    return [STORE.deserialize_cdr(STORE.serialize_cdr(message, kind), kind) for message, kind in pairs]


def same(a, b):
    assert a.names.tolist() == b.names.tolist()
    np.testing.assert_allclose(a.boxes, b.boxes, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(a.boxes2d, b.boxes2d)
    np.testing.assert_array_equal(a.truncated, b.truncated)
    np.testing.assert_array_equal(a.occluded, b.occluded)


metres, size, angle = st.floats(-100, 100), st.floats(0.1, 20), st.floats(-3.14, 3.14)
boxes = st.tuples(metres, metres, metres, size, size, size, angle)
decimals = st.integers(-200_000, 200_000).map(lambda n: n / 100)  # as label files have them
labels = st.tuples(
    st.sampled_from(["Car", "Pedestrian", "Person sitting", "DontCare"]),
    st.one_of(st.none(), boxes),
    st.tuples(decimals, decimals, decimals, decimals),
    st.floats(-1, 1),
    st.integers(-1, 3),
)


def objects_of(rows):
    solid = [np.full(7, np.nan) if row[1] is None else row[1] for row in rows]
    return Objects(
        np.array([row[0] for row in rows], dtype=str),
        np.array(solid, float).reshape(-1, 7),
        np.array([row[2] for row in rows], float).reshape(-1, 4),
        np.array([row[3] for row in rows], float),
        np.array([row[4] for row in rows], int),
    )


@given(st.lists(labels, max_size=6))
def test_labels_come_back_as_they_were_in_their_order(rows):
    objects = objects_of(rows)
    ids = [f"7/{i}" for i in range(len(rows))]
    truth, rectangles = through_cdr(*encode(STORE, objects, ids, 7_000_000_005, "eye"))
    assert stamp_of(truth) == stamp_of(rectangles) == 7_000_000_005
    same(decode(truth, rectangles), objects)


def test_every_reader_sees_the_class_as_the_best_hypothesis():
    objects = objects_of([("Car", (1, 2, 3, 4, 5, 6, 0), (0, 0, 9, 9), 1.0, 3)])
    truth, rectangles = encode(STORE, objects, ["12"], 1, "eye")
    (entry,), (solid,) = rectangles.detections, truth.detections
    best = max(entry.results, key=lambda result: result.hypothesis.score).hypothesis
    assert (best.class_id, entry.results[0].hypothesis.class_id, entry.id, solid.id) == ("Car", "Car", "12", "12")
    assert [r.hypothesis.class_id for r in entry.results[1:]] == ["truncated=1.0", "occluded=3"]
    assert (entry.bbox.center.position.x, entry.bbox.size_x) == (4.5, 9.0)


def test_bags_of_others_have_boxes_only():
    objects = objects_of([("Car", (1, 2, 3, 4, 5, 6, 0), (0, 0, 9, 9), 1.0, 3)] * 2)
    truth, _ = encode(STORE, objects, ["", ""], 1, "eye")
    found = decode(truth)
    assert found.names.tolist() == ["Car", "Car"] and np.isnan(found.boxes2d).all()
    np.testing.assert_allclose(found.boxes, objects.boxes)
    assert found.truncated.tolist() == [-1, -1] and found.occluded.tolist() == [-1, -1]


def test_boxes_without_a_rectangle_follow_those_with_one():
    rows = [("Car", (i, 2, 3, 4, 5, 6, 0), (0, 0, 9, i), 0.5, 1) for i in range(1, 4)]
    truth, rectangles = encode(STORE, objects_of(rows), ["a", "b", "c"], 1, "eye")
    del rectangles.detections[0]
    rectangles.detections.reverse()
    found = decode(truth, rectangles)
    assert found.boxes[:, 0].tolist() == [3, 2, 1] and found.boxes2d[:2, 3].tolist() == [3, 2]
    assert np.isnan(found.boxes2d[2]).all() and found.occluded.tolist() == [1, 1, -1]


@pytest.mark.parametrize("ids", [["", ""], ["0", "1"]])
def test_rectangles_that_belong_to_no_box_are_no_further_objects(ids):
    rows = [("Car", (i, 2, 3, 4, 5, 6, 0), (0, 0, 9, i), 0.5, 1) for i in range(1, 3)]
    truth, rectangles = encode(STORE, objects_of(rows), ["a", "b"], 1, "eye")
    for entry, identity in zip(rectangles.detections, ids, strict=True):
        entry.id = identity
    with pytest.raises(GroundTruthError, match="none of the 2D ground-truth boxes has the id of a 3D one"):
        decode(truth, rectangles)
    for entry in rectangles.detections:
        entry.results[0].hypothesis.class_id = "DontCare"
    assert decode(truth, rectangles).names.tolist() == ["DontCare", "DontCare", "Car", "Car"]


@pytest.mark.parametrize("side", ["truth", "rectangles"])
def test_contradictions_are_named(side):
    rows = [("Car", (i, 2, 3, 4, 5, 6, 0), (0, 0, 9, i), 0.5, 1) for i in range(2)]
    made = dict(zip(("truth", "rectangles"), encode(STORE, objects_of(rows), ["a", "b"], 1, "eye"), strict=True))
    made[side].detections[1].id = "a"
    with pytest.raises(GroundTruthError, match="id 'a'"):
        decode(**made)


@pytest.mark.parametrize("text", ["truncated=much", "occluded=inf"])
def test_notes_that_are_no_numbers_are_named(text):
    truth, rectangles = encode(STORE, objects_of([("Car", None, (0, 0, 9, 9), 0.5, 1)]), ["5"], 1, "eye")
    rectangles.detections[0].results = [SimpleNamespace(hypothesis=SimpleNamespace(class_id=text, score=0.0))]
    with pytest.raises(GroundTruthError, match=f"'5'.*'{text}'"):
        decode(truth, rectangles)


@pytest.fixture
def val_bag(kitti_mini, tmp_path, capsys):
    ids = kitti_mini / "ImageSets" / "val.txt"
    assert convert.main([str(kitti_mini), str(tmp_path / "bag"), "--ids", str(ids)]) == 0
    said = capsys.readouterr().out
    assert "DontCare" in said and "ground_truth_2d only" in said
    return KittiFolder(kitti_mini, read_ids(ids)), tmp_path / "bag"


def test_the_benchmark_scores_a_bag_as_it_scores_the_label_files(val_bag):
    folder, bag = val_bag
    found = {}
    for topic, _, message in read(bag, STORE, {"/camera/ground_truth", "/camera/ground_truth_2d"}):
        found.setdefault(stamp_of(message), {})[topic.rsplit("/")[-1]] = message
    truths = [decode(m["ground_truth"], m["ground_truth_2d"]) for _, m in sorted(found.items())]
    files = [read_table(folder.folder / "label_2" / f"{frame}.txt") for frame in folder.ids]
    assert len(truths) == len(files) == 25
    rng = np.random.default_rng(0)
    cameras, results, own_results = [folder.camera(i) for i in range(25)], [], []
    for i, camera in enumerate(cameras):
        # Detections of very different quality: the labels, shaken.
        objects = folder.objects(i)
        objects = objects[np.isfinite(objects.boxes).all(axis=1)]
        shaken = objects.boxes + rng.normal(0, 1, objects.boxes.shape) * [0.1, 0.05, 0.4, 0.1, 0.05, 0.05, 0.1]
        flat = objects.boxes2d + rng.normal(0, 1.5, (len(objects), 4))
        scores = rng.uniform(0, 1, len(objects))
        shift = np.r_[camera.translation, [0] * 4]
        results.append(_results(objects.names, scores, shaken, flat, camera))
        own_results.append(_results(objects.names, scores, shaken + shift, flat, camera.own_frame()))
    from_files = evaluate(files, results).to_json()
    from_bag = evaluate([objects_table(truth) for truth in truths], own_results).to_json()
    differences = list(_differences(from_files, from_bag))
    assert len(differences) > 50 and max(differences) < 0.01
    assert max(_numbers(from_files)) > 20


def _results(names, scores, boxes, boxes2d, camera) -> LabelTable:
    return detections_table(Detections(names, scores, boxes, boxes2d, np.full(len(names), np.nan)), camera)


def _numbers(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _numbers(child)
    elif isinstance(tree, float):
        yield tree


def _differences(a, b):
    yield from (abs(x - y) for x, y in zip(_numbers(a), _numbers(b), strict=True))


def test_tracks_keep_their_identity_and_other_objects_never_share_one(tmp_path, capsys):
    car = "Car 0 1 1.20 10.00 5.00 60.00 30.00 1.50 1.60 3.90 1.00 1.65 12.00 -1.57"
    nothing = f"DontCare -1 -1 -10 5 2 9 8 {'-1000 ' * 3}{'-10 ' * 3}-1"
    base = tmp_path / "training"
    for folder in ("image_02/0003", "calib", "label_02"):
        (base / folder).mkdir(parents=True)
    for name in ("000000.png", "000001.png"):
        cv2.imwrite(str(base / "image_02/0003" / name), np.zeros((40, 120, 3), np.uint8))
    (base / "calib/0003.txt").write_text("P2: 70.5 0 59.25 4.4857 0 71.5 17.125 0.216 0 0 1 0.00274\n")
    lines = [f"0 4 {car}", f"0 -1 {nothing}", f"0 -1 {nothing}", f"1 9 {car}", f"1 4 {car}"]
    (base / "label_02/0003.txt").write_text("\n".join(lines) + "\n")
    assert convert.main([str(base), str(tmp_path / "bag")]) == 0
    assert "ground_truth_2d only: 2 DontCare" in capsys.readouterr().out
    with (tmp_path / "bag" / "bag.mcap").open("rb") as stream:
        decoded = list(make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages())
    solid, flat = (
        [[entry.id for entry in m.detections] for _, c, _, m in decoded if c.topic == f"/camera/{name}"]
        for name in ("ground_truth", "ground_truth_2d")
    )
    assert solid == [["4"], ["9", "4"]]
    assert flat[0][0] == "4" and flat[1] == ["9", "4"]
    assert len({*flat[0], *flat[1]}) == 4, "the regions are objects of their own"
