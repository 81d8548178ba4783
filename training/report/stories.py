"""Each object of a drive over time: what was labelled, and which tracks followed it, the worst id switches first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.geometry.camera import Camera
from add_model.tracking import Tracks, track_colour
from training.data.sample import Objects
from training.evaluation.association import associate

_PANEL = (640, 64)  # pixels of a panel of a timeline
_STORIES = 40  # objects with a timeline at most
_SAME_GAP = 0.35  # seconds: a line is not drawn across longer gaps


@dataclass(frozen=True, eq=False)
class FollowedImage:
    """One image of a drive with its tracks.

    time: seconds; pose: (4, 4) from the frame of the camera's P to one fixed to the ground
    objects, truth: the labelled objects and their tracks (N,), -1 for none; None where there are no such labels
    """

    time: float
    camera: Camera
    tracks: Tracks
    objects: Objects | None = None
    truth: np.ndarray | None = None
    pose: np.ndarray | None = None


@dataclass
class Story:
    """One object over time: times (s), range (m), speed (m/s, NaN where unknown), and for estimates score and id."""

    name: str
    truth: list[tuple[float, float, float]] = field(default_factory=list)
    estimates: list[tuple[float, float, float, float, int]] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """Of its tracks, in order, an id again for each time that it comes back."""
        found = [row[4] for row in self.estimates]
        return [i for k, i in enumerate(found) if k == 0 or found[k - 1] != i]

    @property
    def switches(self) -> int:
        """How often its id changes."""
        return max(0, len(self.ids) - 1)

    @property
    def switch_times(self) -> list[float]:
        """Seconds, of the images in which it has another id than before."""
        return [row[0] for before, row in itertools.pairwise(self.estimates) if before[4] != row[4]]


def stories(images: Sequence[FollowedImage], classes: ClassSpec = KITTI_CLASSES) -> list[Story]:
    """Each labelled object with the tracks that follow it, or each track by itself; most id switches first.

    Args:
        images: the drive.
        classes: have the neighbours of each class.
    """
    told: dict[int, Story] = {}
    for k, image in enumerate(images):
        found = image.tracks
        speeds = np.full(len(found), np.nan) if found.velocities is None else np.linalg.norm(found.velocities, axis=1)
        ranges = np.hypot(found.boxes[:, 0], found.boxes[:, 2])
        if image.objects is None or image.truth is None:
            for n, identity in enumerate(found.ids.tolist()):
                story = told.setdefault(identity, Story(str(found.names[n])))
                story.estimates.append((image.time, ranges[n], speeds[n], found.scores[n], identity))
            continue
        solid = np.flatnonzero(np.isfinite(image.objects.boxes).all(axis=1) & (image.truth >= 0))
        for m in solid:
            story = told.setdefault(int(image.truth[m]), Story(str(image.objects.names[m])))
            box = image.objects.boxes[m]
            story.truth.append(
                (image.time, float(np.hypot(box[0], box[2])), _true_speed(images, k, int(image.truth[m])))
            )
        for name in dict.fromkeys(map(str, found.names)):
            of = associate(image.objects, found.detections, name, classes).detection
            for n in np.flatnonzero((of >= 0) & (image.truth[of] >= 0)):
                row = (image.time, ranges[n], speeds[n], found.scores[n], int(found.ids[n]))
                told[int(image.truth[of[n]])].estimates.append(row)
    kept = [story for story in told.values() if story.estimates or len(story.truth) > 1]
    return sorted(kept, key=lambda story: (-story.switches, -len(story.estimates)))


def timelines(told: Sequence[Story], images: Sequence[FollowedImage]) -> dict[str, Any]:
    """The first of these stories as values for the template's `timelines`.

    Args:
        told: what `stories` found.
        images: the drive.
    """
    return {
        "labelled": any(image.truth is not None for image in images),
        "moving": any(image.pose is not None for image in images),
        "stories": [_shown(story, images) for story in told[:_STORIES]],
        "left_out": max(0, len(told) - _STORIES),
    }


def switch_times(told: Sequence[Story]) -> set[float]:
    """Seconds, of the images in which an object whose timeline is shown has another id than before."""
    return {time for story in told[:_STORIES] for time in story.switch_times}


def id_colour(identity: int) -> str:
    """The colour of a track in lines on a white page, as CSS has it."""
    return "#{:02x}{:02x}{:02x}".format(*(round(0.8 * channel) for channel in track_colour(identity)))


def _true_speed(images: Sequence[FollowedImage], k: int, track: int) -> float:
    """Over ground, by where it is in the images before and after."""
    ends = []
    for image in (images[max(k - 1, 0)], images[min(k + 1, len(images) - 1)]):
        if image.pose is None or image.objects is None or image.truth is None:
            return float("nan")
        rows = np.flatnonzero(image.truth == track)
        if not len(rows):
            return float("nan")
        ends.append((image.time, image.pose @ np.append(image.objects.boxes[rows[0], :3], 1.0)))
    passed = ends[1][0] - ends[0][0]
    return float(np.linalg.norm(ends[1][1] - ends[0][1]) / passed) if passed > 0 else float("nan")


def _shown(story: Story, images: Sequence[FollowedImage]) -> dict[str, Any]:
    start, end = images[0].time, max(images[-1].time, images[0].time + 1e-3)
    truth, found = np.array(story.truth).reshape(-1, 3), np.array(story.estimates).reshape(-1, 5)
    panels = []
    for label, column, unit in (("range", 1, "m"), ("speed", 2, "m/s"), ("score", 3, "")):
        of_truth = truth[:, [0, column]] if column < 3 else np.empty((0, 2))
        of_found = found[:, [0, column, 4]]
        of_truth, of_found = (rows[np.isfinite(rows[:, 1])] for rows in (of_truth, of_found))
        if not len(of_truth) and not len(of_found):
            continue
        top = max([1.0, *of_truth[:, 1], *of_found[:, 1]])
        panels.append(
            {"label": label, "top": f"{top:.3g} {unit}".strip(), "paths": _paths(of_truth, of_found, start, end, top)}
        )
    return {
        "name": story.name,
        "switches": story.switches,
        "ids": [{"id": i, "colour": id_colour(i)} for i in story.ids],
        "found": len(story.estimates),
        "labelled": len(story.truth),
        "panels": panels,
    }


def _paths(truth: np.ndarray, found: np.ndarray, start: float, end: float, top: float) -> list[dict[str, str]]:
    def path(rows: np.ndarray) -> str:
        width, height = _PANEL
        steps, before = [], None
        for time, value in rows[:, :2].tolist():
            x, y = width * (time - start) / (end - start), height - (height - 4) * value / top - 2
            joined = before is not None and time - before <= _SAME_GAP
            steps.append(f"{'L' if joined else 'M'}{x:.1f} {y:.1f}")
            if not joined:
                steps.append("h0.1")  # a point by itself is seen too
            before = time
        return "".join(steps)

    paths = [{"d": path(truth), "colour": "#22272c", "width": "1.2"}] if len(truth) else []
    for identity in dict.fromkeys(found[:, 2].astype(int).tolist()):
        rows = found[found[:, 2] == identity]
        paths.append({"d": path(rows), "colour": id_colour(identity), "width": "2.4"})
    return paths
