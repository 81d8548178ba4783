"""Lens distortion by the models that ROS's camera_info names, and the maps that undo it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.plausibility import doubt

_FISHEYE = ("equidistant", "fisheye")
_LEAST_UNDONE = 1 / 3  # of the image's radius; real lenses reach 0.8, and fold beyond their calibration at most
_RADII, _DIRECTIONS = 96, 16  # points at which a lens is looked at
# Numbers of coefficients that each model can have. Zeros behind them change nothing: drivers fill up arrays.
_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), **dict.fromkeys(_FISHEYE, (4,))}


class UnknownLensError(ValueError):
    """A distortion model that this project does not know."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The `camera` of the image that `rectify` returns; `source` says in words where it came from.

    maps:  those of `undistortion_maps`, None where there is nothing to undo
    doubt: why the camera is unlikely, None where it is not
    """

    camera: Camera
    maps: tuple[np.ndarray, np.ndarray] | None
    source: str

    @cached_property
    def doubt(self) -> str | None:
        return doubt(self.camera)

    def rectify(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) as this camera, which has no distortion, sees it."""
        return image if self.maps is None else cv2.remap(image, *self.maps, cv2.INTER_LINEAR)


def distorts(model: str, coefficients: np.ndarray) -> bool:
    """Whether images of this lens differ from a pinhole's: a fisheye's do even where all its coefficients are zero."""
    return model in _FISHEYE or bool(np.any(coefficients))


def undistortion_maps(model: str, coefficients: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Maps for cv2.remap that turn what the lens took into what `camera`, of the same K and size, would see.

    Raises UnknownLensError for another model, and ValueError for coefficients that are not finite, not as many as the
    model has, or those of no lens that could have taken such an image.
    """
    if model not in _COEFFICIENTS:
        raise UnknownLensError(f"distortion model '{model}' is not one of {', '.join(_COEFFICIENTS)}")
    coefficients = _fitting(coefficients, _COEFFICIENTS[model])
    if len(coefficients) not in _COEFFICIENTS[model] or not np.isfinite(coefficients).all():
        counts = " or ".join(map(str, _COEFFICIENTS[model]))
        raise ValueError(
            f"distortion model {model} needs {counts} finite coefficients in D, got {coefficients.tolist()}"
        )
    K, size = np.ascontiguousarray(camera.P[:, :3]), (camera.width, camera.height)
    undone = _share_undone(model, coefficients, camera)
    if undone < _LEAST_UNDONE:
        raise ValueError(
            f"no lens is like D {coefficients.tolist()} of {model}: by it the image folds over or lies outside of what "
            f"the lens took from {undone:.0%} of the image's radius on; calibrate again, or is K of another resolution?"
        )
    compute = cv2.fisheye.initUndistortRectifyMap if model in _FISHEYE else cv2.initUndistortRectifyMap
    return tuple(compute(K, coefficients, np.eye(3), K, size, cv2.CV_16SC2))


def _share_undone(model: str, coefficients: np.ndarray, camera: Camera) -> float:
    """How far from the optical axis, as share of the farthest corner's distance, all directions can be undistorted:
    until what the lens took comes no farther outwards, or lies farther out than the image.

    A region of interest is judged by its own farthest corner: a lens may fold beyond it.
    """
    (cu, cv), (width, height) = camera.P[:2, 2], (camera.width, camera.height)
    corner = np.hypot(max(cu, width - cu) / camera.fu, max(cv, height - cv) / camera.fv)
    radii = np.linspace(0, corner, _RADII + 1)[1:]
    angles = np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)
    points = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    flat = points.reshape(-1, 1, 2)
    if model in _FISHEYE:
        taken = cv2.fisheye.distortPoints(flat, np.eye(3), coefficients)
    else:
        taken = cv2.projectPoints(cv2.convertPointsToHomogeneous(flat), *np.zeros((2, 3)), np.eye(3), coefficients)[0]
    with np.errstate(invalid="ignore", over="ignore"):
        reached = np.linalg.norm(taken.reshape(points.shape), axis=-1)
        fine = (np.diff(reached, axis=0, prepend=0) > 0) & (reached <= corner)  # False for what is not finite
    return float(np.logical_and.accumulate(fine.all(axis=1)).mean())


def _fitting(coefficients: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """The coefficients with as many zeros at their end as make their number one of these, if that is all it takes."""
    if len(coefficients) in counts or len(coefficients) < 4:
        return coefficients
    used = len(np.trim_zeros(coefficients, "b"))
    count = next((count for count in counts if used <= count), len(coefficients))
    return np.pad(coefficients, (0, max(0, count - len(coefficients))))[:count]
