"""What a detector gives so that it can be taught: the small interface between the framework and each detector."""

from __future__ import annotations

from types import ModuleType

from torch import nn

from add_model.detectors import caddn_teaching, monodetr_teaching, monodle_teaching
from add_model.detectors.caddn import CaDDN
from add_model.detectors.monodetr import MonoDETR
from add_model.detectors.monodle import MonoDLE


def parts_of(detector: nn.Module) -> ModuleType:
    """The module that says how this detector is taught; `monodle_teaching` is the one to read.

    All have `branch`, `look`, `losses` and `detect`, which is what training alone and training a teacher take; what
    distillation takes beside these has MonoDLE's alone so far. What `look` gives is the detector's own affair.

    Raises TypeError for a detector that can't be taught yet.
    """
    modules = ((MonoDLE, monodle_teaching), (CaDDN, caddn_teaching), (MonoDETR, monodetr_teaching))
    for kind, module in modules:
        if isinstance(detector, kind):
            return module
    raise TypeError(f"{type(detector).__name__} has no teaching module: write one like {monodle_teaching.__name__}")
