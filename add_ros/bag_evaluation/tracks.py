"""What the node's tracker makes of the detections of a run, beside labels whose ids last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from add_model.tracking import Tracker, TrackerSettings
from add_ros.bag_evaluation.run import EvaluatedFrame
from add_ros.bag_evaluation.scoring import Scored
from add_ros.bags.ground_poses import GroundPoses
from add_ros.errors import FrameRejectedError
from training.evaluation.tracking import MissingTrackevalError, TrackedFrame, score_lines
from training.report.stories import FollowedImage


@dataclass(frozen=True, eq=False)
class FollowedRun:
    """The tracks of a run.

    images: index of a frame -> the frame with its tracks, in the order of the run
    notes:  sentences on how they came about, and on what has none
    scores: HOTA and its like as lines of text, none where no labels last
    """

    images: dict[int, FollowedImage]
    notes: list[str]
    scores: list[str]


def follow(scored: Scored, bag: Path, threshold: float) -> FollowedRun:
    """Track the detections of a run as the node would, with the camera's motion where the bag's /tf has it.

    Args:
        scored: the run; labels have tracks where their ids come again in other frames.
        bag: that of the run.
        threshold: score from which on detections count.
    """
    notes = [f"Detections count from a score of {threshold:g} on."]
    if any(((f.detections.scores < 0) | (f.detections.scores > 1)).any() for f in scored.frames):
        return FollowedRun({}, ["There are no tracks: scores must lie between 0 and 1."], [])
    poses, tracker, late, unknown = GroundPoses(bag), Tracker(TrackerSettings.at(threshold)), 0, 0
    numbers, images = _lasting(scored.frames), {}
    for index, frame in enumerate(scored.frames):
        try:
            pose = poses(frame.frame_id, frame.stamp)
        except FrameRejectedError:  # before the first transform, or after the last one
            unknown += 1
            continue
        tracks = tracker.update(frame.detections, frame.camera, frame.stamp, pose)
        if tracks is None:
            late += 1
            continue
        truth = None if numbers is None else np.array([numbers.get(i, -1) for i in frame.ids.tolist()], dtype=int)
        labelled = None if truth is None else frame.objects
        images[index] = FollowedImage(frame.stamp / 1e9, frame.camera, tracks, labelled, truth, pose)
    moving = sum(image.pose is not None for image in images.values())
    if moving:
        notes.append(f"The camera's motion is known, by /tf, in {moving} of {len(images)} frames.")
    if late:
        notes.append(f"Frames without tracks, since they are not newer than the one before: {late}.")
    if unknown:
        notes.append(f"Frames without tracks, since /tf does not reach their stamps: {unknown}.")
    if poses.malformed:
        notes.append(f"Malformed tf messages that were left out: {poses.malformed}.")
    return FollowedRun(images, notes, _scores(scored, images) if numbers is not None else [])


def _lasting(frames: Sequence[EvaluatedFrame]) -> dict[str, int] | None:
    """Id of a labelled object -> its number; None where no id comes twice, or an object has none."""
    solid = [frame.ids[np.isfinite(frame.objects.boxes).all(axis=1)].tolist() for frame in frames]
    seen = Counter(identity for ids in solid for identity in ids)
    if "" in seen or max(seen.values(), default=0) < 2:
        return None
    return {identity: number for number, identity in enumerate(seen)}


def _scores(scored: Scored, images: dict[int, FollowedImage]) -> list[str]:
    frames = [
        TrackedFrame(image.objects, image.truth, image.tracks.detections, image.tracks.ids)
        for image in images.values()
        if image.objects is not None and image.truth is not None
    ]
    try:
        return score_lines("run", frames, scored.class_spec)
    except MissingTrackevalError as error:
        return [f"not scored: {error}"]
