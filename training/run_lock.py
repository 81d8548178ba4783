"""One training a run folder: two would mix their checkpoints and metrics."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from add_model.atomic_io import write_error
from training.errors import TrainingError

NAME = ".lock"


def is_first_process() -> bool:
    """Whether this is the first process of a training, which holds the run folder for all, or the only one."""
    # As torchrun, Lightning's own launcher and SLURM say it: Lightning's `rank_zero_only` knows it later.
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((rank for rank in ranks if rank is not None), "0") == "0"


def lock(folder: Path) -> int:
    """Hold a run folder, which is made where there is none, for as long as the descriptor that is returned is open.

    The system lets go of it when the process ends, however that ends; the file stays. Raises TrainingError where
    another process holds it, OutputError where the folder can't be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(path, error, 0) from error
    try:
        # Of the process: loaders that are forked, and may outlive it for seconds, have no part in it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise TrainingError(
            f"{folder} is in use by another training{f' (process {holder})' if holder else ''}: wait for its end, or "
            "name another folder with --run-dir"
        ) from error
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
