"""Which frames of a run a page shows, and their pictures: the bag is read again, and few images are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from add_ros.bag_evaluation.scoring import Scored
from add_ros.bags.frames import BagFrames
from add_ros.bags.messages import seconds
from training.evaluation.association import FREE
from training.progress_bar import progress
from training.report.pictures import frame_pictures, track_picture, tracks_above
from training.report.stories import FollowedImage

_ABOVE, _WIDTHS = 400, (800, 960)  # pixels: 100 to 200 kB a frame, and as much with its tracks
_COLUMNS = 400  # of the timeline


def pictures(
    scored: Scored, bag: BagFrames, chosen: Iterable[int], followed: Mapping[int, FollowedImage]
) -> list[dict[str, Any]]:
    """The chosen frames of a run with pictures, as values for the page's script, in the order of time.

    Args:
        scored: the run.
        bag: that of the run.
        chosen: indices of frames.
        followed: index of a frame -> its tracks.
    """
    indices = {scored.frames[index].stamp: index for index in chosen}
    shown: dict[int, dict[str, Any]] = {}
    if not indices:
        return []
    with progress(len(indices), "pictures", "draw") as bar:
        for frame in bag.again(indices):
            index = indices[frame.stamp]
            boxes = scored.frames[index].objects.boxes
            truth = boxes[np.isfinite(boxes).all(axis=1)]
            found = scored.shown(index)
            drawn = frame_pictures(frame.image, frame.camera, found, truth, _ABOVE, _WIDTHS, scored.class_spec)
            fault = scored.faults[index]
            shown[index] = {
                **vars(drawn), **fault, **_tracks(frame.image, followed.get(index), truth),
                "index": index, "stamp": seconds(frame.stamp), "text": describe(scored, index),
            }  # fmt: skip
            bar.update()
            if len(shown) == len(indices):
                break
    return [shown[index] for index in sorted(shown)]


def _tracks(pixels: np.ndarray, image: FollowedImage | None, truth: np.ndarray) -> dict[str, str | None]:
    if image is None:
        return {"camera_tracks": None, "above_tracks": None}
    return {
        "camera_tracks": track_picture(pixels, image.camera, image.tracks, truth, _WIDTHS),
        "above_tracks": tracks_above(image.camera, image.tracks, truth, _ABOVE),
    }


def describe(scored: Scored, index: int) -> str:
    """The misses and false positives of a frame as a sentence."""
    frame, missed, false = scored.frames[index], [], []
    for name, errors in scored.classes.items():
        pair = errors.pairs[index]
        found = frame.detections[frame.detections.scores >= errors.threshold]
        distance = np.hypot(frame.objects.boxes[:, 0], frame.objects.boxes[:, 2])
        missed += [f"{name} at {distance[m]:.0f} m" for m in np.flatnonzero(pair.truth == FREE)]
        away = np.hypot(found.boxes[:, 0], found.boxes[:, 2])
        false += [f"{name} {found.scores[n]:.2f} at {away[n]:.0f} m" for n in np.flatnonzero(pair.detection == FREE)]
    if not frame.answered:
        return "No detections were recorded for this frame."
    return f"Missed: {', '.join(missed) or 'nothing'}. False positives: {', '.join(false) or 'nothing'}."


def timeline(scored: Scored) -> dict[str, Any]:
    """Misses, and misses with false positives, of the whole run as SVG paths in a box of 1000 x 100."""
    missed = np.array([row["missed"] for row in scored.faults])
    both = missed + np.array([row["false"] for row in scored.faults])
    columns = np.array_split(np.arange(len(missed)), min(_COLUMNS, len(missed)))
    most = max(1, int(both.max(initial=0)))
    return {"most": most, "missed": _path(missed, columns, most), "both": _path(both, columns, most)}


def _path(values: np.ndarray, columns: list[np.ndarray], most: int) -> str:
    """The largest value of each column as a bar."""
    steps, total = ["M0 100"], len(values)
    for column in columns:
        left, right = 1000 * column[0] / total, 1000 * (column[-1] + 1) / total
        top = 100 - 100 * values[column].max() / most
        steps.append(f"L{left:.1f} {top:.1f}L{right:.1f} {top:.1f}")
    return "".join([*steps, "L1000 100Z"])
