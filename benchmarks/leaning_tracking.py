"""Tracks of a camera that looks down and rolls against those of a level one: python benchmarks/leaning_tracking.py

Drives of the synthetic world (straight, turning, stopping in turn) are rendered once for a wide level camera. Both
cameras are windows of that picture, as in leaning_camera.py, and both know how the camera moves. HOTA and its like are
trackeval's, on the ground (see `training.evaluation.tracking`), over the objects that both cameras show: the others are
ignored. Needs requirements/tracking.txt.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from leaning_camera import FOCAL, View, level_streets, shown, wide_camera
from tqdm import tqdm
from tracking import hota_lines

from add_model.detections import SCORE_THRESHOLD, Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor
from add_model.tracking import Tracker, TrackerSettings
from add_model.tracking.sight import Sight
from training.data.world.course import COURSES
from training.data.world.world import DriveFrame
from training.evaluation.tracking import TrackedFrame

_LEAST_SCORE = 0.05


def in_level_frame(found: Detections, view: View, wide: Camera) -> Detections:
    """What a tilted camera found, in the level frame and the wide picture."""
    boxes = Sight.of(view.camera, view.up).levelled(replace(found, up=view.up)).boxes
    boxes2d = box3d.clip_to_image(box3d.project_boxes(boxes, wide), wide)
    return replace(found, boxes=boxes, boxes2d=boxes2d, up=None)


class TrackedView:
    """A camera of the study, its tracker, and what it made of each drive."""

    def __init__(self, pitch: float, roll: float, wide: Camera) -> None:
        self.view, self._wide = View.leaning(pitch, roll, wide), wide
        self.frames: dict[str, list[TrackedFrame]] = {}
        self._motion = np.eye(4)
        self._motion[:3, :3] = self.view.rotation
        self._up = self.view.up if pitch or roll else None

    def start(self, drive: str) -> None:
        """A new drive."""
        self._tracker, self._made = Tracker(TrackerSettings.at(SCORE_THRESHOLD)), self.frames.setdefault(drive, [])

    def see(self, predictor: Predictor, frame: DriveFrame, outside: np.ndarray) -> None:
        """One image of a drive, of whose objects a share is outside of what counts."""
        sample, camera = frame.sample, self.view.camera
        found = predictor.predict(self.view.picture(sample.image), camera, _LEAST_SCORE, up=self._up)
        tracks = self._tracker.update(found, camera, round(frame.time * 1e9), frame.pose @ self._motion)
        objects = shown(sample.objects, outside, self.view.outside(sample.objects)[1])
        level = in_level_frame(tracks.detections, self.view, self._wide)
        self._made.append(TrackedFrame(objects, frame.tracks, level, tracks.ids))


def main() -> None:
    """Track, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=12, help="of the synthetic world (12)")
    parser.add_argument("--drives", type=int, default=12)
    parser.add_argument("--frames", type=int, default=80, help="images of each drive (80)")
    parser.add_argument("--rate", type=float, default=10.0, help="Hz (10)")
    parser.add_argument("--height", type=float, default=1.65, help="of the camera above the road, metres (1.65)")
    parser.add_argument("--lean", type=float, nargs=2, default=(15.0, 5.0), metavar=("PITCH", "ROLL"), help="degrees")
    options = parser.parse_args()
    predictor, wide = Predictor(device="cpu", threads=1), wide_camera()
    lean = "{:g} and {:g} degrees".format(*options.lean)
    views = {"level": TrackedView(0, 0, wide), lean: TrackedView(*options.lean, wide)}
    world = level_streets(wide.width, wide.height, FOCAL, options.height, options.seed)
    for index in tqdm(range(options.drives), unit="drive", disable=None):
        course = list(COURSES)[index % len(COURSES)]
        for tracked in views.values():
            tracked.start(f"{index} {course}")
        for frame in world.drive(index, options.frames, options.rate, course):
            outside = np.maximum(*(tracked.view.outside(frame.sample.objects)[0] for tracked in views.values()))
            for tracked in views.values():
                tracked.see(predictor, frame, outside)
    for name, tracked in views.items():
        print(name, *hota_lines(tracked.frames, on_ground=True), sep="\n", flush=True)


if __name__ == "__main__":
    main()
