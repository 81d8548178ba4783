"""What a command says on stderr and ends with: notes, and what goes wrong as one message instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext

from add_model.atomic_io import FULL
from add_model.errors import ModelError, OutputError
from add_model.signals import raise_on_signals
from training.data.images import ImageError
from training.errors import DataSetError, TrainingError


def reported(work: Callable[[], int | None], *kinds: type[Exception], stopped: str | None = None) -> int:
    """Do the work of a command that reads and writes files.

    Args:
        work: gives the exit status, None for 0.
        kinds: errors that a user can mend beside ModelError, TrainingError, ValueError and OSError.
        stopped: for work that removes what is unfinished when it is stopped, what to say then; None leaves signals
            as they are.

    Returns:
        The exit status: that of the work, 1 after an error that a user can mend, with its message on stderr, and 130 or
        143 where the work was stopped.
    """
    try:
        with nullcontext() if stopped is None else raise_on_signals():
            return work() or 0
    except (ModelError, TrainingError, ValueError, OSError, *kinds) as error:
        return failed(error)
    except KeyboardInterrupt as stop:
        if stopped is None:
            raise
        print(stopped, file=sys.stderr)
        return getattr(stop, "status", 130)


def failed(reason: object) -> int:
    """Print an error, and return the exit status 1."""
    print(f"error: {reason}", file=sys.stderr)
    return 1


def print_notes(notes: Iterable[str | None]) -> None:
    """Print what is unusual on stderr, a line for each that is not None, equal ones once."""
    for note in dict.fromkeys(filter(None, notes)):
        print(f"note: {note}", file=sys.stderr, flush=True)


def exit_status(command: Callable[[list[str]], int], arguments: list[str] | None) -> int:
    """Run a command that trains; 1 and a message on stderr where a user can mend what went wrong.

    Args:
        command: Gives the exit status.
        arguments: The command line, None for that of the process.
    """
    try:
        return command(sys.argv[1:] if arguments is None else arguments)
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
    return failed(message)


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
