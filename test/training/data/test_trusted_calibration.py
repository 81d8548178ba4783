"""Intrinsics that look wrong are told by every command that reads folders, and by none that is asked to trust them."""

import cv2
import numpy as np
import pytest
from support.label_lines import label

from add_model.classes import KITTI_CLASSES
from add_ros.bags import convert
from training import predict
from training.data import data_module
from training.data.kitti.calib import write_calib
from training.data.kitti.dataset import KittiFolder
from training.data.sources import MixedSource

HALF = np.array([[360.75, 0, 304.8, 0], [0, 360.75, 86.4, 0], [0, 0, 1, 0]])
LAYOUTS = ("object", "images", "yaml", "tracking")


def folder(root, layout):
    """One black frame of 1242x375 with the intrinsics of half of it."""
    images, calib = {
        "object": ("training/image_2", "training/calib/000000.txt"),
        "tracking": ("training/image_02/0003", "training/calib/0003.txt"),
        "images": ("drive", "drive/calib.txt"),
        "yaml": ("drive", "drive/ost.yaml"),
    }[layout]
    for path in (root / images, (root / calib).parent, root / "training" / "label_2"):
        path.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / images / "000000.png"), np.zeros((375, 1242, 3), np.uint8))
    write_calib(root / calib, HALF)
    if layout == "yaml":
        matrix = HALF[:, :3].ravel().tolist()
        (root / calib).write_text(f"image_width: 1242\nimage_height: 375\ncamera_matrix: {matrix}\n")
    (root / "training" / "label_2" / "000000.txt").write_text(label() + "\n")
    return root if layout in ("object", "tracking") else root / "drive"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_convert(tmp_path, layout, capsys):
    source = str(folder(tmp_path / "source", layout))
    assert convert.main([source, str(tmp_path / "bag")]) == 0
    said = capsys.readouterr().err
    assert "2 times its first two rows" in said and "trust_calibration: true, silences this" in said
    assert convert.main([source, str(tmp_path / "trusted"), "--trust-calibration"]) == 0
    assert capsys.readouterr().err == ""


def test_convert_does_not_take_it_for_the_world(capsys):
    with pytest.raises(SystemExit):
        convert.main(["--world", "1", "bag", "--trust-calibration"])
    assert "--trust-calibration would do nothing with --world" in capsys.readouterr().err


@pytest.mark.parametrize("trusted", [False, True])
def test_training(tmp_path, trusted, monkeypatch):
    said = []
    monkeypatch.setattr(data_module, "say_note", said.append)
    root = folder(tmp_path, "object")
    (root / "ids.txt").write_text("000000\n")
    frames = MixedSource(str(root), "ids.txt", trust_calibration=trusted).folder()
    data_module._require_labelled([frames], KITTI_CLASSES)
    assert any("2 times its first two rows" in line for line in said) != trusted
    data = data_module.KittiData(str(root), "ids.txt", "ids.txt", trust_calibration=trusted)
    monkeypatch.setattr(data_module.Loaders, "_classes", KITTI_CLASSES)
    assert bool(data._folder("ids.txt", None).notes) != trusted


@pytest.mark.parametrize("trusted", [False, True])
def test_predict(tmp_path, trusted, monkeypatch):
    asked = []
    real = KittiFolder
    monkeypatch.setattr(predict, "KittiFolder", lambda *a, **k: asked.append(real(*a, **k)) or asked[-1])
    options = ["--kitti", str(folder(tmp_path, "object")), "--out", str(tmp_path / "out"), "--model", "there_is_none"]
    assert predict.main(options + ["--trust-calibration"] * trusted) == 1
    assert bool(asked[0].notes) != trusted
