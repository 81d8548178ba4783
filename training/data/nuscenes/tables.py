"""nuScenes' tables: of some scenes the images, the scans and the annotations, with their poses.

A folder VERSION/ has one JSON file for each table, a list of rows that name rows of other tables by tokens. The large
ones are read row by row, and what belongs to other scenes or sensors is dropped at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.posed_objects import PosedBoxes, matrix
from training.errors import DataSetError

LIDAR = "LIDAR_TOP"
# Categories of the detection task; others keep their own names.
DETECTION_NAMES = {
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic_cone",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}
# KITTI's codes for the share that all cameras together see.
OCCLUDED = {"v80-100": 0, "v60-80": 1, "v40-60": 2, "v0-40": 3}
UNSEEN = 3  # of what no scan and no radar has hit
_GAP = re.compile(r"[\s,]*")


@dataclass(frozen=True, eq=False)
class Recording:
    """One file of a sensor.

    file:      its path from the data set's root
    to_global: (4, 4) from the sensor's frame to the global one at the file's own time
    intrinsic: (3, 3) pixels, of a camera
    size:      width and height in pixels, of a camera
    previous:  token of the sensor's file before it, '' for the first
    """

    file: str
    to_global: np.ndarray
    intrinsic: np.ndarray | None
    size: tuple[int, int]
    previous: str


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotated boxes of one sample in the global frame, with KITTI's codes of occlusion (N,)."""

    boxes: PosedBoxes
    occluded: np.ndarray


@dataclass(frozen=True, eq=False)
class Tables:
    """What is known of some scenes.

    samples:     tokens, scene by scene in the order of time
    images:      (sample, channel) -> its key frame
    scans:       sample -> token of its key frame's scan
    sweeps:      token -> every scan, those between key frames where they were asked for
    annotations: sample -> its boxes; nothing in a test set
    """

    samples: list[str]
    images: dict[tuple[str, str], Recording]
    scans: dict[str, str]
    sweeps: dict[str, Recording]
    annotations: dict[str, Annotations]


def read_tables(folder: Path, scenes: Collection[str], cameras: Collection[str], between: bool) -> Tables:
    """Read the tables of a folder such as v1.0-trainval.

    Args:
        folder: holds the tables.
        scenes: names, such as scene-0061; others are passed over.
        cameras: channels, such as CAM_FRONT.
        between: whether scans between key frames are wanted, too.

    Raises:
        DataSetError: Where a table is missing or broken, or does not have such a camera. Only of a test set, whose
            folder ends in -test, annotations may be missing.
    """
    samples = _samples(folder, scenes)
    channels = {row["token"]: row["channel"] for row in rows(folder, "sensor")}
    if unknown := sorted(set(cameras) - set(channels.values())):
        raise DataSetError(
            f"{folder}: no sensor is called {', '.join(unknown)}; there are {', '.join(channels.values())}"
        )
    wanted = {*cameras, LIDAR}
    calibrated = {
        row["token"]: row for row in rows(folder, "calibrated_sensor") if channels[row["sensor_token"]] in wanted
    }
    files = {}
    for row in rows(folder, "sample_data"):
        sensor = calibrated.get(row["calibrated_sensor_token"])
        if sensor is None or row["sample_token"] not in samples:
            continue
        channel = channels[sensor["sensor_token"]]
        if row["is_key_frame"] or (between and channel == LIDAR):
            files[row["token"]] = (row, channel)
    needed = {row["ego_pose_token"] for row, _ in files.values()}
    poses = {row["token"]: _pose(row) for row in rows(folder, "ego_pose") if row["token"] in needed}
    images, key_scans, sweeps = {}, {}, {}
    for token, (row, channel) in files.items():
        sensor = calibrated[row["calibrated_sensor_token"]]
        recording = Recording(
            row["filename"],
            _looked_up(folder, "ego_pose", poses, row["ego_pose_token"]) @ _pose(sensor),
            np.array(sensor["camera_intrinsic"], float) if sensor["camera_intrinsic"] else None,
            (row["width"], row["height"]),
            row["prev"],
        )
        if channel == LIDAR:
            sweeps[token] = recording
            if row["is_key_frame"]:
                key_scans[row["sample_token"]] = token
        else:
            images[row["sample_token"], channel] = recording
    return Tables(list(samples), images, key_scans, sweeps, _annotations(folder, samples))


def scene_names(folder: Path) -> list[str]:
    """The names of all scenes. Raises DataSetError as `read_tables` does."""
    try:
        return [row["name"] for row in rows(folder, "scene")]
    except (KeyError, TypeError):
        raise DataSetError(f"{folder / 'scene.json'}: a row without a name; unpack the archive again") from None


def rows(folder: Path, table: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, one after the other. Raises DataSetError where the file is missing or no list of rows."""
    path = folder / f"{table}.json"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataSetError(
            f"{path}: {error.strerror}; the tables of nuScenes are in its archive of metadata, {folder.name}_meta.tgz"
        ) from None
    except UnicodeDecodeError as error:
        raise DataSetError(f"{path}: not text in UTF-8 ({error}); unpack the archive again") from None
    decoder, place = json.JSONDecoder(), _GAP.match(text).end() + 1
    if text[place - 1 : place] not in ("", "["):
        raise DataSetError(f"{path}: not a list of rows; unpack the archive again")
    try:
        while (place := _GAP.match(text, place).end()) < len(text) and text[place] != "]":
            row, place = decoder.raw_decode(text, place)
            yield row
    except ValueError as error:
        raise DataSetError(f"{path}: not a list of rows in JSON ({error}); unpack the archive again") from None
    if place >= len(text):
        raise DataSetError(f"{path}: the file ends before its list does; unpack the archive again")


def rotation(quaternion: list[float]) -> np.ndarray:
    """The (3, 3) rotation of a quaternion w, x, y, z, of any length but 0."""
    w, x, y, z = np.array(quaternion, float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _samples(folder: Path, scenes: Collection[str]) -> dict[str, None]:
    """Tokens of the samples in order: a dictionary, since many are looked for."""
    order = {row["token"]: row["name"] for row in rows(folder, "scene") if row["name"] in scenes}
    found = [row for row in rows(folder, "sample") if row["scene_token"] in order]
    found.sort(key=lambda row: (order[row["scene_token"]], row["timestamp"]))
    return dict.fromkeys(row["token"] for row in found)


def _pose(row: dict[str, Any]) -> np.ndarray:
    return matrix(rotation(row["rotation"]), np.array(row["translation"], float))


def _looked_up(folder: Path, table: str, found: dict[str, Any], token: str) -> Any:
    if token not in found:
        raise DataSetError(f"{folder / table}.json: no row has the token {token}; unpack the archive again")
    return found[token]


def _annotations(folder: Path, samples: dict[str, None]) -> dict[str, Annotations]:
    if folder.name.endswith("-test") and not (folder / "sample_annotation.json").is_file():
        return {}
    categories = {row["token"]: row["name"] for row in rows(folder, "category")}
    kinds = {row["token"]: categories[row["category_token"]] for row in rows(folder, "instance")}
    levels = {row["token"]: OCCLUDED[row["level"]] for row in rows(folder, "visibility")}
    by_sample: dict[str, list[tuple]] = {}
    for row in rows(folder, "sample_annotation"):
        if row["sample_token"] not in samples:
            continue
        category = kinds[row["instance_token"]]
        width, length, height = row["size"]
        hit = row["num_lidar_pts"] + row["num_radar_pts"] > 0
        by_sample.setdefault(row["sample_token"], []).append(
            (
                DETECTION_NAMES.get(category, category),
                row["translation"],
                rotation(row["rotation"]),
                (length, width, height),
                levels.get(row["visibility_token"], UNSEEN) if hit else UNSEEN,
            )
        )
    columns = {token: tuple(map(np.array, zip(*found, strict=True))) for token, found in by_sample.items()}
    return {token: Annotations(PosedBoxes(*column[:4]), column[4]) for token, column in columns.items()}
