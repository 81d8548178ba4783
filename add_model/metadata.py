"""What an exported file says of its network, beside the graph or the weights: strings by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Protocol

from add_model.classes import KITTI_CLASSES, ClassSpec, stored_classes
from add_model.errors import ModelError
from add_model.nms import NmsSettings

LFS_POINTER = b"version https://git-lfs"  # how a file begins that Git LFS did not replace
_LEAST_FOCAL, _MOST_FOCAL = 10.0, 100_000.0  # pixels
_MOST_MULTIPLE = 1024


class NetworkSettings(NamedTuple):
    """What prediction needs to know of a network, see `add_model.detectors.base.Detector`."""

    classes: ClassSpec
    focal: float
    size_multiple: int
    nms: NmsSettings | None


class HasSettings(Protocol):
    """What `write_metadata` reads: a detector."""

    classes: ClassSpec
    focal: float
    size_multiple: int
    nms: NmsSettings | None


def write_metadata(network: HasSettings) -> dict[str, str]:
    """The inverse of `read_metadata`."""
    return {
        "classes": ",".join(network.classes.names),
        "class_spec": network.classes.to_json(),
        "focal": repr(float(network.focal)),
        "multiple": str(network.size_multiple),
        "nms": json.dumps(None if network.nms is None else asdict(network.nms)),
    }


def read_metadata(metadata: Mapping[str, str]) -> NetworkSettings:
    """What `write_metadata` wrote, or a version before it that knew no class_spec and no nms.

    Raises KeyError, ValueError, TypeError or ModelError for what this project did not write.
    """
    if "class_spec" in metadata:
        classes = ClassSpec.from_json(metadata["class_spec"])
    else:
        classes = _known(tuple(metadata["classes"].split(",")))
    if "nms" in metadata:
        values = json.loads(metadata["nms"])
        suppression = None if values is None else NmsSettings(**values)
    else:
        suppression = NmsSettings(float(metadata.get("footprint_overlap", 1.0)))
    return _checked(NetworkSettings(classes, float(metadata["focal"]), int(metadata["multiple"]), suppression))


def _checked(settings: NetworkSettings) -> NetworkSettings:
    """Raises ModelError for values of the right type with which no image can be prepared."""
    if not _LEAST_FOCAL <= settings.focal <= _MOST_FOCAL:
        raise ModelError(
            f"its focal length of {settings.focal:g} pixels is not {_LEAST_FOCAL:g} to {_MOST_FOCAL:g}: export it again"
        )
    if not 1 <= settings.size_multiple <= _MOST_MULTIPLE:
        raise ModelError(
            f"its sides are to be multiples of {settings.size_multiple}, not of 1 to {_MOST_MULTIPLE}: export it again"
        )
    if settings.nms is not None and not 0 <= settings.nms.bev_iou <= 1:
        raise ModelError(f"its nms has bev_iou {settings.nms.bev_iou}, not 0 to 1: export it again")
    return settings


def _known(names: tuple[str, ...]) -> ClassSpec:
    known = {kind.name: kind for kind in KITTI_CLASSES}
    missing = [name for name in names if name not in known]
    if missing:
        raise ModelError(f"classes {', '.join(missing)} come without their sizes: export the model again")
    return ClassSpec(tuple(known[name] for name in names))


def read_classes(path: str | Path) -> ClassSpec:
    """The classes that a file names; needs no torch.

    Args:
        path: JSON as `ClassSpec.to_json` writes it, or an exported model: .onnx or .safetensors.

    Raises:
        ModelError: where the file can't be read or names no classes.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no file {path} to read classes from")
    refuse_lfs_pointer(path)
    try:
        if path.suffix == ".onnx":
            return read_metadata(_onnx_metadata(path)).classes
        if path.suffix == ".safetensors":
            metadata = _safetensors_metadata(path)
            return stored_classes(metadata) if "model" in metadata else ClassSpec.from_json(metadata["class_spec"])
        return ClassSpec.from_json(path.read_text(encoding="utf-8"))
    except KeyError as error:
        raise ModelError(f"{path} names no classes: give a model that add-ros export wrote, or a JSON file") from error
    except ImportError as error:
        raise ModelError(f"cannot read classes from {path}: {error.name} is not installed") from error
    except (ModelError, ValueError, TypeError, OSError) as error:
        raise ModelError(f"cannot read classes from {path}: {error}") from error


def refuse_lfs_pointer(path: Path) -> None:
    """Raise ModelError where a file only says which one Git LFS would put in its place."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ModelError(
                f"model {path} is a Git LFS pointer, not the model: run 'git lfs pull' where it comes from"
            )


def _onnx_metadata(path: Path) -> Mapping[str, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # nothing is run
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        raise ModelError(f"it can't be loaded as an ONNX model: {error}") from error
    return session.get_modelmeta().custom_metadata_map


def _safetensors_metadata(path: Path) -> Mapping[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ModelError(f"it is not a safetensors file: {error}") from error
