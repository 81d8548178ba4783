"""python -m training fit|validate|test|seeds --config FILE: train and score detectors with Lightning."""

from __future__ import annotations

import errno
import sys

from add_model.backends import ModelError
from training.data.kitti import KittiError
from training.files import TrainingError


def main(arguments: list[str] | None = None) -> int:
    """The command line; see --help of each subcommand. Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["seeds"]:
            from training.seeds import main as seeds

            return seeds(arguments[1:])
        from training.command import TrainingCommand

        TrainingCommand(arguments)
    except (TrainingError, ModelError, KittiError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"error: the disk is full ({error}); make room and go on with --resume", file=sys.stderr)
        elif error.filename is not None:
            print(f"error: {error}", file=sys.stderr)
        else:
            raise
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
