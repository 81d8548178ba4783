"""How ADD distils GUPNet: which features and which responses are compared."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from add_model.detectors.centre_distillation import CentreAdapter, CentreTargets, answer_losses, soft_answers
from add_model.detectors.gupnet.detector import GUPNet, filled
from add_model.detectors.gupnet.features import MapFeatures

_TRUST = 1.0  # metres at the reference focal length: a teacher that is wrong by this counts exp(-1)

GUPNetTargets = CentreTargets[MapFeatures]


class GUPNetAdapter(CentreAdapter[GUPNet, MapFeatures, GUPNetTargets]):
    """Responses are compared at the labelled objects' own cells, each in the region that its network sees there."""

    def neck_map(self, features: MapFeatures) -> Tensor:
        return features.neck_map

    def features_of(self, neck_map: Tensor, P: Tensor) -> MapFeatures:
        return MapFeatures(neck_map, P)

    @torch.no_grad()
    def teacher_targets(
        self,
        teacher: GUPNet,
        teacher_features: MapFeatures,
        student: GUPNet,
        student_features: MapFeatures,
        targets: Mapping[str, Tensor],
        P: Tensor,
    ) -> GUPNetTargets:
        targets = filled(targets)
        answers = soft_answers(teacher.regress_precisely(teacher_features, targets))
        trust = torch.exp(-(answers["depth"] - targets["depth"]).abs() / _TRUST)
        return CentreTargets(teacher, teacher_features, targets, P, answers, trust)

    def regression_losses(
        self, detector: GUPNet, features: MapFeatures, teacher_targets: GUPNetTargets
    ) -> dict[str, Tensor]:
        targets = teacher_targets.targets
        outputs = detector.regress_precisely(features, targets)
        return answer_losses(outputs, teacher_targets.answers, targets["mask"] * teacher_targets.trust)
