"""Calibration files of others as ROS's camera_info has it: OpenCV's, Kalibr's and EuRoC's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from training.data.bounded_yaml import require_bounds
from training.data.kitti.calib import CalibrationError
from training.data.text_files import read_text

MATRIX = ("camera_matrix", "k")
DISTORTION = ("distortion_coefficients", "distortion_coeffs", "d")
PROJECTION = ("projection_matrix", "p")
# Names of the same models. OpenCV's own one is plumb_bob or rational_polynomial by the number of coefficients.
_MODELS = {
    **dict.fromkeys(("plumb_bob", "radtan", "radial_tangential", "brown_conrady", "opencv", "standard"), "plumb_bob"),
    **dict.fromkeys(("rational_polynomial", "rational"), "rational_polynomial"),
    **dict.fromkeys(
        ("equidistant", "equi", "fisheye", "kannala_brandt", "kannala_brandt4", "kb4", "opencv_fisheye"), "equidistant"
    ),
}
_PINHOLES = ("pinhole", "perspective")
_RATIONAL = 6  # coefficients from which on OpenCV's model is the rational one


class _Loader(yaml.SafeLoader):
    """YAML with OpenCV's matrices, which are mappings with a tag of their own."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag in ("opencv-matrix", "opencv-nd-matrix"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _mapping)


def load(path: Path) -> dict[str, Any]:
    """The first document of a YAML file, its keys in lower case and those of Kalibr and EuRoC as camera_info's.

    Raises CalibrationError where it is no YAML, no mapping, or of a camera that is not a pinhole.
    """
    text = re.sub(r"\A\s*%YAML[: ]1\.\d\s*\n", "", read_text(path))  # OpenCV writes it with a colon
    try:
        require_bounds(text, _Loader)
        document = next((part for part in yaml.load_all(text, _Loader) if part is not None), None)
    except (yaml.YAMLError, ValueError) as error:
        if slam := _slam_values(text, None):  # OpenCV is less strict than YAML
            raise CalibrationError(f"{path}: {_instead_of(slam)}", of_camera=True) from None
        raise CalibrationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if slam := _slam_values(text, document):
        raise CalibrationError(f"{path}: {_instead_of(slam)}", of_camera=True)
    if not isinstance(document, dict):
        raise CalibrationError(f"{path}: not a camera_info file: keys such as image_width, camera_matrix are needed")
    document = _lower(document)
    cameras = {
        key: value for key, value in document.items() if re.fullmatch(r"cam\d+", key) and isinstance(value, dict)
    }
    if len(cameras) > 1:
        raise CalibrationError(
            f"{path}: Kalibr's calibration of {len(cameras)} cameras ({', '.join(cameras)}): keep that of these images",
            of_camera=True,
        )
    for camera in cameras.values():
        document = _lower(camera)
    return _from_intrinsics(path, document) if "intrinsics" in document else document


def model_of(path: Path, document: dict[str, Any], coefficients: int) -> str:
    """The distortion model by ROS's name. Raises CalibrationError where two keys name different ones."""
    named = {key: _word(document.get(key)) for key in ("distortion_model", "camera_model", "model_type")}
    named = {key: name for key, name in named.items() if name and name not in (*_PINHOLES, "none")}
    if document.get("fisheye_model") in (1, True):
        named["fisheye_model"] = "equidistant"
    models = {_MODELS.get(name, str(document[key])) for key, name in named.items()}
    if len(models) > 1:
        told = " but ".join(f"'{key}' says {document[key]}" for key in named)
        raise CalibrationError(f"{path}: {told}: keep the one that holds", of_camera=True)
    model = next(iter(models), "plumb_bob")
    by_ros = named.get("distortion_model") in ("plumb_bob", "rational_polynomial")
    return "rational_polynomial" if model == "plumb_bob" and not by_ros and coefficients >= _RATIONAL else model


def first(document: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first of these keys that has a value."""
    return next((key for key in keys if document.get(key) is not None), None)


def _from_intrinsics(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Kalibr's and EuRoC's keys: intrinsics fu, fv, cu, cv and resolution."""
    kind, values, size = _word(document.get("camera_model")), document["intrinsics"], document.get("resolution")
    if kind and kind not in _PINHOLES and kind not in _MODELS:
        raise CalibrationError(
            f"{path}: camera_model '{document['camera_model']}' is no pinhole, which is needed: rectify the images "
            "and give the calibration of those",
            of_camera=True,
        )
    if not (isinstance(values, list) and len(values) == 4 and isinstance(size, list) and len(size) == 2):
        raise CalibrationError(
            f"{path}: 'intrinsics' (fu, fv, cu, cv) and 'resolution' (width, height) are needed, got {values}, {size}",
            of_camera=True,
        )
    fu, fv, cu, cv = values
    matrix = [fu, 0, cu, 0, fv, cv, 0, 0, 1]
    return document | {"image_width": size[0], "image_height": size[1], "camera_matrix": matrix}


def _slam_values(text: str, document: Any) -> dict[str, str]:
    """The camera of a settings file of ORB-SLAM or its kin, `Camera.fx: 718.856` or the same nested; else nothing."""
    values = dict(re.findall(r"^Camera1?\.(\w+)\s*:\s*[\"']?([^\s\"'#]+)", text, re.MULTILINE))
    nested = document.get("Camera") if isinstance(document, dict) else None
    values |= {str(key): str(value) for key, value in nested.items()} if isinstance(nested, dict) else {}
    return values if "fx" in values else {}


def _instead_of(slam: dict[str, str]) -> str:
    """What to write in the place of such a file."""
    kind = _word(slam.get("type") or slam.get("model"))
    fisheye = kind.startswith("kannala") or _MODELS.get(kind) == "equidistant"
    names = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2", "k3"[: 2 * ("k3" in slam)])
    fx, fy, cx, cy = (slam.get(key, key) for key in ("fx", "fy", "cx", "cy"))
    width, height = slam.get("width") or slam.get("cols", "..."), slam.get("height") or slam.get("rows", "...")
    return (
        "a settings file of ORB-SLAM (Camera.fx, ...), which is not read; give its camera as camera_info YAML, a key a "
        f"line: image_width: {width}; image_height: {height}; camera_matrix: [{fx}, 0, {cx}, 0, {fy}, {cy}, 0, 0, 1]; "
        f"distortion_model: {'equidistant' if fisheye else 'plumb_bob'}; "
        f"distortion_coefficients: [{', '.join(slam.get(name, '0') for name in names if name)}]"
    )


def _lower(mapping: dict[Any, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in mapping.items()}


def _word(name: Any) -> str:
    return re.sub(r"[\s-]+", "_", str(name or "").strip().lower())
