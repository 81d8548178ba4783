"""Which labelled objects are trained on, and why the others are not: told before the first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from add_model.classes import ClassSpec
from add_model.detectors.target_assignment import Limits
from add_model.geometry.camera import Camera, reference_focal_scale
from training.data.frame_sources import LabelledFrames
from training.data.sample import Objects

if TYPE_CHECKING:  # counting needs no torch
    from training.data.views import Visibility

FEW = 10  # objects of a class below which nothing can be learnt of it


@dataclass
class TrainingObjects:
    """used: class -> objects that are trained on. left_out: class -> reason -> objects that are not."""

    used: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)

    def reasons(self) -> str:
        """What is left out and why, for people."""
        by_class = (
            f"{name}: {', '.join(f'{count} {why}' for why, count in reasons.most_common())}"
            for name, reasons in self.left_out.items()
        )
        return "; ".join(by_class)

    def warnings(self, classes: Iterable[str]) -> list[str]:
        """A sentence for each class that has few objects."""
        few = [(name, self.used[name]) for name in classes if self.used[name] < FEW]
        return [
            f"{name}: {count or 'no'} object{'' if count == 1 else 's'} to train on, which is too few to find others"
            + (f"; left out: {', '.join(f'{n} {why}' for why, n in out.most_common())}" if out else "")
            for name, count in few
            for out in [self.left_out.get(name, Counter())]
        ]


def training_objects(
    folders: Sequence[LabelledFrames],
    classes: ClassSpec,
    focal: float,
    scale: float,
    visibility: Visibility,
) -> TrainingObjects:
    """Count the objects of the frames to train on.

    Args:
        folders: the frames.
        classes: the detector's.
        focal: the focal length at which it sees images, pixels.
        scale: the largest factor on it by which views are magnified: what is too small then is always too small.
        visibility: the codes up to which objects are visible enough.
    """
    found = TrainingObjects()
    for frames in folders:
        for index in range(len(frames)):
            objects, camera = frames.objects(index), frames.camera(index)
            reasons = _reasons(objects, camera, focal, scale, visibility)
            for label, reason in zip(objects.names, reasons, strict=True):
                number = classes.index(str(label))
                if number < 0:
                    continue
                name = classes.names[number]
                if reason is None:
                    found.used[name] += 1
                else:
                    found.left_out.setdefault(name, Counter())[reason] += 1
    return found


def _reasons(objects: Objects, camera: Camera, focal: float, scale: float, visibility: Visibility) -> list[str | None]:
    """Why each object is not trained on, None where it is; the first that holds of what `Limits` and codes say."""
    if not len(objects):
        return []
    limits, frame = Limits.seen_at(focal), visibility.frame
    magnified = focal * scale / camera.fu
    height = objects.boxes2d[:, 3] - objects.boxes2d[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v, along = camera.project(objects.boxes[:, :3]).T
        depth = along / (reference_focal_scale(camera.P) * magnified)
        tests = {
            "without a 3D box": ~np.isfinite(objects.boxes).all(axis=1),
            "whose 2D box has no height": ~(height > 0),
            f"occluded beyond code {visibility.max_occlusion}": objects.occluded > visibility.max_occlusion,
            f"truncated by more than {visibility.max_truncation:g}": objects.truncated > visibility.max_truncation,
            "too low in the image": height < frame.min_height if frame else height * magnified < limits.min_height,
            "too near": objects.boxes[:, 2] < (frame.min_depth if frame else -np.inf),
            "too far away": objects.boxes[:, 2] > frame.max_depth if frame else depth > limits.max_depth,
            "whose centre is outside the image": ~(
                (u >= -0.5) & (v >= -0.5) & (u < camera.width) & (v < camera.height) & (along > 0)
            ),
        }
    return [next((reason for reason, holds in tests.items() if holds[i]), None) for i in range(len(objects))]
