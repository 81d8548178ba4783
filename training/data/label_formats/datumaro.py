"""Datumaro's own format, which CVAT exports, too: one JSON file with cuboid_3d annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from add_model.atomic_io import write_atomically
from training.data.label_formats.cuboids import (
    Cuboids,
    Frames,
    LabelFormatError,
    ReadLabels,
    one_word,
    require_new,
    upright,
)
from training.data.label_formats.tool_files import entry, mapping, numbers, read_json, sides, stored_code
from training.data.sample import NOT_GIVEN


def write_datumaro(path: Path, frames: Frames) -> None:
    """A file such as annotations/default.json. `scale` goes along the box's own x, y and z, as CVAT has it."""
    kinds = sorted({str(name) for frame in frames.values() for name in frame.cuboids.names})
    items = []
    for number, (name, frame) in enumerate(frames.items()):
        annotations = []
        cuboids = frame.cuboids
        rows = zip(
            cuboids.names, cuboids.boxes.tolist(), cuboids.occluded.tolist(), cuboids.scores.tolist(), strict=True
        )
        for index, (kind, box, occluded, score) in enumerate(rows):
            attributes: dict[str, Any] = {"occluded": occluded > 0, "occlusion_code": occluded}
            if not np.isnan(score):
                attributes["score"] = score
            annotations.append(
                {
                    "id": index,
                    "type": "cuboid_3d",
                    "attributes": attributes,
                    "group": 0,
                    "label_id": kinds.index(str(kind)),
                    "position": box[:3],
                    "rotation": [0.0, 0.0, box[6]],
                    "scale": box[3:6],
                }
            )
        items.append(
            {
                "id": name,
                "annotations": annotations,
                "attr": {"frame": number},
                "point_cloud": {"path": f"velodyne/{name}.bin"},
                "related_images": [{"path": frame.image}],
            }
        )
    labels = [{"name": kind, "parent": "", "attributes": []} for kind in kinds]
    content = {"info": {}, "categories": {"label": {"labels": labels, "attributes": ["occluded"]}}, "items": items}
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_datumaro(path: Path) -> ReadLabels:
    """The inverse of `write_datumaro`; annotations of other types are refused. Raises LabelFormatError."""
    content = read_json(path)
    categories = entry(entry(content, "categories", dict, str(path)), "label", dict, f"{path}, categories")
    labels = entry(categories, "labels", list, f"{path}, categories, label")
    kinds = [entry(label, "name", str, f"{path}, label {i}") for i, label in enumerate(labels)]
    read, taken = ReadLabels(), dict[str, str]()
    for number, item in enumerate(entry(content, "items", list, str(path))):
        identity = entry(item, "id", str, f"{path}, item {number}")
        name = identity.rsplit("/", 1)[-1]
        require_new(name, identity, taken, str(path))
        rows, occluded = [], []
        for index, found in enumerate(entry(item, "annotations", list, f"{path}, item {name}")):
            where = f"{path}, item {name}, annotation {index}"
            found = mapping(found, where)
            if found.get("type") != "cuboid_3d":
                raise LabelFormatError(f"{where}: type {found.get('type')!r}, cuboid_3d is needed")
            label = found.get("label_id")
            if not isinstance(label, int) or not 0 <= label < len(kinds):
                raise LabelFormatError(f"{where}: label_id {label} is not one of the {len(kinds)} labels")
            yaw = upright(where, tuple(numbers(found.get("rotation"), 3, where)))
            size = sides(numbers(found.get("scale"), 3, where), where)
            rows.append((one_word(kinds[label]), [*numbers(found.get("position"), 3, where), *size, yaw]))
            occluded.append(_occlusion(mapping(found.get("attributes") or {}, where)))
        read.cuboids[name] = Cuboids.of(rows, occluded)
    return read


def _occlusion(attributes: Mapping[str, Any]) -> int:
    code, occluded = stored_code(attributes), attributes.get("occluded")
    if code is not None:
        return code
    return int(occluded) if occluded in (0, 1) else NOT_GIVEN
