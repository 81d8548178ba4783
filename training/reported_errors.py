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
    except ValueError as error:
        missing = _cause(error, ModuleNotFoundError)
        if missing is None:
            raise
        message = f"what the configuration names needs a package that is not installed: {missing}"
    except OSError as error:
        if error.errno in FULL:
            message = f"the disk is full ({error}); make room and go on with --resume"
        elif error.filename is not None:
            message = str(error)
        else:
            raise
    print(f"error: {message}", file=sys.stderr)
    return 1


def _broken_image(error: BaseException) -> str | None:
    """The message of an image that turned out to be broken past its header, which alone is looked at before."""
    broken = _cause(error, ImageError)
    # A loader's process puts its traceback before the message.
    return broken and str(broken).strip().splitlines()[-1].removeprefix("training.data.images.ImageError: ")


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error itself, or what it came from, where that is of a kind."""
    while error is not None and not isinstance(error, kind):
        # Lightning's clean-up may fail in turn.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error
