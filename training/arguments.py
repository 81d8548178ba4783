"""What the parsers of all commands have in common: their name, one example, and help in the width of the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from add_model.backends.select import ENGINES
from add_model.geometry.level import LEVEL_UP
from add_model.ground import DEFAULT_SLOPE_STD, MAX_HEIGHT, Ground


def command_parser(name: str, description: str, example: str, **options: Any) -> argparse.ArgumentParser:
    """The parser of `add-ros NAME`, without arguments yet.

    Args:
        name: The command's words, such as 'bag convert'.
        description: What it does; line breaks are not kept.
        example: What follows `add-ros NAME` in the example that ends --help.
        options: Further ones of `argparse.ArgumentParser`.
    """
    prog = f"add-ros {name}"
    epilog = f"example: {prog} {example}"
    options = {"formatter_class": partial(argparse.HelpFormatter, max_help_position=32), **options}
    return argparse.ArgumentParser(prog=prog, description=" ".join(description.split()), epilog=epilog, **options)


def action_of(name: str, actions: Sequence[str], arguments: list[str] | None) -> tuple[str, list[str]]:
    """The action that a command line begins with, and what follows. Exits with 2 where it begins with none.

    Args:
        name: The command's first word, such as 'labels'.
        actions: What there is.
        arguments: The command line, None for that of the process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in actions:
        print(f"add-ros {name}: error: {' or '.join(actions)} comes first, see --help of each", file=sys.stderr)
        raise SystemExit(2)
    return words[0], words[1:]


def add_engine_arguments(group: Any) -> None:
    """--device, --engine and --no-flip-test: where a model runs, what runs it, and how often."""
    group.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    group.add_argument("--engine", choices=ENGINES, default="auto", help="what runs it (default: %(default)s)")
    add_flip_test_argument(group)


def add_flip_test_argument(group: Any) -> None:
    """--no-flip-test: the network sees each image once."""
    group.add_argument(
        "--no-flip-test",
        dest="flip_test",
        action="store_false",
        help="see images once, not mirrored too: faster, worse",
    )


def add_ground_arguments(group: Any) -> None:
    """--camera-height and --ground-slope-std: the ground under a level camera."""
    group.add_argument(
        "--camera-height",
        type=float,
        metavar="M",
        help="metres of a level camera above flat ground",
    )
    group.add_argument(
        "--ground-slope-std",
        type=float,
        metavar="DEG",
        help="how flat it is: 1 on roads (default), 0.2 in halls",
    )


def ground(options: argparse.Namespace) -> Ground | None:
    """The ground that these options name; raises ValueError where it can't be."""
    height, slope_std = options.camera_height, options.ground_slope_std
    if height is None:
        if slope_std is not None:
            raise ValueError("--ground-slope-std is about the ground under the camera: give --camera-height too")
        return None
    if height > MAX_HEIGHT:
        raise ValueError(f"--camera-height {height:g} is above {MAX_HEIGHT:g}: it is in metres")
    return Ground(LEVEL_UP, height, DEFAULT_SLOPE_STD if slope_std is None else slope_std)
