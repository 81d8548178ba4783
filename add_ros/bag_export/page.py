"""What the exported files themselves show: pictures for the page, and checks of the scans against the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from add_model.geometry.camera import Camera
from add_ros.bag_export.checks import ScanChecks
from add_ros.bag_export.journal import Row
from training.data.depth_sources import read_velodyne
from training.data.images import read_image
from training.data.kitti.calib import read_calib
from training.data.kitti.labels import read_objects
from training.report.contact_sheet import Picture, picture

SHOWN, CHECKED = 12, 48


def look(root: Path, rows: Sequence[Row]) -> tuple[list[Picture], list[str]]:
    """Read some of the exported frames again: pictures of them, and what `ScanChecks` says.

    Args:
        root: the data set's folder.
        rows: the exported frames.
    """
    checks, pictures = ScanChecks(), []
    shown = {row.id for row in spread(rows, SHOWN)}
    for row in spread(rows, CHECKED):
        image, camera, points, boxes, names = _read(root / "training", row)
        if points is not None:
            checks.add(image, camera, points, boxes)
        if row.id in shown:
            offset = "" if row.scan_stamp is None else f", scan {(row.scan_stamp - row.stamp) / 1e6:+.1f} ms"
            pictures.append(picture(image, camera, points, boxes, names, f"{row.id}: {row.topic}{offset}"))
    return pictures, checks.lines()


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """That many of the rows, evenly spread."""
    picked = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)) if len(rows) else []
    return [rows[i] for i in picked]


def _read(folder: Path, row: Row) -> tuple[np.ndarray, Camera, np.ndarray | None, np.ndarray, Sequence[str]]:
    image = read_image(next(path for path in (folder / "image_2").glob(f"{row.id}.*")))
    calib = read_calib(folder / "calib" / f"{row.id}.txt")
    camera = Camera(calib.P2, image.shape[1], image.shape[0])
    points, boxes, names = None, np.empty((0, 7)), []
    if row.points is not None:
        points = calib.velodyne_to_camera(read_velodyne(folder / "velodyne" / f"{row.id}.bin"))
    if row.objects is not None:
        objects = read_objects(folder / "label_2" / f"{row.id}.txt")
        solid = np.isfinite(objects.boxes).all(axis=1)
        boxes, names = objects.boxes[solid], objects.names[solid]
    return image, camera, points, boxes, names
