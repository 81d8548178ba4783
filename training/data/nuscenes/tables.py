"""nuScenes' tables: of some scenes the images, the scans and the annotations, with their poses.

A folder VERSION/ has one JSON file for each table, a list of rows that name rows of other tables by tokens. The large
ones are read row by row, and what belongs to other scenes or sensors is dropped at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from add_model.geometry.boxes import rotation_matrix
from training.data.json_rows import numbers
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
    with _named(folder, "sensor"):
        channels = {row["token"]: _text(row, "channel") for row in rows(folder, "sensor")}
    if unknown := sorted(set(cameras) - set(channels.values())):
        raise DataSetError(
            f"{folder}: no sensor is called {', '.join(unknown)}; there are {', '.join(channels.values())}"
        )
    with _named(folder, "calibrated_sensor"):
        mounts = {
            row["token"]: _Mount(
                channel, _pose(row), None if channel == LIDAR else _numbers(row, "camera_intrinsic", (3, 3))
            )
            for row in rows(folder, "calibrated_sensor")
            if (channel := channels[row["sensor_token"]]) in {*cameras, LIDAR}
        }
    files = {}
    with _named(folder, "sample_data"):
        for row in rows(folder, "sample_data"):
            mount = mounts.get(row["calibrated_sensor_token"])
            if mount is None or row["sample_token"] not in samples:
                continue
            if row["is_key_frame"] or (between and mount.channel == LIDAR):
                files[row["token"]] = row, mount
        needed = {row["ego_pose_token"] for row, _ in files.values()}
    with _named(folder, "ego_pose"):
        poses = {row["token"]: _pose(row) for row in rows(folder, "ego_pose") if row["token"] in needed}
        if missing := needed - poses.keys():
            raise ValueError(f"none has the token {next(iter(missing))!r}")
    images, key_scans, sweeps = {}, {}, {}
    with _named(folder, "sample_data"):
        for token, (row, mount) in files.items():
            to_global, size = poses[row["ego_pose_token"]] @ mount.pose, (row["width"], row["height"])
            recording = Recording(_text(row, "filename"), to_global, mount.intrinsic, size, _text(row, "prev"))
            if mount.channel == LIDAR:
                sweeps[token] = recording
                if row["is_key_frame"]:
                    key_scans[row["sample_token"]] = token
            else:
                images[row["sample_token"], mount.channel] = recording
    return Tables(list(samples), images, key_scans, sweeps, _annotations(folder, samples))


def scene_names(folder: Path) -> list[str]:
    """The names of all scenes. Raises DataSetError as `read_tables` does."""
    with _named(folder, "scene"):
        return [_text(row, "name") for row in rows(folder, "scene")]


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
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path}: not a list of rows in JSON ({error}); unpack the archive again") from None
    if place >= len(text):
        raise DataSetError(f"{path}: the file ends before its list does; unpack the archive again")


@dataclass(frozen=True, eq=False)
class _Mount:
    """A sensor as it was calibrated: its pose in the vehicle's frame (4, 4) and, of a camera, its intrinsics (3, 3)."""

    channel: str
    pose: np.ndarray
    intrinsic: np.ndarray | None


@contextmanager
def _named(folder: Path, table: str) -> Iterator[None]:
    """Turn what its malformed rows cause into a DataSetError that names the table."""
    path = folder / f"{table}.json"
    try:
        yield
    except DataSetError:
        raise
    except KeyError as error:
        raise DataSetError(
            f"{path}: a row lacks {str(error)[:100]}, or none has it; unpack the archive again"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise DataSetError(f"{path}: not nuScenes' rows ({str(error)[:200]}); unpack the archive again") from None


def _samples(folder: Path, scenes: Collection[str]) -> dict[str, None]:
    """Tokens of the samples in order: a dictionary, since many are looked for."""
    with _named(folder, "scene"):
        order = {row["token"]: row["name"] for row in rows(folder, "scene") if row["name"] in scenes}
    with _named(folder, "sample"):
        found = [row for row in rows(folder, "sample") if row["scene_token"] in order]
        found.sort(key=lambda row: (order[row["scene_token"]], row["timestamp"]))
        return dict.fromkeys(_text(row, "token") for row in found)


def _text(row: dict[str, Any], key: str) -> str:
    if not isinstance(row[key], str):
        raise ValueError(f"a row's {key} is {str(row[key])[:60]!r}")
    return row[key]


def _numbers(row: dict[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return numbers(row, key, shape)
    except ValueError as error:
        raise ValueError(f"row {row['token']}: {error}") from None


def _rotation(row: dict[str, Any]) -> np.ndarray:
    found = _numbers(row, "rotation", (4,))
    if not found.any():
        raise ValueError(f"row {row['token']}: rotation {row['rotation']} is none")
    w, x, y, z = found / np.abs(found).max()
    return rotation_matrix(np.array([x, y, z, w]))


def _pose(row: dict[str, Any]) -> np.ndarray:
    return matrix(_rotation(row), _numbers(row, "translation", (3,)))


def _annotations(folder: Path, samples: dict[str, None]) -> dict[str, Annotations]:
    if folder.name.endswith("-test") and not (folder / "sample_annotation.json").is_file():
        return {}
    with _named(folder, "category"):
        categories = {row["token"]: _text(row, "name") for row in rows(folder, "category")}
    with _named(folder, "instance"):
        kinds = {row["token"]: categories[row["category_token"]] for row in rows(folder, "instance")}
    with _named(folder, "visibility"):
        levels = {row["token"]: OCCLUDED[row["level"]] for row in rows(folder, "visibility")}
    by_sample: dict[str, list[tuple]] = {}
    with _named(folder, "sample_annotation"):
        for row in rows(folder, "sample_annotation"):
            if row["sample_token"] not in samples:
                continue
            category = kinds[row["instance_token"]]
            size = _numbers(row, "size", (3,))
            if (size <= 0).any():
                raise ValueError(f"row {row['token']}: size {row['size']} is that of no box")
            hit = row["num_lidar_pts"] + row["num_radar_pts"] > 0
            by_sample.setdefault(row["sample_token"], []).append(
                (
                    DETECTION_NAMES.get(category, category),
                    _numbers(row, "translation", (3,)),
                    _rotation(row),
                    size[[1, 0, 2]],  # nuScenes has width, length, height
                    levels.get(row["visibility_token"], UNSEEN) if hit else UNSEEN,
                )
            )
    columns = {token: tuple(map(np.array, zip(*found, strict=True))) for token, found in by_sample.items()}
    return {token: Annotations(PosedBoxes(*column[:4]), column[4]) for token, column in columns.items()}
