"""A data set on one page: what was found in numbers, and a contact sheet with scans and boxes over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from add_model import drawing
from add_model.colours import class_colour
from add_model.geometry.camera import Camera
from training.report.pictures import Figure, data_uri, encoded
from training.report.templates import rendered

_WIDTH = 640  # pixels
_FAR = 60.0  # metres, the colour map's end


@dataclass(frozen=True)
class Table:
    """A table for the page: `head` names the columns of `rows`."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def picture(
    image: np.ndarray,
    camera: Camera,
    points: np.ndarray | None,
    boxes: np.ndarray,
    names: Sequence[str],
    caption: str,
) -> Figure:
    """`draw`, with a caption."""
    drawn = draw(image, camera, points, boxes, names)
    return Figure(data_uri("image/jpeg", encoded(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])), caption)


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
    canvas = drawing.draw_boxes(canvas, small, boxes, [class_colour(str(name)) for name in names])
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


def render(
    title: str,
    command: str,
    lines: Sequence[tuple[str, Sequence[str]]],
    pictures: Sequence[Figure],
    tables: Sequence[Table] = (),
) -> str:
    """The page as HTML.

    Args:
        title: its heading.
        command: what made it.
        lines: headings with the sentences below each; those without any are left out.
        pictures: the contact sheet.
        tables: above the pictures.
    """
    template, parts = Path(__file__).with_name("contact_sheet.html.j2"), [part for part in lines if part[1]]
    return rendered(template, title=title, command=command, parts=parts, pictures=pictures, tables=tables)
