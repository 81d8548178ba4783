"""Covariances of detections' poses (6x6), always positive definite, as trackers need them.

The network predicts the standard deviation of depth. Its factor and the other variances were measured on 82 KITTI
frames that the networks had not seen, those of headings on streets of the synthetic world; `python
benchmarks/covariance.py` reports how many true centres lie inside the ellipsoids.
"""

from __future__ import annotations

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.geometry.level import LEVEL_UP

# An error of the centre in the image, in pixels at the reference focal length, and one that scales with the box, whose
# edges are what the network finds: shares of its length and height.
_LATERAL_PIXELS, _LATERAL_SHARE = 1.0, 0.1
_VERTICAL_PIXELS, _VERTICAL_SHARE = 0.5, 0.05
_DEPTH_FACTOR = 0.9  # on the network's own deviation of the depth
_LEAST_DEPTH_SHARE = 0.01  # no camera knows depth better than to a hundredth
_UNKNOWN_DEPTH_SHARE = 0.15  # for detections that don't say how sure their depth is
# Standard deviations of the heading, radians, of objects nearer than `_NEAR` metres and beyond: front and back are hard
# to tell apart in people and in part in cyclists. pi / sqrt(3) is that of a heading of which nothing is known.
_NEAR = 15.0
UNKNOWN_HEADING = np.pi / np.sqrt(3)
_HEADING = {"car": (0.2, 0.1), "cyclist": (1.0, 1.0)}
_TILT = 0.03  # radians: boxes stand upright in the camera's frame, roads and cameras are tilted by a degree or two


def position_covariances(detections: Detections) -> np.ndarray:
    """(N, 3, 3) m^2 in the camera's optical frame: the depth's variance along the viewing ray, and across it what an
    error in the image makes of the distance.
    """
    centres, lengths, heights = detections.boxes[:, :3], detections.boxes[:, 3], detections.boxes[:, 5]
    depth = np.maximum(np.abs(centres[:, 2]), 0.1)
    along = _published_depth_std(detections, depth)[:, None] * centres / depth[:, None]
    covariances = along[:, :, None] * along[:, None, :]
    pixel = depth / REFERENCE_FOCAL
    covariances[:, 0, 0] += (_LATERAL_PIXELS * pixel) ** 2 + (_LATERAL_SHARE * lengths) ** 2
    covariances[:, 1, 1] += (_VERTICAL_PIXELS * pixel) ** 2 + (_VERTICAL_SHARE * heights) ** 2
    return covariances


def depth_std(variances: np.ndarray) -> np.ndarray:
    """(N,) metres: what `Detections.depth_std` was, given the variances of z (N,) that `position_covariances` made."""
    return np.sqrt(variances) / _DEPTH_FACTOR


def heading_std(detections: Detections) -> np.ndarray:
    """(N,) radians: standard deviation of the heading, by class and distance."""
    near = detections.boxes[:, 2] < _NEAR
    known = [_HEADING.get(str(name).lower(), (UNKNOWN_HEADING,) * 2) for name in detections.names]
    pairs: np.ndarray = np.array(known).reshape(-1, 2)
    return np.where(near, pairs[:, 0], pairs[:, 1])


def pose_covariances(detections: Detections) -> np.ndarray:
    """(N, 6, 6) in the camera's optical frame, of x, y, z in metres and of rotations about these axes in radians."""
    rotations = rotation_covariances(heading_std(detections), detections.up)
    return joined_covariances(position_covariances(detections), rotations)


def joined_covariances(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(N, 6, 6) of positions (N, 3, 3) and of rotations (N, 3, 3) that are independent of them."""
    full = np.zeros((len(positions), 6, 6))
    full[:, :3, :3], full[:, 3:, 3:] = positions, rotations
    return full


def rotation_covariances(heading_std: np.ndarray, up: np.ndarray | None) -> np.ndarray:
    """(N, 3, 3) radians^2 about the axes of the frame of boxes that stand along `up` (3,), None for -y: the heading's
    about that, a tilt's across it.
    """
    axis = LEVEL_UP if up is None else up
    return _TILT**2 * np.eye(3) + (heading_std**2 - _TILT**2)[:, None, None] * np.outer(axis, axis)


def _published_depth_std(detections: Detections, depth: np.ndarray) -> np.ndarray:
    known = np.isfinite(detections.depth_std) & (detections.depth_std > 0)
    said = np.maximum(_DEPTH_FACTOR * detections.depth_std, _LEAST_DEPTH_SHARE * depth)
    return np.where(known, said, _UNKNOWN_DEPTH_SHARE * depth)
