"""Make a rosbag2 from images: `add-ros bag convert SOURCE BAG`, without a ROS installation.

SOURCE is a folder of KITTI's (object, tracking or raw) or any folder of images with a calibration (KITTI's calib.txt or
camera_info YAML); --world makes a drive through the synthetic world instead. The bag holds image_rect, camera_info and,
where there are labels, ground_truth (vision_msgs/Detection3DArray) with ground_truth_2d (Detection2DArray), all in the
camera's own optical frame; /tf_static, by which base_link has z up; and where KITTI has a velodyne its points, which tf
moves into the image.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from add_ros.bags import types
from add_ros.bags.camera_writer import CAMERA_HEIGHT, CameraBagWriter
from add_ros.bags.errors import BagError
from add_ros.bags.sources import FrameSource, open_source, world_frames
from add_ros.bags.writing import STORAGES
from training.arguments import at_least, command_parser, positive
from training.data.camera_info import RECTIFICATIONS
from training.model_arguments import ground_below
from training.progress_bar import counted
from training.reported_errors import print_notes, reported


def write_bag(source: FrameSource, writer: CameraBagWriter) -> None:
    """Write all frames of a source, with progress."""
    for frame in counted(source.frames, "frames", "convert", source.count):
        writer.write(frame.sample, frame.stamp, frame.tracks, frame.velodyne, frame.scan, frame.pose)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "bag convert",
        "Make a rosbag2 from images. SOURCE is a folder of KITTI's (object, tracking or raw) or any folder of images "
        "with a calibration (KITTI's calib.txt or camera_info YAML). Labels, velodyne points and transforms go into "
        "the bag where SOURCE has them.",
        "DIR bag --rate 10",
        usage="%(prog)s [options] SOURCE BAG\n       %(prog)s [options] --world FRAMES BAG",
    )
    options.add_argument("paths", nargs="+", type=Path, metavar="SOURCE BAG", help="what to read, the bag to create")
    source = options.add_argument_group("what is read")
    source.add_argument("--ids", metavar="FILE", help="frame ids of the KITTI object folder, one per line")
    source.add_argument("--calib", type=Path, metavar="FILE", help="calibration of images that have none beside them")
    source.add_argument("--rectification", choices=RECTIFICATIONS, help="of images with camera_info YAML (auto)")
    source.add_argument(
        "--trust-calibration",
        action="store_true",
        default=None,
        help="give no warning about intrinsics that look wrong",
    )
    source.add_argument("--limit", type=at_least(1), metavar="FRAMES", help="take the first frames only")
    world = options.add_argument_group("synthetic world")
    world.add_argument("--world", type=at_least(1), metavar="FRAMES", help="drive through it for this many frames")
    world.add_argument("--street", type=at_least(0), help="which street (default 0)")
    world.add_argument("--seed", type=at_least(0), help="seed of the world (default 0)")
    bag = options.add_argument_group("bag")
    bag.add_argument("--rate", type=positive, metavar="HZ", help="frames per second (default: as recorded, else 10)")
    bag.add_argument("--storage", choices=sorted(STORAGES), default="mcap", help="default mcap")
    bag.add_argument("--compress", action="store_true", help="compress the bag with zstd, without loss")
    bag.add_argument("--compressed-images", action="store_true", help="write JPEG on image_rect/compressed")
    bag.add_argument("--camera", default="/camera", metavar="NAME", help="namespace of the topics (default /camera)")
    bag.add_argument("--frame-id", default="camera_optical_frame", metavar="NAME", help="default camera_optical_frame")
    bag.add_argument(
        "--camera-height", type=float, default=CAMERA_HEIGHT, metavar="M", help=f"metres ({CAMERA_HEIGHT})"
    )
    return options


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    command = parser()
    arguments = command.parse_intermixed_args(argv)
    if len(arguments.paths) != (1 if arguments.world else 2):
        command.error("give SOURCE and BAG, or --world FRAMES and BAG")
    idle = ("ids", "calib", "rectification", "limit", "trust_calibration") if arguments.world else ("street", "seed")
    if given := [f"--{name.replace('_', '-')}" for name in idle if getattr(arguments, name) is not None]:
        command.error(f"{' and '.join(given)} would do nothing {'with' if arguments.world else 'without'} --world")
    if arguments.ids and (arguments.calib or arguments.rectification):
        command.error("--ids is for KITTI's object layout, which has its own calibrations: leave the other option out")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """The command; returns 0, 1 where source or bag is unusable, 130 when interrupted. A bag that failed is removed."""
    stopped = "interrupted; the unfinished bag was removed"
    return reported(partial(_convert, _arguments(argv)), BagError, types.UnknownTypeError, stopped=stopped)


def _convert(a: argparse.Namespace) -> None:
    ground_below(a.camera_height)  # raises where it can't be
    if a.world:
        source = world_frames(a.world, a.street or 0, a.seed or 0, a.rate or 10.0)
    else:
        trusted, rectification = bool(a.trust_calibration), a.rectification or "auto"
        source = open_source(a.paths[0], a.calib, a.ids, a.rate, a.limit, trusted, rectification)
    given = a.storage, a.compress, a.compressed_images, source.ground_truth, a.camera, a.frame_id, a.camera_height
    with CameraBagWriter(a.paths[-1], *given) as writer:
        write_bag(source, writer)
    print_notes(source.notes)
    print(f"{a.paths[-1]}: {source.description}")
    for topic, count in sorted(writer.counts.items()):
        print(f"  {topic}: {count} messages")
    if writer.flat:
        listed = ", ".join(f"{count} {name}" for name, count in writer.flat.most_common())
        print(f"  labels without a 3D box are in ground_truth_2d only: {listed}")


if __name__ == "__main__":
    sys.exit(main())
