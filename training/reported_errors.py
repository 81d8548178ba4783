"""What goes wrong in a training as one message instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from add_model.atomic_io import FULL
from add_model.errors import ModelError, OutputError
from training.data.images import ImageError
from training.errors import DataSetError, TrainingError


def exit_status(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command with these arguments; 1 and a message on stderr where a user can mend what went wrong."""
    try:
        return command(arguments)
    except (TrainingError, ModelError, DataSetError, OutputError, FileNotFoundError) as error:
        message = str(error)
    except (ImageError, RuntimeError) as error:
        broken = _broken_image(error)
        if broken is None:
            raise
        message = f"{broken}; replace the file and go on with --resume"
    except OSError as error:
        if error.errno in FULL:
            message = f"the disk is full ({error}); make room and go on with --resume"
        elif error.filename is not None:
            message = str(error)
        else:
            raise
    print(f"error: {message}", file=sys.stderr)
    return 1


def _broken_image(error: BaseException | None) -> str | None:
    """The message of an image that turned out to be broken past its header, which alone is looked at before."""
    while error is not None and not isinstance(error, ImageError):
        error = error.__cause__ or error.__context__  # Lightning's clean-up may fail in turn
    # A loader's process puts its traceback before the message.
    return error and str(error).strip().splitlines()[-1].removeprefix("training.data.images.ImageError: ")
