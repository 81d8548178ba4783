"""What the parsers of all commands have in common: name, example, help in the terminal's width, types of numbers."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any


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


def add_trust_argument(group: Any) -> None:
    """--trust-calibration: nothing is said about intrinsics that look wrong."""
    group.add_argument(
        "--trust-calibration", action="store_true", help="give no warning about intrinsics that look wrong"
    )


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers of `least` or more."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return int(text)

    return whole


def positive(text: str) -> float:
    """A number above 0: the type of an option. What is larger than 1e9 is no number of seconds, metres or Hz."""
    if not 0 < (value := _float(text)) <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, 1e9 at most")
    return value


def share(text: str) -> float:
    """A number from 0 to 1: the type of an option."""
    if not 0 <= (value := _float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
