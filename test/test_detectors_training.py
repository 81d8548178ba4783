"""Each detector as a user has it: trained and scored through the command line, and run on an image."""

import numpy as np
import pytest
from training_bench import Training, configure

from add_model.camera import Camera
from add_model.models import save
from add_model.predictor import Predictor
from training.export import read_checkpoint
from training.metrics import read_metrics

LOSSES = {
    "caddn_plain": {"label", "box", "direction", "depth_map"},
    "monodetr_plain": {"label", "centre", "sides", "overlap", "depth", "size_3d", "heading", "depth_map"},
}


def start(folder, name, depth="dense"):
    world = {"width": 160, "height": 96, "focal": 180}
    data = {"world": world, "depth": depth, "augmentation": {"size": [96, 64]}}
    config = configure(folder / "tiny.yaml", model={"model": name, "start": None}, data=data, trainer={"max_epochs": 1})
    return Training(folder, "fit", "--config", config)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_from_training_to_a_prediction(name, tmp_path):
    run = start(tmp_path, name)
    assert run.finish() == 0, run.text()
    rows = read_metrics(tmp_path / "runs" / "tiny" / "metrics.csv")
    logged = {key.removeprefix("train/") for key in rows[0] if key.startswith("train/")}
    assert logged - {"rate", "loss"} == LOSSES[name]
    assert any("val/Car_3d_moderate" in row for row in rows)
    kind, detector = read_checkpoint(tmp_path / "runs/tiny/last.ckpt")
    assert kind == name
    save(tmp_path / "model.safetensors", name, detector)
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    camera = Camera.pinhole(200, 200, 100, 50, 200, 100)
    found = Predictor(tmp_path / "model.safetensors", device="cpu").predict(image, camera)
    assert len(found) and np.isfinite(found.boxes).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all() and (found.depth_std > 0).all()


def test_caddn_without_depth_says_where_to_name_it(tmp_path):
    run = start(tmp_path, "caddn_plain", depth=None)
    assert run.finish() == 1
    assert "give data.depth lidar, object or dense" in run.text()
    assert "Traceback" not in run.text()
