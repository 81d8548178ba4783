"""The demo with the detector that a user names: an exported one, and what is none."""

import numpy as np
import pytest
from support.demo_bench import start_demo
from support.old_files import unpack

from add_model.predictor import SHIPPED_MODEL, Predictor
from add_ros.bags.frames import BagFrames
from add_ros.demo.results import read_run

pytestmark = pytest.mark.slow


def test_the_demo_publishes_what_an_exported_detector_finds(tmp_path):
    model, out = unpack("model/student.onnx", tmp_path), tmp_path / "demo"
    process = start_demo("--out", out, "--frames", 3, "--model", model, "--score-threshold", 0, "--no-flip-test")
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, output + errors
    assert "student.onnx on " in output
    assert "student.onnx" in (out / "index.html").read_text(encoding="utf-8")
    answers = read_run(out / "result").answers
    predictor, boxes = Predictor(model, flip_test=False), 0
    for frame in BagFrames(out / "input"):
        found, published = predictor.predict(frame.image, frame.camera), answers.pop(frame.stamp)
        assert published.names.tolist() == found.names.tolist()
        np.testing.assert_allclose(published.scores, found.scores, atol=1e-5)
        np.testing.assert_allclose(published.boxes[:, :6], found.boxes[:, :6], rtol=1e-4, atol=1e-4)
        boxes += len(found)
    assert boxes > 0 and not answers


@pytest.mark.parametrize("model", ["caddn_plain", "absent.onnx"])
def test_neither_a_name_nor_a_file_is_one_line_before_anything_starts(model, tmp_path):
    process = start_demo("--out", tmp_path / "demo", "--model", model)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and not output
    assert len(errors.splitlines()) == 1
    assert repr(model) in errors and SHIPPED_MODEL.stem in errors
    assert not (tmp_path / "demo").exists()
