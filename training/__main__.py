"""python -m training fit|validate|test|seeds --config FILE: train and score detectors with Lightning."""

from __future__ import annotations

import errno
import sys

from add_model.errors import ModelError
from training.atomic_io import TrainingError
from training.data.images import ImageError
from training.data.kitti.dataset import KittiError


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
    except (ImageError, RuntimeError) as error:
        broken = _broken_image(error)
        if broken is None:
            raise
        print(f"error: {broken}; replace the file and go on with --resume", file=sys.stderr)
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


def _broken_image(error: BaseException | None) -> str | None:
    """What an image that is broken between its header and its end, which are looked at before, has led to."""
    while error is not None and not isinstance(error, ImageError):
        error = error.__cause__ or error.__context__  # Lightning's clean-up may fail in turn
    # A loader's process puts its traceback before the message.
    return error and str(error).strip().splitlines()[-1].removeprefix("training.data.images.ImageError: ")


if __name__ == "__main__":
    sys.exit(main())
