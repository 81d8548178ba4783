"""An export on one page: what was found in numbers, and a contact sheet with the scans drawn over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from add_model import drawing
from add_model.geometry.camera import Camera
from add_ros.bag_export.checks import ScanChecks
from add_ros.bag_export.journal import Row
from training.data.depth_sources import read_velodyne
from training.data.images import read_image
from training.data.kitti.calib import read_calib
from training.data.kitti.labels import read_objects
from training.report.pictures import data_uri
from training.report.sections import environment

SHOWN, CHECKED = 12, 48
_WIDTH = 640  # pixels
_FAR = 60.0  # metres, the colour map's end


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame for the page: `uri` of the picture, and what is said below it."""

    uri: str
    caption: str


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
            picture = draw(image, camera, points, boxes, names)
            encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
            offset = "" if row.scan_stamp is None else f", scan {(row.scan_stamp - row.stamp) / 1e6:+.1f} ms"
            pictures.append(Picture(data_uri("image/jpeg", encoded.tobytes()), f"{row.id}: {row.topic}{offset}"))
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


def draw(
    image: np.ndarray, camera: Camera, points: np.ndarray | None, boxes: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """The image at the page's width, with boxes and with points from red (near) to blue (far).

    Args:
        image: (H, W, 3) uint8 RGB.
        camera: that of the image.
        points: (N, 3) in the frame of its P, or None.
        boxes: (M, 7) in the same frame.
        names: of the boxes.
    """
    small = camera.resize(_WIDTH, max(1, round(camera.height * _WIDTH / camera.width)))
    canvas = cv2.resize(image, (small.width, small.height), interpolation=cv2.INTER_AREA)
    canvas = drawing.draw_boxes(canvas, small, boxes, [drawing.class_colour(str(name)) for name in names])
    if points is None:
        return canvas
    seen = small.project(points)
    seen = seen[seen[:, 2] > 0.1]
    u, v = np.rint(seen[:, :2]).T
    inside = (u >= 0) & (u < small.width) & (v >= 0) & (v < small.height)
    seen, u, v = seen[inside], u[inside].astype(int), v[inside].astype(int)
    far_first = np.argsort(-seen[:, 2], kind="stable")
    shade = np.clip(255 * (1 - np.log1p(seen[:, 2]) / np.log1p(_FAR)), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_JET)[:, 0, ::-1] if len(shade) else np.empty((0, 3))
    canvas[v[far_first], u[far_first]] = colours[far_first]
    return canvas


def render(title: str, command: str, lines: Sequence[tuple[str, Sequence[str]]], pictures: Sequence[Picture]) -> str:
    """The page as HTML.

    Args:
        title: its heading.
        command: what made the data set.
        lines: headings with the sentences below each.
        pictures: the contact sheet.
    """
    template = environment(Path(__file__).parent).get_template("page.html.j2")
    return template.render(title=title, command=command, parts=[part for part in lines if part[1]], pictures=pictures)
