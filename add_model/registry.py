"""The models of this project by name. The only list of them; a new detector gets its entries here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import Detector
from add_model.detectors.caddn.distillation import CaDDNAdapter
from add_model.detectors.caddn.variants import caddn_plain, caddn_resnet101, caddn_resnet101_dense
from add_model.detectors.gupnet.distillation import GUPNetAdapter
from add_model.detectors.gupnet.variants import gupnet_dla34, gupnet_plain
from add_model.detectors.monodetr.distillation import MonoDETRAdapter
from add_model.detectors.monodetr.variants import monodetr_plain, monodetr_resnet50
from add_model.detectors.monodle.distillation import MonoDLEAdapter
from add_model.detectors.monodle.variants import monodle_dla34, monodle_lite0, monodle_lite0_960, monodle_plain
from add_model.distillation.adapter import DistillationAdapter
from add_model.errors import ModelError


@dataclass(frozen=True)
class Model:
    """How a detector is built, with fresh weights, and how it is distilled."""

    build: Callable[[ClassSpec], Detector[Any]]
    adapter: DistillationAdapter[Any, Any, Any]


MODELS: Mapping[str, Model] = {
    "monodle_plain": Model(monodle_plain, MonoDLEAdapter()),
    "monodle_lite0": Model(monodle_lite0, MonoDLEAdapter()),
    "monodle_lite0_960": Model(monodle_lite0_960, MonoDLEAdapter()),
    "monodle_dla34": Model(monodle_dla34, MonoDLEAdapter()),
    "gupnet_plain": Model(gupnet_plain, GUPNetAdapter()),
    "gupnet_dla34": Model(gupnet_dla34, GUPNetAdapter()),
    "caddn_plain": Model(caddn_plain, CaDDNAdapter()),
    "caddn_resnet101": Model(caddn_resnet101, CaDDNAdapter()),
    "caddn_resnet101_dense": Model(caddn_resnet101_dense, CaDDNAdapter()),
    "monodetr_plain": Model(monodetr_plain, MonoDETRAdapter()),
    "monodetr_resnet50": Model(monodetr_resnet50, MonoDETRAdapter()),
}


def build(name: str, classes: ClassSpec = KITTI_CLASSES) -> Detector[Any]:
    """A detector with fresh weights. Raises ModelError for an unknown name."""
    return _entry(name).build(classes)


def adapter_for(name: str) -> DistillationAdapter[Any, Any, Any]:
    """How ADD reaches into a model. Raises ModelError for an unknown name."""
    return _entry(name).adapter


def _entry(name: str) -> Model:
    if name not in MODELS:
        raise ModelError(f"model {name!r} is unknown; choose one of: {', '.join(MODELS)}")
    return MODELS[name]
