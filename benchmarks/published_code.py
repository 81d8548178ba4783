"""How the originals' code is imported: single modules, without what their packages import and compile."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path

import torch

Row = tuple[str, str, float, float, float]  # what, on what, original, ours as published, ours otherwise


class Compiled(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules in the place of compiled ones, which nothing that runs here calls."""

    def __init__(self, *prefixes: str) -> None:
        self.prefixes = prefixes

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if not any(name == p or name.startswith(f"{p}.") for p in self.prefixes):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda _: None
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def original(root: Path, name: str, *packages: str) -> types.ModuleType:
    """A module of a checkout, without what its packages import of their own."""
    for package in packages:
        module = types.ModuleType(package)
        module.__path__ = [str(root.joinpath(*package.split(".")))]
        sys.modules[package] = module
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(root))


def declare_torchvision() -> torch.library.Library:
    """Its compiled operators by name, without which it does not import; valid while the result lives."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
        for name in (operator, f"_{operator}_backward"):
            library.define(f"{name}(Tensor x) -> Tensor")
    return library
