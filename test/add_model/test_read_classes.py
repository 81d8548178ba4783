"""Classes read from JSON files and from models."""

import subprocess
import sys
from dataclasses import replace

import pytest
from support.own_classes import THREE, WAREHOUSE, renamed_model, write_classes

from add_model.classes import KITTI_CLASSES, ClassSpec, ObjectClass
from add_model.errors import ModelError
from add_model.metadata import read_classes
from add_model.predictor import SHIPPED_MODEL


def test_a_json_file_names_its_classes(tmp_path):
    assert read_classes(write_classes(tmp_path / "classes.json")) == WAREHOUSE
    (tmp_path / "short").write_text('[{"name": "pallet",\n  "mean_size": [1.2, 0.8, 0.15]}]')
    assert read_classes(tmp_path / "short") == ClassSpec((ObjectClass("pallet", (1.2, 0.8, 0.15)),))


def test_a_model_names_its_classes(tmp_path):
    assert read_classes(renamed_model(SHIPPED_MODEL, tmp_path / "own.onnx", THREE)) == THREE
    for shipped in (SHIPPED_MODEL, SHIPPED_MODEL.with_suffix(".safetensors")):
        classes = read_classes(shipped)
        assert ClassSpec(tuple(replace(kind, score_calibration=(1.0, 0.0)) for kind in classes)) == KITTI_CLASSES


def test_no_torch_is_needed():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from add_model.metadata import read_classes\n"
        f"assert read_classes({str(SHIPPED_MODEL)!r}).names == {KITTI_CLASSES.names!r}"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.json", None, "there is no file"),
        ("pointer.onnx", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the model"),
        ("bad.json", b"{", "cannot read classes from .*bad.json"),
        ("empty.json", b"[]", "empty.json: there is no class"),
        ("binary.json", b"\xff\xfe\x00", "binary.json"),
        ("bad.onnx", b"no model", "bad.onnx: it can't be loaded as an ONNX model"),
        ("bad.safetensors", b"no model", "bad.safetensors: it is not a safetensors file"),
    ],
)
def test_what_names_no_classes_is_an_error_that_names_it(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_classes(tmp_path / name)


def test_a_foreign_model_is_an_error(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(SHIPPED_MODEL)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match=r"foreign\.onnx names no classes"):
        read_classes(tmp_path / "foreign.onnx")
