"""Processes that are killed at any moment, and a disk without room: what was written before is whole."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml

from add_model.atomic_io import write_atomically
from add_model.classes import KITTI_CLASSES
from add_model.errors import OutputError
from add_model.registry import build
from add_model.weights_file import save
from training.checkpoints import load_checkpoint
from training.data.kitti.calib import write_calib
from training.errors import TrainingError

_WRITER = """
import hashlib, os, sys
from pathlib import Path
from add_model.atomic_io import write_atomically
while True:
    data = os.urandom(300_000)
    write_atomically(Path(sys.argv[1]), hashlib.sha256(data).digest() + data)
"""


def writer(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(kills, files that were not whole)."""
    rng, path, kills, broken, end = np.random.default_rng(seed), folder / "file", 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0.3, 1.0))
        process.kill()
        process.wait()
        kills += 1
        data = path.read_bytes()
        broken += hashlib.sha256(data[32:]).digest() != data[:32]
    return f"{kills} SIGKILLs, {broken} files not whole", broken


def training(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): each time the last checkpoint has to be readable, and the run to go on from it."""
    rng = np.random.default_rng(seed)
    data = {"world": {"width": 128, "height": 64, "focal": 360}, "count": 4, "val_count": 3, "batch_size": 2}
    data |= {"num_workers": 0, "augmentation": {"size": [64, 64]}}
    config = {
        "model": {"name": "monodle_lite0", "init_weights": None},
        "data": {"class_path": "training.data.data_module.WorldData", "init_args": data},
        "trainer": {"accelerator": "cpu", "max_epochs": 100_000, "enable_progress_bar": False},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    last, kills, epochs, failures = folder / "run" / "last.ckpt", 0, 0, 0
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training", "fit", "--config", "tiny.yaml", "--run-dir", "run", "--resume"]
    end = time.monotonic() + seconds
    while time.monotonic() < end and not failures:
        stamp = last.stat().st_mtime if last.exists() else 0.0
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and not (last.exists() and last.stat().st_mtime > stamp):
            if time.monotonic() > end + 120:
                break
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 2))
        failures += process.poll() is not None
        process.kill()
        process.wait()
        kills += 1
        try:
            now = load_checkpoint(last)["run"]["epochs"]
        except TrainingError:
            failures += last.exists()
            continue
        failures += now < epochs
        epochs = now
    return f"{kills} SIGKILLs, resumed each time, {epochs} epochs", failures


def full_disk(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): every writer says which file, and leaves the older one."""
    detector = build("monodle_lite0", KITTI_CLASSES)
    outputs = {
        "page.html": lambda path: write_atomically(path, "<html>" * 1000),
        "calib.txt": lambda path: write_calib(path, np.eye(3, 4)),
        "weights.safetensors": lambda path: save(path, "monodle_lite0", detector),
        "table.json": lambda path: write_atomically(path, b"{}" * 9000),
    }
    failures = 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, write in outputs.items():
        path = folder / name
        path.write_text("older")
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            write(path)
            failures += 1
        except OutputError as error:
            failures += str(path) not in str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        failures += path.read_text() != "older" or len(list(folder.glob(f"{name}*"))) != 1
    return f"{len(outputs)} kinds of outputs, the older file intact", failures
