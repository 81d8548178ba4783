"""Heads that losses and distillation both read, computed once a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def computed_once(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, a module that is called again with the very tensor it saw last answers what it answered then.

    Values and gradients are those of two computations, since the output's gradient is the sum of both uses'.
    """
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(_remembering(module))
        yield


@contextmanager
def _remembering(module: nn.Module) -> Iterator[None]:
    compute = module.forward
    last: list[tuple[Tensor, Any]] = []

    def forward(given: Tensor) -> Any:
        if not last or last[0][0] is not given:
            last[:] = [(given, compute(given))]
        return last[0][1]

    module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.forward  # the class's own again
