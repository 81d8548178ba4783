"""What a detector gives so that it can be taught: the small interface between the framework and each detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from add_model.detectors.caddn import distillation as caddn_teaching
from add_model.detectors.caddn.detector import CaDDN
from add_model.detectors.monodetr import distillation as monodetr_teaching
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.detectors.monodle import distillation as monodle_teaching
from add_model.detectors.monodle.detector import MonoDLE
from add_model.distillation.position_encoding import Encoding
from add_model.distillation.target_objects import TargetObjects


class Parts(Protocol):
    """The module that says how a detector is taught; `monodle_teaching` is the one to read.

    Every method of training takes `branch`, `look` and `losses`, distillation all. What `look` gives is the detector's
    own affair, which its `detect` reads; so is a lesson, of which the framework takes `taught` alone.
    """

    ESTIMATES: tuple[str, ...]  # losses that a teacher may do without: of a depth estimator whose place its depth takes

    def losses(
        self,
        detector: nn.Module,
        seen: Any,
        targets: Mapping[str, Tensor],
        total: Callable[[Tensor], Tensor] = ...,
        processes: int = 1,
    ) -> dict[str, Tensor]:
        """The detector's own, by name; total, processes: see `monodle_loss`."""

    def branch(self, detector: nn.Module) -> nn.Module:
        """What a teacher has beside its student: the way of depth into its features, which adds nothing at first."""

    def look(
        self, detector: nn.Module, images: Tensor, P: Tensor, depth: Tensor | None, branch: nn.Module | None
    ) -> Any:
        """Images (B, H, W, 3), their P (B, 3, 4) and, for a teacher, depth (B, H, W) -> what all else is read from."""

    def channels(self, detector: nn.Module) -> int:
        """Of the tokens."""

    def tokens(self, detector: nn.Module, seen: Any) -> Tensor:
        """What is compared and what self-attention adapts, (B, N, C)."""

    def summary(self, detector: nn.Module, tokens: Tensor, seen: Any) -> Tensor:
        """Tokens (B, N, C) -> what they attend to, (B, N', C)."""

    def token_points(
        self, detector: nn.Module, encoding: Encoding, seen: Any, P: Tensor, depth: Tensor | None
    ) -> Tensor | None:
        """Where the tokens are in space, (B or 1, N, D, 3) metres; None for no encoding."""

    def lesson(
        self, teacher: nn.Module, taught: Any, detector: nn.Module, seen: Any, targets: Mapping[str, Tensor], P: Tensor
    ) -> Any:
        """All that a teacher that sees `taught` passes on to a student that sees `seen`."""

    def seen_tokens(self, lesson: Any) -> Tensor:
        """Which tokens see an object, (B, N)."""

    def objects(self, lesson: Any) -> TargetObjects:
        """The objects that target-aware attention asks for."""

    def responses(self, detector: nn.Module, seen: Any, lesson: Any) -> dict[str, Tensor]:
        """How a student's boxes differ from its teacher's, by name, summed over objects that count 1 each."""

    def adapted_responses(self, adapted: Tensor, seen: Any, lesson: Any) -> dict[str, Tensor]:
        """The same of what the teacher's own heads read from its student's adapted tokens (B, N, C)."""

    def scores(self, detector: nn.Module, seen: Any, lesson: Any) -> Tensor:
        """How class scores differ from the teacher's, summed likewise."""


def parts_of(detector: nn.Module) -> Parts:
    """How this detector is taught. Raises TypeError for one that can't be taught yet."""
    modules = ((MonoDLE, monodle_teaching), (CaDDN, caddn_teaching), (MonoDETR, monodetr_teaching))
    for kind, module in modules:
        if isinstance(detector, kind):
            return module
    raise TypeError(f"{type(detector).__name__} has no teaching module: write one like {monodle_teaching.__name__}")
