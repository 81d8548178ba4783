"""One training a run folder: two would mix their checkpoints and metrics."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from add_model.atomic_io import write_error
from training.errors import TrainingError

NAME = ".lock"


def lock(folder: Path) -> TextIO:
    """Hold a run folder, which is made where there is none, for as long as the file that is returned is open.

    The system lets go of it when the process ends, however that ends; the file stays. Raises TrainingError where
    another process holds it, OutputError where the folder can't be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise write_error(path, error, 0) from error
    try:
        # Of the process: loaders that are forked, and may outlive it for seconds, have no part in it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(20).strip()
        file.close()
        raise TrainingError(
            f"{folder} is in use by another training{f' (process {holder})' if holder else ''}: wait for its end, or "
            "name another folder with --run-dir"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
