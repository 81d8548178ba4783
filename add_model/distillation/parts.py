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

    Every method takes `branch`, `look` and `losses`; what `look` gives is the detector's own affair, which its `detect`
    reads. The losses that a teacher may do without are ESTIMATES. Distillation takes, of a student and its teacher:

    - `channels`, `tokens`, `summary`, `token_points`: what self-attention adapts, and where it is in space;
    - `lesson`: all that the teacher passes on of a batch, from which come
    - `seen_tokens` and `objects`: which tokens see an object, and the objects that target-aware attention asks for;
    - `responses`, `adapted_responses` and `scores`: losses by name or alone, summed over objects that count 1 each.

    Raises TypeError for a detector that can't be taught yet.
    """
    modules = ((MonoDLE, monodle_teaching), (CaDDN, caddn_teaching), (MonoDETR, monodetr_teaching))
    for kind, module in modules:
        if isinstance(detector, kind):
            return module
    raise TypeError(f"{type(detector).__name__} has no teaching module: write one like {monodle_teaching.__name__}")
