"""Readers of files against bytes of any kind: a value, or the reader's own error in one line."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from add_model.classes import ClassSpec
from add_model.errors import ModelError
from add_model.metadata import read_metadata
from training.data.images import ImageError, image_size, read_image
from training.data.kitti.calib import read_calib
from training.data.kitti.labels import read_objects
from training.data.text_files import read_text

LINE = b"Car 0.00 0 0.3 100 100 200 180 1.5 1.6 4.0 0.0 1.6 20.0 0.0\n"
CALIB = b"P2: 360 0 320 0 0 360 96 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
same_folder = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spoilt(whole):
    """The bytes of a good file with a part replaced, or any bytes at all."""
    at = st.integers(0, len(whole))
    parts = st.tuples(
        at, at, st.binary(max_size=30) | st.sampled_from([b"nan", b"1e999", b"\xff", b"\0", b"\r\n", b" "])
    )
    return st.binary(max_size=200) | parts.map(lambda p: whole[: p[0]] + p[2] + whole[p[1] :])


@same_folder
@given(spoilt(LINE * 2))
def test_labels(tmp_path, data):
    path = tmp_path / "000000.txt"
    path.write_bytes(data)
    try:
        objects = read_objects(path)
    except ValueError as error:
        assert path.name in str(error) and "\n" not in str(error)
    else:
        assert objects.boxes.shape == (len(objects), 7) and objects.boxes2d.shape == (len(objects), 4)


@same_folder
@given(spoilt(CALIB))
def test_calibrations(tmp_path, data):
    path = tmp_path / "000000.txt"
    path.write_bytes(data)
    try:
        calib = read_calib(path)
    except ValueError as error:
        assert path.name in str(error) and "\n" not in str(error)
    else:
        assert calib.P2.shape == (3, 4)


@same_folder
@given(st.binary(max_size=300))
def test_texts_and_images(tmp_path, data):
    path = tmp_path / "file.png"
    path.write_bytes(data)
    assert isinstance(read_text(path), str)
    for read in (image_size, read_image):
        with pytest.raises(ImageError, match=r"file\.png"):
            read(path)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["class_spec", "classes", "focal", "multiple", "nms"]), st.text(max_size=40)))
def test_metadata_of_models(metadata):
    try:
        found = read_metadata(metadata)
    except (KeyError, ValueError, TypeError, ModelError):
        return
    assert isinstance(found.classes, ClassSpec) and found.focal > 0 and found.size_multiple > 0


def test_an_image_file_that_is_too_large_by_its_header(tmp_path):
    data = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    data[16:24] = struct.pack(">II", 32000, 32000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path = tmp_path / "huge.png"
    path.write_bytes(data)
    for read in (image_size, read_image):
        with pytest.raises(ImageError, match=r"huge\.png: .*32000x32000 pixels, 100 million are read at most"):
            read(path)
