"""Values of networks and of the evaluator stay as they were made; those that hold arrays are compared by identity."""

import dataclasses
import importlib

import pytest
from support.paths import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("add_model", "training/evaluation")
    for path in (ROOT / folder).rglob("*.py")
    if "@dataclass" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_dataclasses_are_frozen_and_arrays_are_not_compared(name):
    for kind in vars(importlib.import_module(name)).values():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == name:
            assert kind.__setattr__ is not object.__setattr__, f"{kind} is not frozen"
            arrays = [field.name for field in dataclasses.fields(kind) if "ndarray" in str(field.type)]
            # With == field by field, two of them could neither be compared nor be in a set.
            assert not arrays or kind.__eq__ is object.__eq__, f"{kind} compares {arrays}"
