"""Tools' files with any value in any place: labels, or the reader's own error in one line."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from add_model.geometry.camera import Camera
from training.data.kitti.labels import LabelError
from training.data.label_formats.cuboids import Cuboids, LabelFormatError, LabelledFrame
from training.data.label_formats.formats import FORMATS
from training.data.sample import Objects

CAMERA = Camera.pinhole(700, 710, 620, 180, 1242, 375)
BOXES = np.array([(1.0, 1.2, 15, 4, 1.6, 1.5, 0.3), (-2, 1, 9, 0.8, 0.6, 1.7, -2)])
CUBOIDS = Cuboids.of([("Car", [15.0, -1, -1, 4, 1.6, 1.5, 0.3]), ("cone", [9.0, 2, -1, 0.8, 0.6, 1.7, 2])], [0, 2])
OBJECTS = Objects(CUBOIDS.names, BOXES, np.tile([100.0, 50, 300, 200], (2, 1)), np.zeros(2), np.array([0, 2]))
FRAMES = {name: LabelledFrame(CUBOIDS, CAMERA, f"training/image_2/{name}.png", OBJECTS) for name in ("a", "b")}
JSON_FORMATS = ["datumaro", "labelcloud", "labelcloud_rel", "sustechpoints", "omni3d"]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
scalars |= st.sampled_from([10**400, 2**63, -(2**63) - 1, 1e308, "\ud800", "\0"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


def places(content, path=()):
    """The path of each value in JSON content, that of the whole first."""
    yield path
    if isinstance(content, dict | list):
        for key, inner in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(inner, (*path, key))


def with_value(content, path, value):
    if not path:
        return value
    changed = copy.deepcopy(content)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def read_or_refuse(name, source, file):
    """Read files of a format: labels of the right shapes, or an error of one line that names the file."""
    try:
        with np.errstate(all="ignore"):
            read = FORMATS[name].read(source, list(FRAMES))
    except (LabelFormatError, LabelError) as error:
        assert Path(file).name in str(error) and "\n" not in str(error)
    else:
        for found in (*read.cuboids.values(), *read.objects.values()):
            assert found.boxes.shape == (len(found), 7)
            assert found.names.shape == found.occluded.shape == (len(found),)


@pytest.mark.parametrize("name", JSON_FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_place_of_a_json_file_is_read_or_refused(name, tmp_path, data):
    source = tmp_path / "labels"
    FORMATS[name].write(source, FRAMES)
    file = source / "a.json" if source.is_dir() else source
    content = json.loads(file.read_text())
    place = data.draw(st.sampled_from(list(places(content))))
    file.write_text(json.dumps(with_value(content, place, data.draw(values))))
    read_or_refuse(name, source, file)


@pytest.mark.parametrize("name", JSON_FORMATS)
@pytest.mark.parametrize("value", [None, True, 5, -1.5, "word", "", [], [1], [[1]], {}, {"a": 1}, 10**400, 1e308])
def test_each_place_of_a_json_file_may_have_another_type(name, value, tmp_path):
    source = tmp_path / "labels"
    FORMATS[name].write(source, FRAMES)
    file = source / "a.json" if source.is_dir() else source
    content = json.loads(file.read_text())
    for place in places(content):
        file.write_text(json.dumps(with_value(content, place, value)))
        read_or_refuse(name, source, file)


@pytest.mark.parametrize("name", ["cvat", "kitti_raw"])
@pytest.mark.parametrize("value", ["", "word", "-1", "1.5", "1e308", "1e400", "nan", "<item/>", "<item>1</item>"])
def test_each_text_of_a_tracklet_file_may_have_another_type(name, value, tmp_path):
    FORMATS[name].write(tmp_path, FRAMES)
    file = tmp_path / "tracklet_labels.xml"
    text = file.read_text()
    for found in re.finditer(r">([^<>\s]+)<", text):
        file.write_text(text[: found.start(1)] + value + text[found.end(1) :])
        read_or_refuse(name, tmp_path, file)


@pytest.mark.parametrize("value", ["", "word", "-1", "1.5", "1e308", "1e400", "nan", "7 7"])
def test_each_field_of_a_kitti_file_may_have_another_type(value, tmp_path):
    line = "Car 0.00 0 0.3 100 100 200 180 1.5 1.6 4.0 0.0 1.6 20.0 0.0 0.9"
    fields = line.split()
    file = tmp_path / "a.txt"
    for place in range(len(fields)):
        file.write_text(" ".join([*fields[:place], value, *fields[place + 1 :]]) + "\n")
        read_or_refuse("kitti", tmp_path, file)


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_a_file_that_is_nested_too_deeply_is_refused(name, tmp_path):
    source = tmp_path / "labels"
    FORMATS[name].write(source, FRAMES)
    file = source / "a.json" if source.is_dir() else source
    file.write_text("[" * 200000)
    with pytest.raises(LabelFormatError, match=f"{file.name}: not JSON"):
        FORMATS[name].read(source, list(FRAMES))
