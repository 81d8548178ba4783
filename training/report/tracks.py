"""A drive's tracks as one HTML page: each object over time, the worst id switches first, and ids in pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec
from training.report.pictures import track_picture
from training.report.stories import FollowedImage, stories, switch_times, timelines
from training.report.templates import rendered
from training.spread import ranked_and_spread

_WIDTH = 900  # pixels of pictures


def render(
    title: str,
    images: Sequence[FollowedImage],
    load: Callable[[int], np.ndarray],
    scores: Sequence[str],
    pictures: int,
    classes: ClassSpec = KITTI_CLASSES,
) -> str:
    """The page as HTML.

    Args:
        title: of the page.
        images: the drive.
        load: reads the pixels (H, W, 3) RGB of an image, by its index.
        scores: lines of text about it.
        pictures: how many images are shown at most.
        classes: those of the model.
    """
    told = stories(images, classes)
    times = switch_times(told)
    switched = [k for k, image in enumerate(images) if image.time in times]
    shown = ranked_and_spread(switched, len(images), pictures)
    return rendered(
        Path(__file__).with_name("tracks.html.j2"),
        title=title,
        frames=len(images),
        seconds=images[-1].time - images[0].time if images else 0.0,
        count=len({int(i) for image in images for i in image.tracks.ids}),
        scores="\n".join(scores),
        timelines=timelines(told, images),
        pictures=[_picture(images[k], load(k), images[0].time) for k in shown],
    )


def _picture(image: FollowedImage, pixels: np.ndarray, start: float) -> dict[str, Any]:
    truth = None if image.objects is None else image.objects.boxes[np.isfinite(image.objects.boxes).all(axis=1)]
    return {
        "time": f"{image.time - start:.1f}",
        "source": track_picture(pixels, image.camera, image.tracks, truth, (_WIDTH, _WIDTH)),
    }
