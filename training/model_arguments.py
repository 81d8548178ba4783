"""Options of the commands that run a model: what runs it, where, how often, and the ground that it knows of.

Apart from the other options, since these import what handles images.
"""

from __future__ import annotations

import argparse
from typing import Any

from add_model.backends.select import DEVICES, ENGINES, is_device
from add_model.geometry.level import LEVEL_UP
from add_model.ground import DEFAULT_SLOPE_STD, MAX_HEIGHT, Ground
from add_model.predictor import SHIPPED_MODEL


def add_model_argument(group: Any) -> None:
    """--model: a file, or the weights that ship here."""
    group.add_argument(
        "--model", default=SHIPPED_MODEL.stem, metavar="FILE", help=".onnx or .safetensors file (default: %(default)s)"
    )


def add_engine_arguments(group: Any) -> None:
    """--device, --engine and --no-flip-test: where a model runs, what runs it, and how often."""
    group.add_argument("--device", type=_device, default="auto", help=f"{', '.join(DEVICES)} (default: %(default)s)")
    group.add_argument(
        "--engine", choices=ENGINES, default="auto", metavar="NAME", help=f"{', '.join(ENGINES)} (default: %(default)s)"
    )
    group.add_argument(
        "--no-flip-test",
        dest="flip_test",
        action="store_false",
        help="see images once, not mirrored too: faster, worse",
    )


def predictor_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_engine_arguments` took, as `Predictor` has it."""
    return {name: getattr(options, name) for name in ("device", "engine", "flip_test")}


def _device(text: str) -> str:
    if not is_device(text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DEVICES)}")
    return text


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
        help="how flat it is: 0.7 on roads (default), 0.2 in halls",
    )


def ground(options: argparse.Namespace) -> Ground | None:
    """The ground that these options name; raises ValueError where it can't be."""
    height, slope_std = options.camera_height, options.ground_slope_std
    if height is None:
        if slope_std is not None:
            raise ValueError("--ground-slope-std is about the ground under the camera: give --camera-height too")
        return None
    return ground_below(height, DEFAULT_SLOPE_STD if slope_std is None else slope_std)


def ground_below(height: float, slope_std: float = DEFAULT_SLOPE_STD) -> Ground:
    """The ground under a level camera at a --camera-height; raises ValueError where it can't be."""
    if height > MAX_HEIGHT:
        raise ValueError(f"--camera-height {height:g} is above {MAX_HEIGHT:g}: it is in metres")
    return Ground(LEVEL_UP, height, slope_std)
