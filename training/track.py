"""add-ros track: follow objects through a drive, and write KITTI's tracking results, scores and a page."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

from add_model.atomic_io import require_writable, write_atomically
from add_model.detections import SCORE_THRESHOLD
from add_model.geometry.camera import Camera
from add_model.ground import Ground
from add_model.predictor import Predictor
from add_model.tracking import Tracker, TrackerSettings, Tracks
from training.arguments import add_trust_argument, at_least, command_parser, share
from training.data.camera_info import RECTIFICATIONS
from training.data.kitti.labels import detections_table
from training.data.kitti.sequences import OBJECT_LAYOUT, ImageSequence, open_sequence
from training.evaluation.tracking import MissingTrackevalError, TrackedFrame, score_lines
from training.model_arguments import (
    add_engine_arguments,
    add_ground_arguments,
    add_model_argument,
    ground,
    predictor_options,
)
from training.progress_bar import counted
from training.report.stories import FollowedImage
from training.report.tracks import render
from training.reported_errors import print_notes, reported

_PICTURES = 24


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "track",
        "Follow objects through a drive, with the camera's motion where the drive has it (oxts), and write KITTI's "
        "tracking results. Where the drive is labelled with tracks, score them too.",
        "tracking/training/image_02/0000 --out 0000.txt --page 0000.html",
    )
    options.add_argument("drive", type=Path, help="KITTI tracking or raw, or a folder of images with a calibration")
    drive = options.add_argument_group("drive")
    drive.add_argument("--calib", type=Path, metavar="FILE", help="calibration of images that have none beside them")
    drive.add_argument(
        "--rectification", choices=RECTIFICATIONS, default="auto", help="of images with camera_info YAML (auto)"
    )
    add_trust_argument(drive)
    drive.add_argument(
        "--without-motion", action="store_true", help="as if the camera's motion were not known: no velocities"
    )
    model = options.add_argument_group("model")
    add_model_argument(model)
    add_engine_arguments(model)
    model.add_argument(
        "--score-threshold",
        type=share,
        default=SCORE_THRESHOLD,
        metavar="S",
        help="score of detections that count (%(default)s)",
    )
    add_ground_arguments(model)
    out = options.add_argument_group("output")
    out.add_argument("--out", type=Path, metavar="FILE", help="KITTI's tracking results, a line for each box")
    out.add_argument("--page", type=Path, metavar="FILE", help="an HTML page: ids in pictures, each object over time")
    out.add_argument("--pictures", type=at_least(0), metavar="N", help=f"images on the page at most ({_PICTURES})")
    return options


def followed(
    sequence: ImageSequence, predictor: Predictor, threshold: float, motion: bool, ground: Ground | None = None
) -> list[Tracks]:
    """The tracks at each image of a drive.

    Args:
        sequence: the drive.
        predictor: detects.
        threshold: score from which on detections count.
        motion: whether the camera's motion is used where the drive has it.
        ground: what things stand on, where it is known.
    """
    settings = TrackerSettings.at(threshold)
    tracker, found = Tracker(settings), []
    rows = counted(sequence.frames(), "images", "track", len(sequence))
    for number, (stamp, sample) in enumerate(rows):
        detections = predictor.predict(sample.image, sample.camera, settings.low_score, ground=ground)
        pose = sequence.poses[number] if motion and sequence.poses is not None else None
        tracks = tracker.update(detections, sample.camera, stamp, pose)
        if tracks is None:  # stamps of sequences increase
            raise ValueError(f"{sequence.images[number]}: its time is not later than that of the image before it")
        found.append(tracks)
    return found


def tracking_lines(number: int, tracks: Tracks, camera: Camera) -> list[str]:
    """Lines of a KITTI tracking result file: frame, track, type and so on, score last."""
    table = detections_table(tracks.detections, camera)
    lines = []
    for identity, name, row in zip(tracks.ids, table.names, table.values.tolist(), strict=True):
        truncated, occluded, *numbers, score = row
        values = " ".join(repr(round(value, 6)) for value in numbers)
        lines.append(f"{number} {identity} {name} {truncated:.0f} {occluded:.0f} {values} {score!r}")
    return lines


def labelled_frames(sequence: ImageSequence, found: list[Tracks]) -> list[TrackedFrame]:
    """The images of a labelled drive with their tracks."""
    if sequence.objects is None or sequence.tracks is None:
        raise ValueError(f"{sequence.name} has no labelled tracks")
    rows = zip(sequence.objects, sequence.tracks, found, strict=True)
    return [TrackedFrame(objects, tracks, of.detections, of.ids) for objects, tracks, of in rows]


def followed_images(sequence: ImageSequence, found: list[Tracks]) -> list[FollowedImage]:
    """The images of a drive with their tracks, as a page shows them."""
    return [
        FollowedImage(
            sequence.stamps[k] / 1e9,
            sequence.cameras[k],
            tracks,
            None if sequence.objects is None else sequence.objects[k],
            None if sequence.tracks is None else sequence.tracks[k],
            None if sequence.poses is None else sequence.poses[k],
        )
        for k, tracks in enumerate(found)
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    command = parser()
    options = command.parse_args(arguments)
    if options.pictures is not None and options.page is None:
        command.error("--pictures is about the page: give --page too, or leave it out")
    return reported(partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    for path in filter(None, (options.out, options.page)):
        require_writable(path)
    sequence = open_sequence(options.drive, options.calib, options.rectification, options.trust_calibration)
    predictor = Predictor(options.model, **predictor_options(options))
    motion, plane = not options.without_motion, ground(options)
    single = sequence.layout == OBJECT_LAYOUT
    apart = f"{sequence.layout}: tracks mean something only where they follow one another at 10 Hz" if single else None
    print_notes([*sequence.notes, apart, predictor.device_note])
    found = followed(sequence, predictor, options.score_threshold, motion, plane)
    _write(options, sequence, predictor, found)


def _write(options: argparse.Namespace, sequence: ImageSequence, predictor: Predictor, found: list[Tracks]) -> None:
    moving = sequence.poses is not None and not options.without_motion
    count = len(np.unique(np.concatenate([tracks.ids for tracks in found])))
    print(
        f"{count} tracks in {len(found)} images of {sequence.name}, the camera's motion {'' if moving else 'not '}known"
    )
    scores: list[str] = []
    if sequence.tracks is not None:
        try:
            scores = score_lines(sequence.name, labelled_frames(sequence, found), predictor.class_spec)
        except MissingTrackevalError as error:
            scores = [f"not scored: {error}"]
        print("\n".join(scores))
    if options.out:
        rows = zip(found, sequence.cameras, strict=True)
        lines = [
            line for number, (tracks, camera) in enumerate(rows) for line in tracking_lines(number, tracks, camera)
        ]
        write_atomically(options.out, "".join(f"{line}\n" for line in lines))
    if options.page:
        page = render(
            f"Tracks of {sequence.name}",
            followed_images(sequence, found),
            lambda k: sequence.sample(k).image,
            scores,
            _PICTURES if options.pictures is None else options.pictures,
            predictor.class_spec,
        )
        write_atomically(options.page, page)
    for path in filter(None, (options.out, options.page)):
        print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
