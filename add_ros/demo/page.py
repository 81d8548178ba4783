"""The demo's page: one HTML file with the clip and its numbers, which needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from add_model.atomic_io import write_atomically
from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detections import Detections
from add_ros.bags.messages import seconds
from add_ros.demo.results import ResultFrame
from training.report.pictures import frame_pictures, legend
from training.report.templates import rendered
from training.spread import spread

_ABOVE = 480  # pixels, width and height of the bird's-eye view
_STILLS = 4


@dataclass(frozen=True)
class Report:
    """The text and numbers of the page, without HTML.

    title:    one line
    shown:    paragraphs on what is shown and what is not
    problem:  what went wrong, None on a good run
    table:    rows of (what, value)
    labelled: whether the clip has ground truth, drawn in white
    hertz:    frames per second of the clip
    classes:  those of the model, for colours and legend
    """

    title: str
    shown: list[str]
    problem: str | None
    table: list[tuple[str, str]]
    labelled: bool
    hertz: float
    classes: ClassSpec = KITTI_CLASSES


def write_page(path: Path, frames: Iterable[ResultFrame], report: Report) -> None:
    """Draw all frames and write the page."""
    pictures = [_picture(frame, report.classes) for frame in frames]
    stills = spread(len(pictures), _STILLS)
    template, classes = Path(__file__).with_name("page.html.j2"), legend(report.classes)
    html = rendered(template, report=report, frames=pictures, stills=stills, classes=classes, above=_ABOVE)
    write_atomically(path, html)


def _picture(frame: ResultFrame, classes: ClassSpec) -> dict[str, Any]:
    found = frame.detections if frame.detections is not None else Detections.empty()
    drawn = frame_pictures(frame.image, frame.camera, found, frame.truth, _ABOVE, classes=classes)
    distances = np.linalg.norm(found.boxes[:, :3], axis=1)
    rows = zip(found.names, found.scores, distances, strict=True)
    listed = ", ".join(f"{name} {score:.2f} at {distance:.0f} m" for name, score, distance in rows)
    answered = frame.detections is not None
    return {
        **vars(drawn),
        "stamp": seconds(frame.stamp),
        "count": len(found) if answered else None,
        "latency": None if frame.latency_ms is None else round(frame.latency_ms, 1),
        "text": (listed or "nothing detected") if answered else "no answer from the node",
    }
