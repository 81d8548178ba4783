"""The files of an export: KITTI's object layout, each file whole or not there."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import cv2
import numpy as np

from add_model.atomic_io import write_atomically, write_quickly
from add_model.geometry.camera import Camera
from add_ros.bag_export.journal import frame_id
from training.data.kitti.calib import calib_text
from training.data.kitti.labels import label_text
from training.data.sample import Objects

SUFFIXES = (".png", ".jpg")
FOLDERS = {"image_2": SUFFIXES, "calib": (".txt",), "label_2": (".txt",), "velodyne": (".bin",)}
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # three times as fast as OpenCV's default, for a tenth more bytes
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


class DatasetWriter:
    """Writes frames below `root`/training.

    Args:
        root: the data set's folder.
        jpeg: whether images are JPEG at quality 95, else PNG.
    """

    def __init__(self, root: Path, jpeg: bool) -> None:
        self._folder = root / "training"
        self._suffix, self._options = SUFFIXES[jpeg], _JPEG if jpeg else _PNG
        for name in FOLDERS:
            (self._folder / name).mkdir(parents=True, exist_ok=True)

    def write(
        self,
        name: str,
        image: np.ndarray,
        camera: Camera,
        points: np.ndarray | None,
        to_camera: np.ndarray | None,
        objects: Objects | None,
    ) -> None:
        """Write the files of one frame.

        Args:
            name: of the files.
            image: (H, W, 3) uint8 RGB.
            camera: that of the image; P goes into calib as P2.
            points: (N, 4) in the scanner's frame, None for no velodyne file.
            to_camera: (3, 4) from the scanner's frame to P's, for Tr_velo_to_cam.
            objects: in P's frame, None for no label file.

        Raises:
            OSError: where a file cannot be written; none is left in part.
        """
        encoded = cv2.imencode(self._suffix, image[..., ::-1], self._options)[1]
        # Not waiting for the disk: that would take ten times as long as all the rest.
        write_quickly(self._folder / "image_2" / (name + self._suffix), encoded.tobytes())
        write_quickly(self._folder / "calib" / f"{name}.txt", calib_text(camera.P, to_camera))
        if points is not None:
            path = self._folder / "velodyne" / f"{name}.bin"
            write_quickly(path, np.ascontiguousarray(points, "<f4").tobytes())
        if objects is not None:
            path = self._folder / "label_2" / f"{name}.txt"
            write_quickly(path, label_text(objects, path))


def move_frame(source: Path, name: str, root: Path, new_name: str) -> None:
    """Move the files of a frame from one data set's folder to another's on the same disk, those that are there."""
    for folder, suffixes in FOLDERS.items():
        for suffix in suffixes:
            path = source / "training" / folder / (name + suffix)
            if path.is_file():
                path.replace(root / "training" / folder / (new_name + suffix))


def write_lists(root: Path, lists: dict[str, np.ndarray], stamps: np.ndarray) -> None:
    """Write ImageSets and training/timestamps.txt, a line of nanoseconds for each frame in the order of their ids.

    Lists without a frame are left out: no reader takes an empty one.
    """
    folder = root / "ImageSets"
    folder.mkdir(exist_ok=True)
    for name, numbers in lists.items():
        if len(numbers):
            write_atomically(folder / f"{name}.txt", _lines(map(frame_id, numbers)))
        else:
            (folder / f"{name}.txt").unlink(missing_ok=True)
    write_atomically(root / "training" / "timestamps.txt", _lines(stamps))


def _lines(values: Iterable[object]) -> str:
    text = StringIO()
    text.writelines(f"{value}\n" for value in values)
    return text.getvalue()
