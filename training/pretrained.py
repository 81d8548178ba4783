"""The weights that a training begins with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import Detector
from add_model.registry import build
from add_model.weights_file import load
from training.checkpoints import load_checkpoint, trained_detector
from training.errors import TrainingError

_BACKBONE, _TRANSFER = "backbone:", "transfer:"


def initial_detector(model: str, init_weights: str | None, classes: ClassSpec = KITTI_CLASSES) -> Detector:
    """A detector with the weights that `init_weights` names.

    Args:
        model: a name of `add_model.registry`.
        init_weights: a .safetensors file; a run's .ckpt, of which only the detector is taken; for the backbone
            'imagenet', a published .pth file (for CaDDN also one of DeepLabV3), or 'backbone:' before the .ckpt of a
            run, or the .safetensors file, of any detector with the same one; 'transfer:' before such a file of the same
            model with other classes, of which all is taken that does not depend on the classes; None for random ones.
        classes: what it finds.

    Raises:
        TrainingError, ModelError: where the weights are missing, or do not fit the model.
    """
    if init_weights is None:
        return build(model, classes)
    if init_weights == "imagenet":
        return _imagenet(model, classes)
    if init_weights.startswith(_BACKBONE):
        return _backbone_of_run(model, init_weights.removeprefix(_BACKBONE), classes)
    if init_weights.startswith(_TRANSFER):
        return _transferred(model, init_weights.removeprefix(_TRANSFER), classes)
    kinds = {".safetensors": _weights, ".ckpt": _checkpoint, ".pth": _backbone}
    if Path(init_weights).suffix not in kinds:
        files = f"a {' file, a '.join(kinds)} file, {_BACKBONE} or {_TRANSFER} and a .ckpt or .safetensors file"
        raise TrainingError(f"model.init_weights {init_weights!r} is not one of: imagenet, {files}, null")
    return kinds[Path(init_weights).suffix](model, init_weights, classes)


def _weights(model: str, path: str, classes: ClassSpec) -> Detector:
    detector = load(Path(path))
    if detector.state_dict().keys() != build(model, classes).state_dict().keys():
        raise TrainingError(f"model.init_weights {path} does not hold the weights of model.name {model}")
    return _of_classes(model, detector, path, classes)


def _checkpoint(model: str, path: str, classes: ClassSpec) -> Detector:
    checkpoint = load_checkpoint(path)
    if checkpoint["model_name"] != model:
        raise TrainingError(f"model.init_weights {path} holds a {checkpoint['model_name']}, model.name is {model}")
    return _of_classes(model, trained_detector(checkpoint, path), path, classes)


def _of_classes(model: str, detector: Detector, path: str, classes: ClassSpec) -> Detector:
    if not detector.classes.same_coding(classes):
        raise TrainingError(
            f"model.init_weights {path} finds {', '.join(detector.classes.names)}, model.classes are"
            f" {', '.join(classes.names)} (or differ in their mean sizes): begin with what does not depend on"
            f" them, {_TRANSFER}{path}"
        )
    # Anew, since targets depend on all that is known of the classes.
    adapted = build(model, classes)
    adapted.load_state_dict(detector.state_dict())
    return adapted


def _trained(path: str) -> tuple[str, Detector]:
    """What a file holds, for messages, and the detector."""
    if Path(path).suffix == ".safetensors":
        return "a network", load(Path(path))
    checkpoint = load_checkpoint(path)
    return f"a {checkpoint['model_name']}", trained_detector(checkpoint, path)


def _backbone_of_run(model: str, path: str, classes: ClassSpec) -> Detector:
    detector = build(model, classes)
    held, trained = _trained(path)
    try:
        detector.backbone.load_state_dict(trained.backbone.state_dict())
    except RuntimeError as error:
        raise TrainingError(
            f"model.init_weights: {path} holds {held}, whose backbone is not that of {model}"
        ) from error
    return detector


def _transferred(model: str, path: str, classes: ClassSpec) -> Detector:
    detector = build(model, classes)
    held, trained = _trained(path)
    weights, own = trained.state_dict(), detector.state_dict()
    if weights.keys() != own.keys():
        raise TrainingError(f"model.init_weights: {path} holds {held}, not the weights of model.name {model}")
    # What depends on the classes has another shape with another number of them.
    fewer = build(model, ClassSpec(classes.classes[:1]) if len(classes) > 1 else KITTI_CLASSES).state_dict()
    for name, value in own.items():
        if value.shape == fewer[name].shape and value.shape == weights[name].shape:
            value.copy_(weights[name])
    return detector


def _imagenet(model: str, classes: ClassSpec) -> Detector:
    detector = build(model, classes)
    if not hasattr(detector.backbone, "load_imagenet"):
        raise TrainingError(
            f"no ImageNet weights of {model}'s backbone come with a package: {_published(detector.published_part)}"
        )
    detector.backbone.load_imagenet()
    return detector


def _backbone(model: str, path: str, classes: ClassSpec) -> Detector:
    detector = build(model, classes)
    part = detector.published_part
    if not hasattr(part, "load_weights"):
        raise TrainingError(f"model.init_weights {path}: {_published(part)}")
    try:
        part.load_weights(path)
    except ValueError as error:
        raise TrainingError(f"model.init_weights: {str(error).splitlines()[0].rstrip(':')}") from error
    return detector


def _published(backbone: nn.Module) -> str:
    name = getattr(backbone, "PUBLISHED", None)
    if name is None:
        return "nobody has published any for it; give model.init_weights null"
    return f"download {name} and give its path as model.init_weights, or model.init_weights null for random ones"
