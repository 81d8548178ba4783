"""Each kind of file that the project writes, written again and again as fast as the disk takes it, until killed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np

from add_model.atomic_io import write_atomically, write_quickly
from add_model.classes import KITTI_CLASSES
from add_model.registry import build
from add_model.weights_file import save
from training.checkpoint_writing import AtomicCheckpoints
from training.data.kitti.calib import write_calib
from training.data.kitti.labels import read_objects, write_objects


def write_forever(folder: Path) -> None:
    """Write to the folder, with weights and checkpoints in every fifth round."""
    detector = build("monodle_lite0", KITTI_CLASSES)
    (folder / "given.txt").write_text("Car 0.00 0 0.3 100 100 200 180 1.5 1.6 4.0 0.0 1.6 20.0 0.0\n" * 40)
    objects, state = read_objects(folder / "given.txt"), detector.state_dict()
    picture = np.random.default_rng(0).integers(0, 255, (96, 320, 3), np.uint8)
    for n in itertools.count():
        write_objects(folder / "labels.txt", objects)
        write_calib(folder / "calib.txt", np.eye(3, 4) * (1 + n))
        write_atomically(folder / "page.html", "<html>" + "x" * 300_000 + "</html>")
        write_atomically(folder / "table.json", json.dumps(list(range(20_000))))
        write_quickly(folder / "picture.png", cv2.imencode(".png", picture)[1].tobytes())
        if n % 5 == 0:
            save(folder / "weights.safetensors", "monodle_lite0", detector)
            made = {"model_name": "monodle_lite0", "state_dict": {f"detector.{k}": v for k, v in state.items()}}
            AtomicCheckpoints().save_checkpoint(made, folder / "last.ckpt")
