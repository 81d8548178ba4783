"""What an exported model carries beside its weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.geometry.camera import Camera
from add_model.metadata import read_classes
from add_model.predictor import Predictor
from add_model.registry import build
from add_model.weights_file import save
from training.export import main, read_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    weights = {f"detector.{name}": value for name, value in build("monodle_plain").state_dict().items()}
    torch.save({"model_name": "monodle_plain", "state_dict": weights}, path)
    return path


@pytest.mark.slow
def test_calibrated_scores_come_with_the_model(checkpoint, tmp_path):
    """Boxes stay; each score is Platt's scaling of what the same weights give without, in torch and in ONNX."""
    pairs = ((2.0, 1.5), (3.0, 4.0), (0.5, -1.0))
    spec = ClassSpec(tuple(replace(k, score_calibration=p) for k, p in zip(KITTI_CLASSES, pairs, strict=True)))
    (tmp_path / "classes.json").write_text(spec.to_json())
    save(tmp_path / "plain.safetensors", *read_checkpoint(checkpoint))
    classes = ["--classes", str(tmp_path / "classes.json")]
    assert main(["--checkpoint", str(checkpoint), "--out", str(tmp_path / "calibrated"), *classes]) == 0
    image = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    camera = Camera.pinhole(180, 180, 80, 48, 160, 96)
    raw = Predictor(tmp_path / "plain.safetensors", device="cpu").predict(image, camera)
    slope, offset = np.array([pairs[spec.index(name)] for name in raw.names]).T
    expected = np.sort(expit(slope * logit(raw.scores) + offset))[::-1]
    for suffix, engine in ((".onnx", "onnxruntime"), (".safetensors", "torch")):
        assert read_classes(tmp_path / f"calibrated{suffix}") == spec
        found = Predictor(tmp_path / f"calibrated{suffix}", device="cpu", engine=engine).predict(image, camera)
        assert len(found) == len(raw) > 5
        np.testing.assert_allclose(found.scores, expected, rtol=1e-4)


def test_classes_of_another_coding_are_refused(checkpoint, tmp_path, capsys):
    other = ClassSpec((replace(KITTI_CLASSES.classes[0], mean_size=(4.0, 2.0, 2.0)), *KITTI_CLASSES.classes[1:]))
    (tmp_path / "classes.json").write_text(other.to_json())
    arguments = ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "m")]
    assert main([*arguments, "--classes", str(tmp_path / "classes.json")]) == 1
    assert "other classes or mean sizes" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
