"""Frames of Astyx HiRes2019 (Meyer and Kuschk, EuRAD 2019) as samples: 546 images of a vehicle's front camera."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from add_model.classes import DONT_CARE
from add_model.geometry.boxes import rotation_matrix
from add_model.geometry.camera import Camera
from training.data.file_problems import FileProblems
from training.data.images import ImageError, image_size
from training.data.kitti.splits import read_ids
from training.data.posed_frames import PosedFrames
from training.data.posed_objects import PosedBoxes, objects_in_image
from training.data.sample import Objects
from training.data.text_files import read_text
from training.errors import DataSetError

CAMERA = "camera_front"
_LABELS = "groundtruth_obj3d"
# KITTI's names where they mean the same. Its cars are lower than this: what is higher it calls a van, Astyx a car.
_NAMES = {"Person": "Pedestrian"}
_VAN_HEIGHT = 1.9  # metres
_UNSURE = 2  # the label_certainty of what annotators could hardly see: 44 m away in the median


class AstyxFrames(PosedFrames):
    """Some frames, or all; boxes are in the camera's own optical frame.

    root:    the folder that holds camera_front/, calibration/ and groundtruth_obj3d/
    numbers: 'all', or a text file with the six digits of one frame a line
    depth:   None or 'object'

    What annotators were not sure of is a region that counts neither as found nor as missed.
    """

    def __init__(self, root: str | Path, numbers: str = "all", depth: str | None = None) -> None:
        super().__init__("Astyx HiRes2019", root, depth)
        if depth == "lidar":
            raise DataSetError("depth source 'lidar': the scans of Astyx HiRes2019 are not read; there is object")
        if numbers == "all":
            self.ids = sorted(path.stem for path in self.label_folder.glob("*.json"))
        else:
            try:
                self.ids = read_ids(numbers, self.folder)
            except (OSError, ValueError) as error:
                raise DataSetError(f"numbers {numbers!r}: {error}; give 'all' or a file of frames") from None
        if not self.ids:
            raise DataSetError(f"{self.label_folder}: no labels; unpack the data set there")
        self._cameras = [self._read_camera(frame) for frame in self.ids]
        self._labels = [self._read_labels(index) for index in range(len(self.ids))]
        self._take_stock(boxes for boxes, _ in self._labels)

    @property
    def label_folder(self) -> Path:
        """Where the labels are."""
        return self.folder / _LABELS

    def image_path(self, index: int) -> Path:
        """Where the image of a frame is."""
        return self.folder / CAMERA / f"{self.ids[index]}.jpg"

    def camera(self, index: int) -> Camera:
        """The camera of a frame."""
        return Camera.of_intrinsics(self._cameras[index][0], *image_size(self.image_path(index)))

    def objects(self, index: int) -> Objects:
        """What is annotated and in view; what is not sure has no 3D box, and stands last as KITTI's DontCare does."""
        found, _ = objects_in_image(*self._labels[index], self.camera(index))
        unsure = found.names == DONT_CARE
        found.boxes[unsure], found.truncated[unsure], found.occluded[unsure] = np.nan, -1, -1
        return found[np.argsort(unsure, kind="stable")]

    def points(self, index: int) -> np.ndarray | None:
        """None: scans are not read."""
        return None

    def _read_camera(self, frame: str) -> tuple[np.ndarray, np.ndarray]:
        """The intrinsics (3, 3) and the transform (4, 4) from the radar's frame, that of labels, to the camera's."""
        path = self.folder / "calibration" / f"{frame}.json"
        with _named(path):
            sensors = {row["sensor_uid"]: row["calib_data"] for row in _read(path)["sensors"]}
            to_radar = _numbers(sensors[CAMERA]["T_to_ref_COS"], (4, 4))
            return _numbers(sensors[CAMERA]["K"], (3, 3)), np.linalg.inv(to_radar)

    def _read_labels(self, index: int) -> tuple[PosedBoxes, np.ndarray]:
        """The boxes in the camera's frame, and KITTI's codes of occlusion, which Astyx's are."""
        path = self.label_folder / f"{self.ids[index]}.json"
        with _named(path):
            rows = _read(path)["objects"]
            sizes = _numbers([row["dimension3d"] for row in rows], (len(rows), 3))
            if not (sizes > 0).all():
                raise ValueError("dimension3d must be above 0")
            turns = _numbers([row["orientation_quat"] for row in rows], (len(rows), 4))
            if not turns.any(axis=1).all():
                raise ValueError("orientation_quat must not be 0")
            # Astyx has w first.
            rotations = np.array([rotation_matrix(np.roll(q, -1)) for q in turns]).reshape(-1, 3, 3)
            centres = _numbers([row["center3d"] for row in rows], (len(rows), 3))
            names = np.array([_name(row) for row in rows], dtype=str)
            occluded = np.array([int(row["occlusion"]) for row in rows], int)
        return PosedBoxes(names, centres, rotations, sizes).moved(self._cameras[index][1]), occluded

    def _check(self, problems: FileProblems, index: int) -> None:
        try:
            image_size(self.image_path(index))
        except ImageError as error:
            problems.note("image missing or broken", self.ids[index], str(error))


def _name(row: dict[str, Any]) -> str:
    name = str(row["classname"])
    if int(row["label_certainty"]) == _UNSURE:
        return DONT_CARE
    return "Van" if name == "Car" and row["dimension3d"][2] > _VAN_HEIGHT else _NAMES.get(name, name)


def _numbers(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    found = np.array(values, float).reshape(shape) if values else np.zeros(shape)
    if not np.isfinite(found).all():
        raise ValueError("numbers must be finite")
    return found


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what a file's missing or malformed entries cause into a DataSetError that names it."""
    try:
        yield
    except KeyError as error:
        raise DataSetError(f"{path}: {str(error)[:100]} is missing; unpack the data set again") from None
    except (TypeError, ValueError, OverflowError, RecursionError, np.linalg.LinAlgError) as error:
        raise DataSetError(f"{path}: not Astyx's JSON ({str(error)[:200]}); unpack the data set again") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror}; unpack the data set there") from None
    if not isinstance(content, dict):
        raise ValueError("no object at its top")
    return content
