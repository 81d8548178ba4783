"""KITTI label and result files: round trips, tolerated forms, and errors that name file, line and field."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from training.data.kitti import labels
from training.data.kitti.labels import COLUMNS, LabelError
from training.data.sample import Objects

CAR = "Car 0.00 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"
REGION = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"
FIELDS = (
    *("type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom"),
    *("height", "width", "length", "x", "y", "z", "rotation_y", "score"),
)


def write(tmp_path, text):
    path = tmp_path / "000007.txt"
    path.write_bytes(text.encode())
    return path


def test_a_label_line_is_read_as_the_format_says(tmp_path):
    objects = labels.read_objects(write(tmp_path, CAR + "\n"))
    assert objects.names.tolist() == ["Car"]
    assert objects.boxes[0] == pytest.approx([-16.53, 2.39 - 1.67 / 2, 58.49, 3.69, 1.87, 1.67, 1.57])
    assert objects.boxes2d[0] == pytest.approx([387.63, 181.54, 423.81, 203.12])
    assert (objects.truncated[0], objects.occluded[0]) == (0.0, 1)


def test_dont_care_has_a_2d_box_and_no_3d_box(tmp_path):
    objects = labels.read_objects(write(tmp_path, REGION.replace("DontCare", "dontcare")))
    assert objects.names.tolist() == ["dontcare"]
    assert np.isnan(objects.boxes).all()
    assert objects.boxes2d[0] == pytest.approx([503.89, 169.71, 590.61, 190.13])


@pytest.mark.parametrize("text", ["", "\n", " \r\n\n\t\n"])
def test_an_empty_file_has_no_rows(tmp_path, text):
    path = write(tmp_path, text)
    assert len(labels.read_table(path)) == len(labels.read_objects(path)) == 0


@pytest.mark.parametrize("text", [f"{CAR}\r\n{REGION}\r\n", f"\n{CAR}  \t\n\n  {REGION}\n\n", f"\ufeff{CAR}\n{REGION}"])
def test_line_ends_blank_lines_and_spaces_do_not_matter(tmp_path, text):
    table = labels.read_table(write(tmp_path, text))
    assert table.names == ["Car", "DontCare"]
    assert table.values[:, COLUMNS["z"]].tolist() == [58.49, -1000]


def test_labels_may_have_scores_and_results_must(tmp_path):
    table = labels.read_table(write(tmp_path, f"{CAR}\n{CAR} 0.25\n"))
    np.testing.assert_array_equal(table.values[:, COLUMNS["score"]], [np.nan, 0.25])
    with pytest.raises(LabelError, match=r"000007\.txt, line 1: 15 fields, field 'score' is missing"):
        labels.read_table(write(tmp_path, f"{CAR}\n{CAR} 0.25\n"), scores=True)


@pytest.mark.parametrize("field", range(1, 16))
@pytest.mark.parametrize("value", ["abc", "nan", "inf", "-Infinity", "1_0", "0x1p3", "1,5", "--1"])
def test_a_field_that_is_not_a_finite_number_is_named(tmp_path, field, value):
    fields = f"{CAR} 0.5".split()
    fields[field] = value
    path = write(tmp_path, f"{CAR} 0.5\n\n{' '.join(fields)}\n")
    with pytest.raises(LabelError, match=rf"000007\.txt, line 3, field '{FIELDS[field]}'.*") as error:
        labels.read_table(path, scores=True)
    assert value in str(error.value)


@pytest.mark.parametrize("count", [1, 4, 14, 17, 20])
def test_a_wrong_number_of_fields_is_named(tmp_path, count):
    fields = [*f"{CAR} 0.5".split(), *"abcdef"][:count]
    with pytest.raises(LabelError, match=rf"000007\.txt, line 2: {count} field") as error:
        labels.read_table(write(tmp_path, f"{CAR}\n{' '.join(fields)}\n"))
    if count < 15:
        assert f"field '{FIELDS[count]}' is missing" in str(error.value)


@pytest.mark.parametrize("text", [f"{CAR} {CAR}\n\n", f"{CAR} {CAR.replace(' 58.49', chr(10) + '58.49')}\n"])
def test_every_object_has_a_line_of_its_own(tmp_path, text):
    """Also where there are as many lines as objects."""
    with pytest.raises(LabelError, match=r"line 1: (30|28) fields"):
        labels.read_table(write(tmp_path, text))


def test_a_line_without_a_type_names_it(tmp_path):
    """A result line that lost its type has as many fields as a label line."""
    with pytest.raises(LabelError, match=r"line 2, field 'type': '0.00' is a number"):
        labels.read_table(write(tmp_path, f"{CAR}\n{' '.join(f'{CAR} 0.5'.split()[1:])}\n"))


def test_occlusion_is_a_whole_number(tmp_path):
    assert labels.read_objects(write(tmp_path, CAR.replace(" 1 ", " 2.0 "))).occluded.tolist() == [2]
    with pytest.raises(LabelError, match=r"line 1, field 'occluded': '0.5'"):
        labels.read_table(write(tmp_path, CAR.replace(" 1 ", " 0.5 ")))


@pytest.mark.parametrize("sizes", ["-1 -1 -1", "-1.00 -1.00 -1.00", "0 0 0", "1.67 0 3.69"])
def test_an_object_without_a_3d_box_is_read_without_one(tmp_path, sizes):
    """As in 2D data sets, and as 2D detectors write their results."""
    lines = f"{REGION}\n{CAR.replace('1.67 1.87 3.69', sizes)}\n{CAR}\n"
    objects = labels.read_objects(write(tmp_path, lines))
    assert np.isnan(objects.boxes).any(axis=1).tolist() == [True, True, False]
    assert np.isfinite(objects.boxes2d).all()


@pytest.mark.parametrize("sizes", ["-2 -2 -2", "1.67 -1 3.69"])
def test_a_negative_size_is_an_error(tmp_path, sizes):
    with pytest.raises(LabelError, match=r"line 3 \(Car\), field '.*': -. is negative"):
        labels.read_objects(write(tmp_path, f"{REGION}\n\n{CAR.replace('1.67 1.87 3.69', sizes)}\n"))


def test_bytes_that_are_not_text_name_the_line(tmp_path):
    path = tmp_path / "picture.txt"
    path.write_bytes(CAR.encode() + b"\n\x89PNG\xff\xfe")
    with pytest.raises(LabelError, match=r"picture\.txt, line 2: not text"):
        labels.read_table(path)


numbers = st.integers(-(10**8), 10**8).map(lambda n: n / 10**6)
rows = st.lists(st.tuples(*[numbers] * 12, st.sampled_from(["Car", "Van", "Person_sitting"])), max_size=5)


@given(rows)
def test_objects_survive_writing_and_reading(tmp_path_factory, rows):
    values = np.array([row[:12] for row in rows]).reshape(-1, 12)
    boxes = values[:, :7].copy()
    boxes[:, 3:6] = np.maximum(np.abs(boxes[:, 3:6]), 1e-3)
    names = np.array([row[12] for row in rows], dtype=str)
    objects = Objects(names, boxes, values[:, 7:11], np.abs(values[:, 11]), np.arange(len(rows)))
    path = tmp_path_factory.getbasetemp() / "written.txt"
    labels.write_objects(path, objects)
    read = labels.read_objects(path)
    assert read.names.tolist() == names.tolist() and read.occluded.tolist() == list(range(len(rows)))
    np.testing.assert_allclose(read.boxes, boxes, atol=2e-6)
    np.testing.assert_allclose(read.boxes2d, objects.boxes2d, atol=1e-6)
    np.testing.assert_allclose(read.truncated, objects.truncated, atol=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_scores_are_written_in_full(tmp_path_factory, scores):
    count = len(scores)
    boxes = np.tile([3.0, 1.0, 20.0, 4.0, 1.6, 1.5, 0.3], (count, 1))
    boxes2d = np.tile([-30.0, 10.0, 50.0, 700.0], (count, 1))
    detections = Detections(np.full(count, "Car"), np.array(scores), boxes, boxes2d, np.ones(count))
    camera = Camera.pinhole(700, 700, 600, 180, 1242, 375)
    path = tmp_path_factory.getbasetemp() / "results.txt"
    labels.write_results(path, detections, camera)
    read = labels.table_detections(labels.read_table(path, scores=True))
    assert read.scores.tolist() == sorted(scores, reverse=True)
    np.testing.assert_allclose(read.boxes, boxes, atol=1e-6)
    np.testing.assert_array_equal(read.boxes2d[0], [0, 10, 50, 374])  # clipped to the image
    alpha = labels.read_table(path, scores=True).values[:, COLUMNS["alpha"]]
    np.testing.assert_allclose(alpha, 0.3 - np.arctan2(3.0, 20.0), atol=1e-6)


def test_what_cannot_be_read_back_is_not_written(tmp_path):
    objects = labels.read_objects(write(tmp_path, CAR))
    two_words = Objects(np.array(["Big car"]), objects.boxes, objects.boxes2d, objects.truncated, objects.occluded)
    with pytest.raises(ValueError, match="'Big car' must be one word"):
        labels.write_objects(tmp_path / "out.txt", two_words)
    infinite = Objects(objects.names, objects.boxes, objects.boxes2d * np.inf, objects.truncated, objects.occluded)
    with pytest.raises(ValueError, match="not finite"):
        labels.write_objects(tmp_path / "out.txt", infinite)
    assert not (tmp_path / "out.txt").exists()


def test_real_labels_survive_writing_and_reading(kitti_mini, tmp_path):
    paths = sorted((kitti_mini / "training" / "label_2").glob("*.txt"))
    assert paths
    for path in paths:
        table, copy = labels.read_table(path), tmp_path / path.name
        labels.write_objects(copy, labels.read_objects(path))
        again = labels.read_table(copy)
        assert again.names == table.names
        exact = [i for name, i in COLUMNS.items() if name not in ("alpha", "score")]
        np.testing.assert_allclose(again.values[:, exact], table.values[:, exact], atol=1e-6)
