"""python -m training fit|validate|test|seeds|recipes: train and score detectors with Lightning."""

from __future__ import annotations

import sys

from training.reported_errors import exit_status


def main(arguments: list[str] | None = None) -> int:
    """The command line; see --help of each subcommand. Returns the exit status."""
    return exit_status(_run, sys.argv[1:] if arguments is None else arguments)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["seeds"]:
        from training.seeds import main as seeds

        return seeds(arguments[1:])
    if arguments[:1] == ["recipes"]:
        from training.recipes import main as recipes

        return recipes(arguments[1:])
    from training.command import TrainingCommand

    TrainingCommand(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
