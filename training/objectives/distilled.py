"""A student beside a frozen teacher: what each objective that distils has, whatever the student learns."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from add_model.detectors.base import Detector
from add_model.distillation.attention import SelfAttentionAdapter
from add_model.distillation.computed_once import computed_once
from add_model.distillation.position_encoding import FRUSTUM_POINTS, Encoding, PositionalEncoding
from add_model.networks.fold_norms import folded
from training.errors import require_not_negative, require_share
from training.objectives.base import Adapter, LossContext
from training.objectives.baseline import BaselineObjective, features_and_losses


class DistilledObjective(BaselineObjective):
    """The detector's own losses, and those of a subclass, by which it learns from a frozen teacher.

    Args:
        config: With `active`, the losses that have a weight, and `background_weight`; with `encoding`, `layers` and
            `adapter_drop_prob` of the self-attention adapter.
        adapter: How distillation reaches into the student.
        teacher: A trained detector.
        depth_branch: Its.
    """

    def __init__(self, config: Any, adapter: Adapter, teacher: Detector, depth_branch: nn.Module) -> None:
        super().__init__()
        require_share("model.objective.adapter_drop_prob", config.adapter_drop_prob)
        require_not_negative("model.objective.background_weight", config.background_weight)
        for name, part in config.active.items():
            part.require_usable(f"model.objective.{name}")
        self.config, self.detector_adapter = config, adapter
        self.teacher, self.depth_branch = (
            module.requires_grad_(False).to(memory_format=torch.channels_last) for module in (teacher, depth_branch)
        )
        self.teacher_depth = getattr(depth_branch, "depth_source", None)
        # A tuple is no part of this module's state; it says what it was made of, since weights may be loaded later.
        self._folded: tuple[tuple[Any, ...], tuple[Detector, nn.Module]] | None = None

    def add_adapter(self, channels: int, positioned: bool) -> None:
        """The self-attention adapter; the tokens' positions are encoded where something reads them."""
        self.adapter = SelfAttentionAdapter(channels, self.config.layers)
        points = FRUSTUM_POINTS if self.config.encoding is Encoding.frustum else 1
        encoded = positioned and self.config.encoding is not Encoding.none
        self.position_encoding = PositionalEncoding(channels, points) if encoded else None

    @abstractmethod
    def distilled_losses(self, detector: Detector, features: Any, context: LossContext) -> dict[str, Tensor]:
        """What the student, with these features of the batch, learns from the teacher: the active losses by name."""

    def train(self, mode: bool = True) -> DistilledObjective:
        """Switch to training; the teacher stays in eval mode, since its norms' statistics must not drift."""
        super().train(mode)
        self.teacher.eval()
        self.depth_branch.eval()
        return self

    def losses(self, detector: Detector, context: LossContext) -> dict[str, Tensor]:
        """See `Objective`."""
        with computed_once(self.detector_adapter.shared_heads(detector)):
            features, losses = features_and_losses(detector, context)
            distilled = self.distilled_losses(detector, features, context)
        return losses | {f"add_{name}": value for name, value in distilled.items()}

    def weights(self, progress: float) -> dict[str, float]:
        """See `Objective`."""
        return {f"add_{name}": part.at(progress) for name, part in self.config.active.items()}

    def folded_teacher(self) -> tuple[Detector, nn.Module]:
        """Teacher and depth branch without their batch norms, which took a tenth of a step; made when first needed."""
        modules = (self.teacher, self.depth_branch)
        tensors = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
        made_of = tuple((id(tensor), tensor.device, tensor._version) for tensor in tensors)
        if self._folded is None or self._folded[0] != made_of:
            self._folded = made_of, (folded(self.teacher), folded(self.depth_branch))
        return self._folded[1]

    def adapted_tokens(self, detector: Detector, features: Any, context: LossContext) -> tuple[Tensor, Tensor]:
        """The student's tokens (B, N, C) behind the adapter, and what encodes their positions, of the same shape.

        Those of a random share of the images go past the adapter; positions that are not encoded are zeros.
        """
        adapter, config = self.detector_adapter, self.config
        tokens = adapter.tokens(detector, features)
        positions = torch.zeros_like(tokens)
        if self.position_encoding is not None:
            points = adapter.token_positions(detector, config.encoding, features, context.batch.P, context.depth)
            positions = self.position_encoding(points).expand_as(tokens)

        def attended(values: Tensor) -> Tensor:
            return adapter.attended_tokens(detector, values, features)

        used = torch.rand(len(tokens), device=tokens.device) >= config.adapter_drop_prob
        index = used.nonzero(as_tuple=True)
        return tokens.index_put(index, self.adapter(tokens[index], positions[index], attended)), positions
