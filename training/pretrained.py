"""The weights that a training begins with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from add_model.registry import build, load
from training.atomic_io import TrainingError
from training.checkpoints import load_checkpoint, trained_detector

_BACKBONE = "backbone:"


def initial(model: str, start: str | None) -> nn.Module:
    """A detector with the weights that `start` names.

    start: a .safetensors file; a run's .ckpt, of which only the detector is taken; for the backbone 'imagenet', a .pth
    file, or 'backbone:' before the .ckpt of a run of any detector with the same one; None for random ones. Raises
    TrainingError or ModelError where that is missing, or does not fit the model.
    """
    if start is None:
        return build(model)
    if start == "imagenet":
        return _imagenet(model)
    if start.startswith(_BACKBONE):
        return _backbone_of_run(model, start.removeprefix(_BACKBONE))
    kinds = {".safetensors": _weights, ".ckpt": _checkpoint, ".pth": _backbone}
    if Path(start).suffix not in kinds:
        files = f"a {' file, a '.join(kinds)} file, {_BACKBONE} and a .ckpt file"
        raise TrainingError(f"model.start {start!r} is none of: imagenet, {files}, null")
    return kinds[Path(start).suffix](model, start)


def _weights(model: str, start: str) -> nn.Module:
    detector = load(Path(start))
    if detector.state_dict().keys() != build(model).state_dict().keys():
        raise TrainingError(f"model.start {start} does not hold the weights of model.model {model}")
    return detector


def _checkpoint(model: str, start: str) -> nn.Module:
    checkpoint = load_checkpoint(start)
    if checkpoint["model_name"] != model:
        raise TrainingError(f"model.start {start} holds a {checkpoint['model_name']}, model.model is {model}")
    return trained_detector(checkpoint, start)


def _backbone_of_run(model: str, path: str) -> nn.Module:
    checkpoint, detector = load_checkpoint(path), build(model)
    weights = trained_detector(checkpoint, path).backbone.state_dict()
    try:
        detector.backbone.load_state_dict(weights)
    except RuntimeError as error:
        name = checkpoint["model_name"]
        raise TrainingError(f"model.start: {path} holds a {name}, whose backbone is not that of {model}") from error
    return detector


def _imagenet(model: str) -> nn.Module:
    detector = build(model)
    if not hasattr(detector.backbone, "load_imagenet"):
        raise TrainingError(
            f"no ImageNet weights of {model}'s backbone come with a package: {_published(detector.backbone)}"
        )
    detector.backbone.load_imagenet()
    return detector


def _backbone(model: str, start: str) -> nn.Module:
    detector = build(model)
    if not hasattr(detector.backbone, "load_weights"):
        raise TrainingError(f"model.start {start}: {_published(detector.backbone)}")
    try:
        detector.backbone.load_weights(start)
    except ValueError as error:
        raise TrainingError(f"model.start: {str(error).splitlines()[0].rstrip(':')}") from error
    return detector


def _published(backbone: nn.Module) -> str:
    name = getattr(backbone, "PUBLISHED", None)
    if name is None:
        return "nobody has published any for it; give model.start null"
    return f"download {name} and give its path as model.start, or model.start null for random ones"
