"""Detectors by name, and their weights as safetensors files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import nn

from add_model.detectors.caddn.anchors import Grid
from add_model.detectors.caddn.detector import CaDDN
from add_model.detectors.caddn.frustum import DeepLabFrustum, PlainFrustum
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.detectors.monodle.detector import MonoDLE
from add_model.errors import ModelError
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.networks.bev import BirdsEyeNetwork
from add_model.networks.dla import DLA34
from add_model.networks.dla_up import DLAUp
from add_model.networks.efficientnet_lite import EfficientNetLite0
from add_model.networks.plain import PlainNet
from add_model.networks.pyramid import FeaturePyramid
from add_model.networks.resnet import ResNet50

MULTIPLE = 32  # every backbone's coarsest stride: sides of the network's input are multiples of it


def monodle_lite0() -> MonoDLE:
    """MonoDLE on EfficientNet-lite0: for CPUs and small GPUs."""
    backbone = EfficientNetLite0()
    return MonoDLE(backbone, FeaturePyramid(backbone.channels, 64), hidden=128)


def monodle_plain() -> MonoDLE:
    """MonoDLE on a plain network of 1.1 M parameters at half of lite0's resolution: for studies on a CPU."""
    backbone = PlainNet()
    return MonoDLE(backbone, FeaturePyramid(backbone.channels, 48), hidden=48, focal=REFERENCE_FOCAL / 2)


def monodle_dla34() -> MonoDLE:
    """MonoDLE in its published size: DLA-34 and DLAUp, on KITTI images of about 1280x384."""
    backbone = DLA34()
    return MonoDLE(backbone, DLAUp(backbone.channels), hidden=256, focal=2 * REFERENCE_FOCAL)


def monodetr_plain() -> MonoDETR:
    """MonoDETR on the plain network, four maps from stride 4 on: for studies on a CPU."""
    return MonoDETR(
        PlainNet(),
        first=0,
        channels=64,
        heads=4,
        encoder_layers=1,
        decoder_layers=2,
        hidden=128,
        bins=40,
        queries=30,
        groups=5,
        focal=REFERENCE_FOCAL / 2,
    )


def monodetr_resnet50() -> MonoDETR:
    """MonoDETR in its published size, on KITTI images of about 1280x384."""
    return MonoDETR(ResNet50(), first=1)


def caddn_plain() -> CaDDN:
    """CaDDN on the plain network, with voxels of 80 cm: for studies on a CPU."""
    grid = Grid(low=(2.0, -22.4, -3.0), high=(46.8, 22.4, 1.0), sides=(0.8, 0.8, 0.8))
    network = BirdsEyeNetwork(32, layers=(2, 3, 3), strides=(1, 2, 2), widths=(32, 48, 64), joined=(32, 32, 32))
    return CaDDN(PlainFrustum(40), network, grid, bins=40, collapsed=32, focal=REFERENCE_FOCAL / 2)


def caddn_resnet101() -> CaDDN:
    """CaDDN in its published size, on KITTI images of about 1280x384."""
    network = BirdsEyeNetwork(64, layers=(10, 10, 10), strides=(2, 2, 2), widths=(64, 128, 256), joined=(128, 128, 128))
    return CaDDN(DeepLabFrustum(80), network, Grid(), bins=80)


MODELS: Mapping[str, Callable[[], nn.Module]] = {
    "monodle_plain": monodle_plain,
    "monodle_lite0": monodle_lite0,
    "monodle_dla34": monodle_dla34,
    "caddn_plain": caddn_plain,
    "caddn_resnet101": caddn_resnet101,
    "monodetr_plain": monodetr_plain,
    "monodetr_resnet50": monodetr_resnet50,
}


def build(name: str) -> nn.Module:
    """A detector with fresh weights. Raises ModelError for an unknown name."""
    if name not in MODELS:
        raise ModelError(f"model {name!r} is unknown; choose one of: {', '.join(MODELS)}")
    return MODELS[name]()


def save(path: Path, name: str, detector: nn.Module) -> None:
    """Write a detector's weights, and its name, so that `load` can build it."""
    tensors = {key: value.contiguous() for key, value in detector.state_dict().items()}
    # Not by save_file, whose files nobody but their owner may read.
    path.write_bytes(serialised(tensors, metadata={"model": name}))


def load(path: Path) -> nn.Module:
    """The detector that `save` wrote. Raises ModelError where the file is not one, or its weights don't fit."""
    try:
        with safe_open(path, framework="pt") as file:
            name = (file.metadata() or {}).get("model")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error
    if name is None:
        raise ModelError(
            f"{path} does not say which model its weights are for; export it with: python -m training.export"
        )
    detector = build(name)
    try:
        detector.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the weights of {name}: {error}") from error
    return detector
