"""Loggers that can't end a training: what one of them raises is reported once, and the training continues."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from lightning.pytorch.loggers import Logger

_METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")


def guard(logger: Logger) -> Logger:
    """The logger, whose failures from now on are one line on stderr, the first of each kind."""
    told: set[str] = set()
    for name in _METHODS:
        if method := getattr(logger, name, None):
            setattr(logger, name, _guarded(method, type(logger).__name__, told))
    return logger


@contextmanager
def threads_told() -> Iterator[None]:
    """A thread that fails within it, such as TensorBoard's writer on a full disk, is one line, not a traceback."""
    before, told = threading.excepthook, set[str]()

    def tell_of(failed: Any) -> None:
        if isinstance(failed.exc_value, Exception):
            tell(f"the thread {failed.thread.name if failed.thread else '?'}", failed.exc_value, told)

    threading.excepthook = tell_of
    try:
        yield
    finally:
        threading.excepthook = before


def tell(what: str, error: Exception, told: set[str]) -> None:
    """Say once for each kind of error that something beside the training failed."""
    kind = type(error).__name__
    if kind not in told:
        told.add(kind)
        line = " ".join(str(error).split())[:300]
        print(f"{what} failed, and the training goes on: {kind}: {line}", file=sys.stderr, flush=True)


def _guarded(method: Callable[..., Any], name: str, told: set[str]) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except Exception as error:  # of whatever a logger does: full disks, lost connections
            tell(f"logger {name}", error, told)
            return None

    return call
