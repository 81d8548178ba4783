"""The tools with a JSON file for each frame: labelCloud and SUSTechPOINTS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from add_model.atomic_io import write_atomically
from training.data.label_formats.cuboids import Cuboids, Frames, LabelFormatError, ReadLabels, one_word, upright
from training.data.label_formats.tool_files import entry, mapping, numbers, read_json, sides

_AXES, _SIZES = ("x", "y", "z"), ("length", "width", "height")


def write_labelcloud(folder: Path, frames: Frames, degrees: bool) -> None:
    """labelCloud's centroid_abs (degrees from 0 to 360) or centroid_rel (radians): a file for each frame."""

    def content(name: str, cuboids: Cuboids) -> Any:
        objects = []
        for kind, (x, y, z, length, width, height, yaw) in zip(cuboids.names, cuboids.boxes.tolist(), strict=True):
            turn = np.degrees(yaw) % 360 if degrees else yaw
            objects.append(
                {
                    "name": str(kind),
                    "centroid": dict(zip(_AXES, (x, y, z), strict=True)),
                    "dimensions": dict(zip(_SIZES, (length, width, height), strict=True)),
                    "rotations": {"x": 0.0, "y": 0.0, "z": float(turn)},
                }
            )
        return {"folder": "velodyne", "filename": f"{name}.bin", "path": f"velodyne/{name}.bin", "objects": objects}

    _write(folder, frames, content)


def read_labelcloud(folder: Path, degrees: bool) -> ReadLabels:
    """The inverse of `write_labelcloud`. Raises LabelFormatError."""

    def cuboids(content: Any, path: Path) -> Cuboids:
        rows = []
        for number, item in enumerate(entry(content, "objects", list, str(path))):
            where = f"{path}, object {number}"
            item = mapping(item, where)
            turns = numbers(item.get("rotations"), _AXES, where)
            turns = np.radians(turns).tolist() if degrees else turns
            size = sides(numbers(item.get("dimensions"), _SIZES, where), where)
            box = [*numbers(item.get("centroid"), _AXES, where), *size, upright(where, tuple(turns))]
            rows.append((one_word(entry(item, "name", str, where)), box))
        return Cuboids.of(rows)

    return _read(folder, cuboids)


def write_sustech(folder: Path, frames: Frames) -> None:
    """SUSTechPOINTS' label folder: a list of obj_type and psr (position, scale, rotation) for each frame."""

    def content(name: str, cuboids: Cuboids) -> Any:
        objects = []
        rows = zip(cuboids.names, cuboids.boxes.tolist(), cuboids.scores.tolist(), strict=True)
        for number, (kind, (x, y, z, length, width, height, yaw), score) in enumerate(rows, 1):
            psr = {
                "position": dict(zip(_AXES, (x, y, z), strict=True)),
                "scale": dict(zip(_AXES, (length, width, height), strict=True)),
                "rotation": {"x": 0.0, "y": 0.0, "z": yaw},
            }
            found = {"obj_id": str(number), "obj_type": str(kind), "psr": psr}
            objects.append(found if np.isnan(score) else {**found, "annotator": "pre-label", "score": score})
        return objects

    _write(folder, frames, content)


def read_sustech(folder: Path) -> ReadLabels:
    """The inverse of `write_sustech`; scores of pre-labels are dropped. Raises LabelFormatError."""

    def cuboids(content: Any, path: Path) -> Cuboids:
        if not isinstance(content, list):
            raise LabelFormatError(f"{path}: a list of objects is needed: is this SUSTechPOINTS' label folder?")
        rows = []
        for number, item in enumerate(content):
            where = f"{path}, object {number}"
            psr = entry(item, "psr", dict, where)
            turns = numbers(psr.get("rotation"), _AXES, where)
            size = sides(numbers(psr.get("scale"), _AXES, where), where)
            box = [*numbers(psr.get("position"), _AXES, where), *size, upright(where, tuple(turns))]
            rows.append((one_word(entry(item, "obj_type", str, where)), box))
        return Cuboids.of(rows)

    return _read(folder, cuboids)


def _write(folder: Path, frames: Frames, content: Callable[[str, Cuboids], Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        text = json.dumps(content(name, frame.cuboids), indent=1) + "\n"
        write_atomically(folder / f"{name}.json", text)


def _read(folder: Path, cuboids: Callable[[Any, Path], Cuboids]) -> ReadLabels:
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    files = [path for path in files if not path.name.startswith(("_", "."))]
    if not files:
        raise LabelFormatError(f"{folder}: no .json files: the folder with a file for each frame is needed")
    return ReadLabels(cuboids={path.stem: cuboids(read_json(path), path) for path in files})
