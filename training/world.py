"""Write frames of the synthetic world: add-ros world --out DIR --frames N [--seed S] [--clip].

The folder has KITTI's object layout, with exact dense depth beside it: training/image_2, calib, label_2, depth_2
(16-bit PNG, metres x 256, 0 for the sky), with --scanner velodyne, and ImageSets/NAME.txt. training/rendered.txt says
with which settings; the same ones render the same frames anew, others do not replace what is there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from add_model.atomic_io import write_atomically
from training.arguments import at_least, command_parser, positive
from training.data.kitti.calib import write_calib
from training.data.kitti.labels import write_objects
from training.data.sample import Sample
from training.data.world import World
from training.data.world.lidar import VELODYNE_TO_CAMERA, points, scan
from training.progress_bar import counted
from training.reported_errors import reported

_KINDS = ("image_2", "calib", "label_2", "depth_2", "velodyne")
_RENDERED = "rendered.txt"  # one line for each call of the command


def write_frame(folder: Path, name: str, sample: Sample, scanner: bool = False) -> None:
    """Write one sample with depth as frame `name` into image_2, calib, label_2 and depth_2 of an existing folder.

    scanner: whether velodyne is written as well, with what a rotating laser would measure of the scene.
    Raises OSError where a file cannot be written.
    """
    depth = np.round(np.minimum(sample.depth, 65535 / 256) * 256).astype(np.uint16)
    for kind, picture in (("image_2", cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)), ("depth_2", depth)):
        path = folder / kind / f"{name}.png"
        write_atomically(path, cv2.imencode(".png", picture)[1].tobytes())
    if scanner:
        measured = scan(sample.depth, sample.camera, np.random.default_rng(int(name)))
        write_atomically(folder / "velodyne" / f"{name}.bin", points(measured, sample.camera).tobytes())
    velodyne = VELODYNE_TO_CAMERA if scanner else None
    write_calib(folder / "calib" / f"{name}.txt", sample.camera.P, velodyne)
    write_objects(folder / "label_2" / f"{name}.txt", sample.objects)


def write_folder(root: Path, samples: Iterable[Sample], first: int, split: str, scanner: bool = False) -> list[str]:
    """Write samples as frames `first`, `first` + 1, ... into root/training and ImageSets; returns their ids."""
    for kind in _KINDS if scanner else _KINDS[:-1]:
        (root / "training" / kind).mkdir(parents=True, exist_ok=True)
    names = []
    for number, sample in enumerate(samples, first):
        names.append(f"{number:06d}")
        write_frame(root / "training", names[-1], sample, scanner)
    (root / "ImageSets").mkdir(exist_ok=True)
    write_atomically(root / "ImageSets" / f"{split}.txt", "".join(f"{name}\n" for name in names))
    return names


def reserve(root: Path, first: int, count: int, split: str, settings: str) -> None:
    """Note in root/training/rendered.txt that frames `first`, ... and the list of `split` are made with `settings`.

    Raises FileExistsError where files of these names are there that other settings made, or nobody knows who.
    """
    training, listed = root / "training", root / "ImageSets" / f"{split}.txt"
    notes = training / _RENDERED
    if notes.is_file() and settings in notes.read_text(encoding="utf-8").splitlines():
        return
    ids = {f"{number:06d}" for number in range(first, first + count)}
    folders = [training / kind for kind in _KINDS if (training / kind).is_dir()]
    if taken := sorted(file for folder in folders for file in folder.iterdir() if file.stem in ids):
        raise FileExistsError(
            f"{taken[0]} exists already, made with other settings, and would be replaced ({len(taken)} such files): "
            "give another --out, or a --first beyond those frames, or remove them"
        )
    if listed.exists():
        raise FileExistsError(
            f"{listed} exists already, made with other settings: give another --split or --out, or remove it"
        )
    training.mkdir(parents=True, exist_ok=True)
    with notes.open("a", encoding="utf-8") as file:
        file.write(f"{settings}\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
    defaults = World()
    options = command_parser(
        "world",
        "Render frames of the synthetic world into a folder in KITTI's object layout, with exact dense depth. The same "
        "settings render the same frames.",
        "--out data/world --frames 200",
    )
    frames = options.add_argument_group("frames")
    frames.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write, in KITTI's layout")
    frames.add_argument("--frames", required=True, type=at_least(1), metavar="N", help="how many frames")
    frames.add_argument("--split", default="train", metavar="NAME", help="list them in ImageSets/NAME.txt (train)")
    frames.add_argument("--scanner", action="store_true", help="write velodyne too: what a laser scanner would measure")
    streets = options.add_argument_group("streets")
    streets.add_argument("--seed", type=at_least(0), default=0, help="another seed is another world (default 0)")
    streets.add_argument(
        "--first", type=at_least(0), default=0, metavar="N", help="number of the first street (default 0)"
    )
    streets.add_argument("--clip", action="store_true", help="one drive along the first street, not one frame of each")
    streets.add_argument("--rate", type=positive, metavar="HZ", help="frames a second of --clip (10)")
    camera = options.add_argument_group("camera")
    camera.add_argument("--width", type=at_least(1), default=defaults.width, help=f"pixels (default {defaults.width})")
    camera.add_argument(
        "--height", type=at_least(1), default=defaults.height, help=f"pixels (default {defaults.height})"
    )
    camera.add_argument("--focal", type=positive, metavar="PX", help="focal length (default: KITTI's field of view)")
    low, high = defaults.camera_height
    camera.add_argument(
        "--camera-height",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help=f"metres above the ground, drawn for each street (default {low:g} {high:g})",
    )
    return options


def settings_line(options: argparse.Namespace) -> str:
    """What `reserve` compares: all that the frames depend on.

    A camera height that isn't given is left out, as in folders that were rendered before there was that option.
    """
    given = {name: value for name, value in vars(options).items() if name != "out"}
    if given["camera_height"] is None:
        del given["camera_height"]
    return " ".join(f"{name}={value}" for name, value in given.items())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    defaults, command = World(), parser()
    options = command.parse_args(arguments)
    if options.rate is not None and not options.clip:
        command.error("--rate would do nothing without --clip")
    if not re.fullmatch(r"[\w.-]+", options.split):
        command.error(f"--split {options.split!r} is no name: give letters, digits, '_', '-' and '.', such as val")
    if options.clip and options.rate is None:
        options.rate = 10.0
    if options.focal is None:
        options.focal = defaults.focal * options.width / defaults.width
    try:
        world = World(
            width=options.width,
            height=options.height,
            focal=options.focal,
            camera_height=tuple(options.camera_height or defaults.camera_height),
            seed=options.seed,
        )
    except ValueError as error:
        command.error(str(error))
    if options.clip:
        samples = world.clip(options.first, options.frames, options.rate)
    else:
        samples = map(world.sample, range(options.first, options.first + options.frames))
    return reported(partial(_render, options, samples))


def _render(options: argparse.Namespace, samples: Iterable[Sample]) -> None:
    settings = settings_line(options)
    try:
        reserve(options.out, options.first, options.frames, options.split, settings)
        progress = counted(samples, "frames", "render", options.frames)
        names = write_folder(options.out, progress, options.first, options.split, options.scanner)
    except OSError as error:
        if error.strerror:
            raise OSError(f"cannot write to --out {options.out}: {error.strerror}") from error
        raise
    print(f"{len(names)} frames, {names[0]} to {names[-1]}, in {options.out}; listed in ImageSets/{options.split}.txt")


if __name__ == "__main__":
    sys.exit(main())
