"""How ADD reaches into a detector: the one class to implement so that a new detector can be distilled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor, nn

from add_model.distillation.position_encoding import Encoding
from add_model.distillation.target_objects import TargetObjects

AnyDetector = TypeVar("AnyDetector", bound=nn.Module)  # an add_model.detectors.base.Detector
Features = TypeVar("Features")  # what its extract_features returns


@dataclass(frozen=True)
class TeacherTargets(Generic[Features]):
    """What a frozen teacher gives its student to learn from in one batch; detectors add what they need."""

    teacher: nn.Module
    teacher_features: Features
    targets: Mapping[str, Tensor]


AnyTargets = TypeVar("AnyTargets", bound=TeacherTargets)


class DistillationAdapter(ABC, Generic[AnyDetector, Features, AnyTargets]):
    """Stateless: all that is learnt is in the detectors and in the training objective.

    Shapes: B images, N tokens of C channels, M rows of labelled objects. `monodle/distillation.py` is the one to read
    first.

    depth_estimator_losses: names of losses of the detector's own depth estimator, whose place a teacher's depth takes
    """

    depth_estimator_losses: tuple[str, ...] = ()

    @abstractmethod
    def depth_branch(self, detector: AnyDetector) -> nn.Module:
        """What a teacher has beside its student: a module that brings depth into its features, adding 0 at first."""

    @abstractmethod
    def teacher_features(
        self, detector: AnyDetector, images: Tensor, P: Tensor, depth: Tensor, branch: nn.Module
    ) -> Features:
        """`Detector.extract_features` of a teacher, which also sees depth (B, H, W) in metres, 0 unknown."""

    @abstractmethod
    def token_channels(self, detector: AnyDetector) -> int:
        """C."""

    def shared_heads(self, detector: AnyDetector) -> tuple[nn.Module, ...]:
        """Heads that the detector's own losses and `classification_loss` read at the same features."""
        return ()

    @abstractmethod
    def tokens(self, detector: AnyDetector, features: Features) -> Tensor:
        """The intermediate features that are compared and adapted, (B, N, C)."""

    @abstractmethod
    def attended_tokens(self, detector: AnyDetector, tokens: Tensor, features: Features) -> Tensor:
        """Tokens (B, N, C) -> the keys and values of self-attention (B, N', C), fewer where N is large."""

    @abstractmethod
    def token_positions(
        self, detector: AnyDetector, encoding: Encoding, features: Features, P: Tensor, depth: Tensor | None
    ) -> Tensor | None:
        """Where tokens are in space: (B or 1, N, D, 3) metres in the camera's own frame; None for no encoding."""

    @abstractmethod
    def teacher_targets(
        self,
        teacher: AnyDetector,
        teacher_features: Features,
        student: AnyDetector,
        student_features: Features,
        targets: Mapping[str, Tensor],
        P: Tensor,
    ) -> AnyTargets:
        """What a teacher passes on of a batch; no gradient flows through it."""

    @abstractmethod
    def foreground_tokens(self, teacher_targets: AnyTargets) -> Tensor:
        """Which tokens belong to an object, (B, N) bool."""

    @abstractmethod
    def object_queries(self, teacher_targets: AnyTargets) -> TargetObjects:
        """The labelled objects, one query of target-aware attention each."""

    @abstractmethod
    def regression_losses(
        self, detector: AnyDetector, features: Features, teacher_targets: AnyTargets
    ) -> dict[str, Tensor]:
        """How boxes differ from the teacher's, by name, summed over objects that count 1 each."""

    @abstractmethod
    def adapted_losses(
        self, adapted_tokens: Tensor, features: Features, teacher_targets: AnyTargets
    ) -> dict[str, Tensor]:
        """The same of what the teacher's own frozen heads read from the student's adapted tokens (B, N, C)."""

    @abstractmethod
    def classification_loss(self, detector: AnyDetector, features: Features, teacher_targets: AnyTargets) -> Tensor:
        """How class scores differ from the teacher's, summed likewise."""
