"""Hostile bytes to every reader, and hostile outputs of networks, in this process."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import yaml
from reader_cases import OWN, cases

from add_model.candidates import Candidates
from add_model.classes import KITTI_CLASSES
from add_model.errors import ModelError
from add_model.geometry.camera import Camera
from add_model.metadata import read_metadata, write_metadata
from add_model.preprocessing import postprocess
from add_ros.bags.camera_writer import CameraBagWriter
from add_ros.bags.reading import open_bag, raw_messages
from add_ros.bags.sources import world_frames
from add_ros.errors import FrameRejectedError
from add_ros.images import rgb_from_compressed
from training.data.bounded_yaml import load_yaml

_EXPECTED = (*OWN, FrameRejectedError, KeyError, yaml.YAMLError)
_GOOD = (0.5, [0, 1, 20, 4, 1.6, 1.5, 0], [300, 90, 340, 120], 1.0)  # scores, boxes, boxes2d, depth_std
_SLOW = 5.0  # seconds of the processor for one input


def broken(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some changed, cut off, repeated or grown."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(0, max(1, len(found))))
        kind = rng.integers(5)
        if kind == 0 and found:
            found[at] = int(rng.integers(256))
        elif kind == 1:
            found[at : at + 4] = struct.pack(">I", int(rng.choice([0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1])))
        elif kind == 2:
            del found[at:]
        elif kind == 3:
            found[at:at] = found[at : at + int(rng.integers(1, 200))]
        else:
            found[at : at + 8] = rng.bytes(8)
    return bytes(found)


def readers(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, inputs that were not survived): an exception that is no reader's own, or more than `_SLOW` seconds."""
    rng = np.random.default_rng(seed)
    targets = _targets(folder)
    counts, refused, failures = dict.fromkeys(targets, 0), 0, []
    process, end = psutil.Process(), time.monotonic() + seconds
    before = process.memory_info().rss
    while time.monotonic() < end:
        for name, (data, read) in targets.items():
            given, began = broken(data, rng), time.process_time()
            counts[name] += 1
            try:
                read(given)
            except _EXPECTED:
                refused += 1
            except Exception as error:
                failures.append(f"{name}: {type(error).__name__}")
            if time.process_time() - began > _SLOW:
                failures.append(f"{name}: slow")
    grown = (process.memory_info().rss - before) / 1e6
    worst = f"; not survived: {', '.join(sorted(set(failures)))}" if failures else ""
    given = f"{sum(counts.values())} files, {min(counts.values())} or more for each of {len(counts)} readers"
    return f"{given}; {refused} refused; memory +{grown:.0f} MB{worst}", len(failures)


def _targets(folder: Path) -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8), (160, 96))
    targets: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
        kind: (cv2.imencode(f".{kind}", picture)[1].tobytes(), _image) for kind in ("jpg", "png", "tiff")
    }
    for storage, ending in (("mcap", "mcap"), ("sqlite3", "db3")):
        bag = folder / storage
        with CameraBagWriter(bag, storage, compressed_images=True) as writer:
            for frame in world_frames(2, 0, 0).frames:
                writer.write(frame.sample, frame.stamp)
        targets[ending] = ((bag / f"{storage}.{ending}").read_bytes(), _reader(folder / f"x.{ending}", _bag))
    for name, case in cases(folder).items():
        targets[name] = case.data, partial(case, folder / "given")
    text = yaml.safe_dump({"a": [1, {"b": [2, 3]}], "c": "text"}).encode()
    targets["YAML"] = (text, lambda data: load_yaml(data.decode("utf-8")))
    return targets


def _image(data: bytes) -> object:
    return rgb_from_compressed(SimpleNamespace(format="jpeg", data=data))


def _reader(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def call(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return call


def _bag(path: Path) -> int:
    with open_bag(path) as reader:
        return sum(1 for _ in raw_messages(reader))


def _mostly_good(good: object, count: int, strange: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of good values, of which one in fifty is another."""
    values = np.tile(np.asarray(good, np.float32), (count, *[1] * np.ndim(good)))
    return np.where(rng.random(values.shape) < 0.02, rng.choice(strange, values.shape), values)


def models(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """Random candidates and settings: nothing impossible comes out, and no exception but ModelError."""
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    camera = Camera.pinhole(360, 360, 320, 96, 640, 192)
    own = write_metadata(SimpleNamespace(classes=KITTI_CLASSES, focal=360.0, size_multiple=32, nms=None))
    strange = np.array([np.nan, np.inf, -np.inf, -1, 0, 1e9, 1e-9, 1, 20, 3e38], np.float32)
    given = dropped = kept = settings = failures = 0
    while time.monotonic() < end:
        k = int(rng.integers(1, 300))
        values = [_mostly_good(part, k, strange, rng) for part in _GOOD]
        candidates = Candidates(values[0], rng.integers(-1, 4, k), *values[1:])
        found = postprocess(candidates, KITTI_CLASSES, camera, camera)
        given, dropped, kept = given + k, dropped + found.impossible, kept + len(found)
        parts = (found.scores, found.boxes, found.boxes2d, found.depth_std)
        fine = all(np.isfinite(part).all() for part in parts) and (found.boxes[:, 3:6] > 0).all()
        failures += not (fine and (found.boxes[:, 2] > 0).all() and (found.scores <= 1.001).all())
        key = str(rng.choice(list(own)))
        settings += 1
        try:
            read_metadata(own | {key: broken(own[key].encode(), rng).decode("utf-8", "replace")})
        except (ModelError, KeyError, ValueError, TypeError, json.JSONDecodeError):
            pass
        except Exception:
            failures += 1
    return f"{given} candidates, {dropped} left out, {kept} kept and possible; {settings} settings", failures
