"""Make a data set from bags: `add-ros bag export BAG... --out DIR`, without a ROS installation.

The data set has KITTI's object layout: images without distortion with their calibration, scans of a lidar in its own
frame with the transform to the camera, and labels where the bag has boxes. frames.tsv names the bag, topic and stamp of
each frame; ImageSets has splits by recording or by time; export.html shows scans over images, and what was found.

Stopped at any time, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from add_model.atomic_io import FULL, write_atomically
from add_ros.bag_export.checks import timing
from add_ros.bag_export.choice import FrameChoice
from add_ros.bag_export.dataset_writer import DatasetWriter, write_lists
from add_ros.bag_export.exported_frames import ExportedFrames
from add_ros.bag_export.journal import Journal, discard
from add_ros.bag_export.many_bags import PARTS, export_shared
from add_ros.bag_export.recording import RecordedFrame, Recording
from add_ros.bag_export.run import Report, export
from add_ros.bag_export.sources import ExportTopics
from add_ros.bag_export.splits import split
from add_ros.bags.errors import BagError
from add_ros.bags.many_bags import add_bags, add_processes, are_shared
from add_ros.bags.messages import seconds
from add_ros.bags.types import UnknownTypeError
from training.arguments import at_least, command_parser, positive, share
from training.data.camera_info import RECTIFICATIONS
from training.data.kitti.timestamps import nanoseconds
from training.progress_bar import counted
from training.reported_errors import reported

PAGE = "export.html"
_NOT_FRAMES = ("out", "val_share", "split_gap", "seed", "processes", "scheduler")  # options that change no frame


def _time(text: str) -> int:
    try:
        return nanoseconds(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: seconds since 1970 with a decimal point, nanoseconds, or 2026-11-29 12:00:00 (UTC)"
        ) from None


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = command_parser(
        "bag export",
        "Make a data set in KITTI's object layout from bags: images without distortion, lidar scans by tf, boxes as "
        "labels. frames.tsv names bag, topic and stamp of each frame; export.html shows scans over images and what was "
        "found. Stopped at any time, the same command goes on where it was.",
        "drive_1 drive_2 --out data --min-metres 0.5",
    )
    add_bags(made, "rosbag2 folders or files, each a recording")
    made.add_argument("--out", required=True, type=Path, metavar="DIR", help="of the data set, new or begun before")
    topics = made.add_argument_group("topics (found by type where there is one)")
    topics.add_argument("--camera", nargs="+", default=[], metavar="TOPIC", help="images, one topic for each camera")
    topics.add_argument("--camera-info", nargs="+", default=[], metavar="TOPIC", help="of each --camera, in its order")
    topics.add_argument("--points", metavar="TOPIC", help="PointCloud2 of the lidar; '' for none")
    topics.add_argument("--labels", metavar="TOPIC", help="Detection3DArray or MarkerArray; '' for none")
    topics.add_argument("--odometry", metavar="TOPIC", help="Odometry, where /tf has none")
    topics.add_argument("--imu", metavar="TOPIC", help="Imu that tells where up is, where tf does not")
    chosen = made.add_argument_group("which frames")
    chosen.add_argument("--every", type=at_least(1), default=1, metavar="N", help="one of N")
    chosen.add_argument("--min-seconds", type=positive, metavar="S", help="between frames")
    chosen.add_argument("--min-metres", type=positive, metavar="M", help="that the camera moved, by odometry or tf")
    chosen.add_argument("--min-sharpness", type=positive, metavar="V", help="variance of the Laplacian; 100 is a start")
    chosen.add_argument(
        "--around",
        nargs="+",
        type=_time,
        default=[],
        metavar="TIME",
        help="near these times only: seconds with a decimal point, whole nanoseconds, or a date (UTC)",
    )
    chosen.add_argument("--window", type=positive, metavar="S", help="how near --around is (1 s)")
    data = made.add_argument_group("what is written")
    data.add_argument("--max-offset", type=positive, default=0.06, metavar="S", help="from an image to its scan (0.06)")
    data.add_argument("--level", action="store_true", help="turn images to a level camera, by tf or --imu")
    data.add_argument("--jpeg", action="store_true", help="JPEG at quality 95 instead of PNG")
    data.add_argument("--rectification", choices=RECTIFICATIONS, default="auto", help="as the node's")
    data.add_argument("--val-share", type=share, default=0.2, metavar="P", help="of the frames, to validate on (0.2)")
    data.add_argument("--split-gap", type=positive, default=10.0, metavar="S", help="in time, between the splits (10)")
    data.add_argument("--seed", type=at_least(0), default=0, help="of the split")
    add_processes(made)
    return made


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 0, 1 where nothing can be exported or the disk is full, 130 when interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser()
    a = options.parse_args(given)
    shared = are_shared(options, a)
    if a.window is not None and not a.around:
        options.error("--window is about the times of --around: give --around too, or leave it out")
    a.window = 1.0 if a.window is None else a.window  # export.json has it in any case
    if a.val_share == 1:
        options.error("--val-share 1 leaves no frame to train on")
    if a.camera_info and len(a.camera_info) != max(1, len(a.camera)):
        options.error(f"--camera-info names {len(a.camera_info)} topics for {max(1, len(a.camera))} of --camera")
    command = shlex.join(["add-ros", "bag", "export", *given])
    kinds = BagError, UnknownTypeError, sqlite3.Error
    stopped = "interrupted; the same command goes on from here"
    return reported(partial(_export, a, shared, command), *kinds, stopped=stopped)


def _export(a: argparse.Namespace, shared: bool, command: str) -> None:
    try:
        _write(a, shared, command)
    except OSError as error:
        if error.errno in FULL:
            raise OSError(
                f"the disk of {a.out} is full: make room, and give the same command again to go on; what is there is "
                "whole"
            ) from error
        raise


def _write(a: argparse.Namespace, shared: bool, command: str) -> None:
    wanted = ExportTopics(tuple(a.camera), tuple(a.camera_info), a.points, a.labels, a.odometry, a.imu)
    choice = FrameChoice(
        a.every, a.min_seconds or 0.0, a.min_metres or 0.0, a.min_sharpness or 0.0, tuple(a.around), a.window
    )
    opened = partial(Recording, wanted=wanted, max_offset=round(a.max_offset * 1e9), rectification=a.rectification)
    for bag in a.bags:
        opened(bag)  # a bag that cannot be read is named before the first is exported
    settings = _settings(a)
    with Journal(a.out, settings) as journal:
        if shared:
            spread = a.processes, a.scheduler
            report = export_shared(a.bags, opened, choice, a.level, a.jpeg, a.out, journal, settings, *spread)
        else:
            recordings = [partial(opened, bag) for bag in a.bags]
            report = export(recordings, choice, a.level, DatasetWriter(a.out, a.jpeg), journal, _progress)
    report.add_rows(journal.rows())
    shutil.rmtree(a.out / PARTS, ignore_errors=True)
    frames = ExportedFrames.of(journal.rows())
    if not len(frames):
        discard(a.out)
        reasons = "; ".join(f"{count} {why}" for why, count in report.skipped.most_common())
        sentence = next(iter(report.problems.values()), _none_near(a.around, report.span))
        raise BagError(f"no frame could be exported ({reasons or 'none chosen'}): {sentence}")
    lists, how = split(frames, a.val_share, a.split_gap, a.seed)
    write_lists(a.out, lists, frames.stamp)
    from add_ros.bag_export.page import look  # needs jinja2 and matplotlib, which take a while
    from training.report.contact_sheet import render

    pictures, checked = look(a.out, frames)
    parts = [
        ("Data set", _counts(a, frames, how, report.before)),
        ("Timing", timing(frames)),
        ("Recordings", report.lines),
        ("Calibration", checked),
        ("Passed over and noted", _faults(report)),
    ]
    for heading, lines in parts:
        for line in lines:
            print(f"{heading.lower()}: {line}")
    write_atomically(a.out / PAGE, render(f"Data set {a.out.name}", command, parts, pictures))
    print(f"written: {a.out / PAGE}")


def _none_near(around: list[int], span: tuple[int, int] | None) -> str:
    """Why no image was chosen."""
    if not around or span is None:
        return "no image was chosen"
    asked, (first, last) = ", ".join(map(seconds, around)), map(seconds, span)
    return (
        f"no image is near {asked} s; their stamps are from {first} to {last} s. --around takes whole numbers as "
        "nanoseconds: write seconds with a decimal point"
    )


def _settings(a: argparse.Namespace) -> dict[str, object]:
    kept = {name: value for name, value in vars(a).items() if name not in _NOT_FRAMES}
    if not a.camera_info:  # as in exports that began before there was this option
        del kept["camera_info"]
    return kept | {"bags": [str(bag.resolve()) for bag in a.bags]}


def _progress(frames: Iterator[RecordedFrame], recording: Recording) -> Iterator[RecordedFrame]:
    return counted(frames, "images", recording.path.name, recording.images)


def _counts(a: argparse.Namespace, frames: ExportedFrames, how: str, before: int) -> list[str]:
    went_on = f", {before} of them before" if before else ""
    recordings = "1 recording" if len(a.bags) == 1 else f"{len(a.bags)} recordings"
    lines = [f"{len(frames)} frames of {recordings}{went_on}, in {a.out}", how]
    objects = frames.objects[frames.labelled]
    lines.append(f"{len(objects)} frames have labels, {objects.sum()} objects in all")
    return lines


def _faults(report: Report) -> list[str]:
    lines = []
    for counts, text in ((report.skipped, "passed over"), (report.noted, "with a note")):
        for why, count in counts.most_common():
            sentence = report.problems.get(why)
            lines.append(f"{count} {text}: {why}{f' ({sentence})' if sentence else ''}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
