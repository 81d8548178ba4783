"""add-ros fit, validate and test: train and score detectors with Lightning.

`python -m training` is the same, and has seeds, recipes and memory too.
"""

from __future__ import annotations

import importlib
import sys

from training.fit_options import ALL, parser
from training.reported_errors import exit_status

SUBCOMMANDS = ("fit", "validate", "test")
_OTHERS = ("seeds", "recipes", "memory")
_USAGE = """usage: python -m training {fit,validate,test,seeds,recipes,memory} [options]

Train and score. Each has --help; add-ros --help lists all commands."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; see --help of each subcommand. Returns the exit status."""
    return exit_status(_run, arguments)


def _run(arguments: list[str]) -> int:
    given = [word for word in arguments[:1] if word not in ("-h", "--help")]
    if not given:
        print(_USAGE)
        return 0 if arguments else 2
    if given[0] in _OTHERS:
        return importlib.import_module(f"training.{given[0]}").main(arguments[1:])
    if given[0] in SUBCOMMANDS and {"-h", "--help"} & set(arguments):
        parser(given[0]).print_help()
        return 0
    from training.command import TrainingCommand

    TrainingCommand(["--help" if word == ALL else word for word in arguments])
    return 0


if __name__ == "__main__":
    sys.exit(main())
