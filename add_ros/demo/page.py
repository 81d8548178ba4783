"""The demo's page: one HTML file with the clip, its numbers, and nothing to load from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from add_model import drawing
from add_model.detection import Detections
from add_ros.demo.results import Frame

_WIDTHS = 960, 1280  # pixels: smaller and larger images are scaled to these before they are drawn on
_ABOVE = 480  # pixels, width and height of the bird's-eye view
_STILLS = 4


@dataclass(frozen=True)
class Report:
    """What the page says in words and numbers; texts are plain.

    title:   one line
    shown:   paragraphs that say what is shown and what is not
    problem: what went wrong, None on a good run
    table:   rows of (what, value)
    labelled: whether the clip has ground truth, drawn in white
    hertz:   frames per second of the clip
    """

    title: str
    shown: list[str]
    problem: str | None
    table: list[tuple[str, str]]
    labelled: bool
    hertz: float


def write_page(path: Path, frames: Iterable[Frame], report: Report) -> None:
    """Draw all frames and write the page."""
    pictures = [_picture(frame) for frame in frames]
    stills = sorted({round(i) for i in np.linspace(0, len(pictures) - 1, min(_STILLS, len(pictures)))})
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html.j2")
    classes = {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in drawing.CLASS_COLOURS.items()}
    html = template.render(report=report, frames=pictures, stills=stills, classes=classes, above=_ABOVE)
    partial = path.with_suffix(".tmp")
    partial.write_text(html, encoding="utf-8")
    partial.replace(path)


def _picture(frame: Frame) -> dict[str, Any]:
    image, camera = frame.image, frame.camera
    width = int(np.clip(camera.width, *_WIDTHS))
    if width != camera.width:
        camera = camera.resize(width, max(1, round(camera.height * width / camera.width)))
        shrinks = width < image.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, (camera.width, camera.height), interpolation=method)
    found = frame.detections if frame.detections is not None else Detections.empty()
    seen = drawing.draw_detections(image, camera, found, frame.truth)
    above = drawing.birds_eye_view(camera, found, frame.truth, width=_ABOVE, height=_ABOVE)
    distances = np.linalg.norm(found.boxes[:, :3], axis=1)
    rows = zip(found.names, found.scores, distances, strict=True)
    listed = ", ".join(f"{name} {score:.2f} at {distance:.0f} m" for name, score, distance in rows)
    answered = frame.detections is not None
    return {
        "camera": _data(seen, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 82], "image/jpeg"),
        "above": _data(above, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9], "image/png"),
        "width": camera.width,
        "height": camera.height,
        "stamp": f"{frame.stamp // 10**9}.{frame.stamp % 10**9:09d}",
        "count": len(found) if answered else None,
        "latency": None if frame.latency_ms is None else round(frame.latency_ms, 1),
        "text": (listed or "nothing detected") if answered else "no answer from the node",
    }


def _data(image: np.ndarray, suffix: str, options: list[int], mime: str) -> str:
    _, encoded = cv2.imencode(suffix, image[..., ::-1], options)
    return f"data:{mime};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
