"""What the exported files themselves show: pictures for the page, and checks of the scans against the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from add_model.geometry.camera import Camera
from add_ros.bag_export.checks import ScanChecks
from add_ros.bag_export.dataset_writer import SUFFIXES
from add_ros.bag_export.exported_frames import ExportedFrames
from add_ros.bag_export.journal import frame_id
from training.data.depth_sources import read_velodyne
from training.data.images import read_image
from training.data.kitti.calib import read_calib
from training.data.kitti.labels import read_objects
from training.report.contact_sheet import picture
from training.report.pictures import Figure
from training.spread import spread

SHOWN, CHECKED = 12, 48


def look(root: Path, frames: ExportedFrames) -> tuple[list[Figure], list[str]]:
    """Read some of the exported frames again: pictures of them, and what `ScanChecks` says.

    Args:
        root: the data set's folder.
        frames: all of them.
    """
    checks, pictures = ScanChecks(), []
    shown = set(spread(len(frames), SHOWN))
    for number in spread(len(frames), CHECKED):
        scanned = bool(frames.scanned[number])
        image, camera, points, boxes, names = _read(
            root / "training", frame_id(number), scanned, bool(frames.labelled[number])
        )
        if points is not None:
            checks.add(image, camera, points, boxes)
        if number in shown:
            caption = f"{frame_id(number)}: {frames.topics[frames.camera[number]]}"
            caption += f", scan {frames.scan_offset[number] / 1e6:+.1f} ms" if scanned else ""
            pictures.append(picture(image, camera, points, boxes, names, caption))
    return pictures, checks.lines()


def _read(
    folder: Path, name: str, scanned: bool, labelled: bool
) -> tuple[np.ndarray, Camera, np.ndarray | None, np.ndarray, Sequence[str]]:
    images = [folder / "image_2" / (name + suffix) for suffix in SUFFIXES]
    image = read_image(next((path for path in images if path.is_file()), images[0]))
    calib = read_calib(folder / "calib" / f"{name}.txt")
    camera = Camera(calib.P2, image.shape[1], image.shape[0])
    points, boxes, names = None, np.empty((0, 7)), []
    if scanned:
        points = calib.velodyne_to_camera(read_velodyne(folder / "velodyne" / f"{name}.bin"))
    if labelled:
        objects = read_objects(folder / "label_2" / f"{name}.txt")
        solid = np.isfinite(objects.boxes).all(axis=1)
        boxes, names = objects.boxes[solid], objects.names[solid]
    return image, camera, points, boxes, names
