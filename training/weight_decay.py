"""Which parameters decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from torch import Tensor

Decayed = Literal["matrices", "all_but_biases", "all"]


def decay_groups(named: Iterable[tuple[str, Tensor]], decayed: Decayed, weight_decay: float) -> list[dict[str, Any]]:
    """An optimizer's groups of the parameters that are learnt: those that decay, and the others.

    Args:
        named: parameters with their names.
        decayed: `matrices` spares norms' scales and all biases, `all_but_biases` what has bias in its name.
        weight_decay: of those that decay.
    """
    spared = {
        "matrices": lambda _, parameter: parameter.ndim <= 1,
        "all_but_biases": lambda name, _: "bias" in name,
        "all": lambda *_: False,
    }[decayed]
    groups: dict[bool, list[Tensor]] = {False: [], True: []}
    for name, parameter in named:
        if parameter.requires_grad:
            groups[spared(name, parameter)].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]
