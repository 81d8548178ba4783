"""Omni3D's JSON, COCO-like, with boxes in the camera's frame (github.com/facebookresearch/omni3d, DATA.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from add_model.atomic_io import write_atomically
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.label_formats.cuboids import Frames, LabelFormatError, ReadLabels, in_image, one_word, require_new
from training.data.label_formats.tool_files import (
    entry,
    mapping,
    matrix,
    numbers,
    read_json,
    sides,
    stored_code,
)
from training.data.sample import NOT_GIVEN, Objects

# This project's corners in the order of bbox3D_cam: v0 is at -length/2, the top, -width/2.
_ORDER = [6, 5, 1, 2, 7, 4, 0, 3]
_LEAST_UPRIGHT = np.cos(np.radians(box3d.MOST_LEAN))


def write_omni3d(path: Path, frames: Frames) -> None:
    """One file for all frames; K has no fourth column, so that boxes are in the camera's own frame."""
    kinds = sorted({str(name) for frame in frames.values() for name in frame.objects.names})
    images, annotations = [], []
    for number, frame in enumerate(frames.values()):
        camera = frame.camera
        images.append(
            {
                "id": number, "dataset_id": 0, "width": camera.width, "height": camera.height,
                "file_path": frame.image, "K": camera.P[:, :3].tolist(), "src_90_rotate": 0, "src_flagged": False,
            }
        )  # fmt: skip
        annotations += _annotations(number, frame.objects, camera, kinds, len(annotations))
    categories = [{"id": i, "name": kind, "supercategory": ""} for i, kind in enumerate(kinds)]
    info = {"id": 0, "source": "add_ros", "name": path.stem, "split": path.stem, "version": "0.1", "url": ""}
    content = {"info": info, "images": images, "categories": categories, "annotations": annotations}
    write_atomically(path, json.dumps(content) + "\n")


def _annotations(number: int, objects: Objects, camera: Camera, kinds: list[str], first: int) -> list[dict[str, Any]]:
    found = []
    whole = box3d.project_boxes(objects.boxes, camera)
    rows = zip(
        objects.names, objects.boxes, objects.boxes2d.tolist(), whole, objects.truncated, objects.occluded, strict=True
    )
    for name, box, tight, projected, truncated, occluded in rows:
        cosine, sine = np.cos(box[6]), np.sin(box[6])
        corners = box3d.corners(box[None])[0][_ORDER]
        found.append(
            {
                "id": first + len(found), "image_id": number, "dataset_id": 0, "category_id": kinds.index(str(name)),
                "category_name": str(name), "valid3D": True, "bbox2D_tight": tight,
                "bbox2D_proj": projected.tolist(),
                "bbox2D_trunc": box3d.clip_to_image(projected[None], camera)[0].tolist(),
                "bbox3D_cam": corners.tolist(), "center_cam": box[:3].tolist(),
                "dimensions": [box[4], box[5], box[3]],
                "R_cam": [[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]],
                "behind_camera": bool((corners[:, 2] <= 0).any()), "truncation": float(truncated),
                "visibility": _VISIBILITY.get(int(occluded), -1), "occlusion_code": int(occluded),
                "segmentation_pts": -1, "lidar_pts": -1, "depth_error": -1,
            }
        )  # fmt: skip
    return found


_VISIBILITY = {0: 1.0, 1: 0.6, 2: 0.2}  # of KITTI's codes: fully visible, partly, largely occluded


def read_omni3d(path: Path) -> ReadLabels:
    """The inverse of `write_omni3d`, also of data sets of others; objects without a valid 3D box are left out.

    Frames are named by their images' files. Raises LabelFormatError.
    """
    content = read_json(path)
    names, cameras, rows, taken = {}, {}, {}, dict[str, str]()
    for i, image in enumerate(entry(content, "images", list, str(path))):
        where = f"{path}, image {i}"
        number = entry(image, "id", int, where)
        file = entry(image, "file_path", str, where)
        names[number] = Path(file).stem
        require_new(names[number], file, taken, str(path))
        cameras[number], rows[number] = _camera(image, where), []
    for i, found in enumerate(entry(content, "annotations", list, str(path))):
        found = mapping(found, f"{path}, annotation {i}")
        where = f"{path}, annotation {found.get('id', i)}"
        number = entry(found, "image_id", int, where)
        if number not in rows:
            raise LabelFormatError(f"{where}: image_id {number} is no image of the file")
        if found.get("valid3D", True):
            rows[number].append(_row(found, where))
    return ReadLabels(objects={names[n]: _objects(rows[n], cameras[n]) for n in rows})


def _camera(image: Mapping[str, Any], where: str) -> Camera:
    K = matrix(entry(image, "K", list, where), f"{where}, 'K'")
    width, height = map(int, numbers(image, ("width", "height"), where))
    try:
        return Camera(np.c_[K, np.zeros(3)], width, height)
    except ValueError as error:
        raise LabelFormatError(f"{where}: {error}") from None


def _row(found: Mapping[str, Any], where: str) -> tuple[str, list[float], list[float], float, int]:
    width, height, length = sides(numbers(found.get("dimensions"), 3, where), where)
    turn = matrix(entry(found, "R_cam", list, where), f"{where}, 'R_cam'")
    if abs(turn[1, 1]) < _LEAST_UPRIGHT:
        raise LabelFormatError(f"{where}: R_cam is not upright in the camera's frame: only upright boxes can be learnt")
    box = [*numbers(found.get("center_cam"), 3, where), length, width, height, box3d.heading_of(turn[:, 0])]
    tight = found.get("bbox2D_tight") or [-1] * 4
    visibility, truncated = (_share(found, key, where) for key in ("visibility", "truncation"))
    code = stored_code(found)  # of this project: KITTI's code for unknown is no visibility
    if visibility >= 0:
        code = min(_VISIBILITY, key=lambda code: abs(_VISIBILITY[code] - visibility))
    name = one_word(entry(found, "category_name", str, where))
    return name, box, numbers(tight, 4, where), truncated, NOT_GIVEN if code is None else code


def _share(found: Mapping[str, Any], key: str, where: str) -> float:
    """The number of a key; -1, as Omni3D has it, where it is not given."""
    return -1.0 if found.get(key) is None else numbers(found, (key,), where)[0]


def _objects(rows: list, camera: Camera) -> Objects:
    if not rows:
        return Objects.empty()
    names, boxes, tight, truncated, occluded = map(np.array, zip(*rows, strict=True))
    seen, shown = in_image(names, boxes, occluded, camera)
    given = (tight != -1).any(axis=1, keepdims=True)
    return replace(
        seen,
        boxes2d=np.where(given[shown], tight[shown], seen.boxes2d),
        truncated=np.where(truncated[shown] >= 0, truncated[shown], seen.truncated),
    )
