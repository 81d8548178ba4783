"""add-ros recipes: the configurations that come with this package, and how they go together.

A training is a recipe, perhaps with overlays: fit --config RECIPE --config OVERLAY. Its run folder is named after them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from training.arguments import command_parser
from training.errors import TrainingError
from training.reported_errors import exit_status

GROUPS = {
    "recipes": "one model on one data set",
    "overlays": "given by another --config after a recipe",
    "study": "for the distillation study (benchmarks/distillation.py)",
}
# Files of older versions: what there is instead, in options and in files of config/train.
COMPOSITIONS = {
    "monodle_kitti": "recipes/monodle_kitti",
    "monodle_teacher_kitti": "recipes/monodle_kitti overlays/teacher",
    "monodle_add_kitti": "recipes/monodle_kitti overlays/add",
    "caddn_kitti": "recipes/caddn_kitti",
    "caddn_teacher_kitti": "recipes/caddn_kitti overlays/teacher",
    "caddn_add_kitti": "recipes/caddn_kitti overlays/add_caddn",
    "monodetr_kitti": "recipes/monodetr_kitti",
    "monodetr_teacher_kitti": "recipes/monodetr_kitti overlays/teacher",
    "monodetr_add_kitti": "recipes/monodetr_kitti overlays/add",
    "monodle_lite0_kitti": "recipes/monodle_lite0_kitti",
    "monodle_kitti_mini": "recipes/monodle_lite0_kitti overlays/kitti_mini --trainer.precision bf16-mixed",
    "caddn_plain_world": "recipes/caddn_plain_world",
    "monodetr_plain_world": "recipes/monodetr_plain_world",
    "monodle_lite0_world": "recipes/monodle_lite0_world",
    "monodle_lite0_world_teacher": "recipes/monodle_lite0_world overlays/world_teacher",
    "monodle_lite0_world_add": "recipes/monodle_lite0_world overlays/world_add",
    "monodle_lite0_mini": "recipes/monodle_lite0_mixed",
    "add_world_alone": "recipes/monodle_plain_world study/world",
    "add_world_teacher": "recipes/monodle_plain_world study/world overlays/teacher --data.depth dense",
    "add_world_add": "recipes/monodle_plain_world study/world overlays/add --data.depth dense",
    "add_world_caddn_alone": "recipes/caddn_plain_world study/world",
    "add_world_caddn_teacher": "recipes/caddn_plain_world study/world overlays/teacher --data.depth dense",
    "add_world_caddn_add": "recipes/caddn_plain_world study/world overlays/add_caddn --data.depth dense",
    "add_mini_alone": "recipes/monodle_plain_world study/mini",
}
# Those that only the study had: rows of benchmarks/distillation.py.
ROWS = {
    "monodle_lite0_mini_teacher": "fold 0: teacher",
    "monodle_lite0_mini_add": "fold 0: student + ADD, 20 epochs",
    "add_world_monodetr_alone": "MonoDETR: student",
    "add_world_monodetr_teacher": "MonoDETR: teacher",
    "add_world_monodetr_add": "MonoDETR: student + ADD",
    "add_mini_teacher": "kitti_mini: teacher, object",
    "add_mini_add": "kitti_mini: student + ADD, object",
}


def parser() -> argparse.ArgumentParser:
    """There are no options."""
    return command_parser(
        "recipes",
        "List the configurations that come with this package. A training is a recipe, perhaps with overlays: add-ros "
        "fit --config RECIPE --config OVERLAY. Its run folder is named after them.",
        "",
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return exit_status(_run, arguments)


def _run(arguments: list[str]) -> int:
    parser().parse_args(arguments)
    folder = recipe_folder()
    for group, what in GROUPS.items():
        print(f"{_shown(folder / group)}/: {what}")
        for path in sorted((folder / group).glob("*.yaml")):
            print(f"  {path.name:<28} {summary(path)}")
    return 0


def recipe_folder() -> Path:
    """config/train of the checkout, or of the installed package. Raises TrainingError where there is neither."""
    here = Path(__file__).resolve()
    installed = [parent / "share" / "add_ros" / "config" / "train" for parent in here.parents]
    for folder in (here.parents[1] / "config" / "train", *installed):
        if folder.is_dir():
            return folder
    raise TrainingError(f"there is no config/train beside {here.parent}, and no share/add_ros/config/train above it")


def summary(path: Path) -> str:
    """What a configuration is, which its first line says."""
    with open(path, encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def run_name(files: Sequence[Path | str]) -> str:
    """The name of a run with these configurations, RECIPE+OVERLAY."""
    return "+".join(Path(str(file)).stem for file in files)


def words(composition: str) -> list[str]:
    """The arguments of a composition, as `COMPOSITIONS` has it, with its files where they are on this machine."""
    arguments, folder = [], recipe_folder()
    for word in composition.split():
        group = word.partition("/")[0]
        arguments += ["--config", _shown(folder / f"{word}.yaml")] if group in GROUPS else [word]
    return arguments


def replacement(path: Path) -> str | None:
    """What there is instead of a configuration of an older version, in a sentence; None for other files."""
    if path.stem in ROWS:
        return f'{path} is now a row of the study: python benchmarks/distillation.py run "{ROWS[path.stem]}"'
    if path.stem not in COMPOSITIONS:
        return None
    arguments = words(COMPOSITIONS[path.stem])
    if path.parent.name in GROUPS:  # today's place, but not from here
        return f"{path} does not exist; that recipe is {arguments[1]}"
    sentence = f"{path} is now: {' '.join(arguments)}"
    if run_name([word for word in arguments if word.endswith(".yaml")]) != path.stem:
        sentence += f" (and --run-dir runs/{path.stem} to go on with its run)"
    return sentence


def _shown(path: Path) -> str:
    """As short as it can be typed from here."""
    return min(str(path), os.path.relpath(path), key=len)
