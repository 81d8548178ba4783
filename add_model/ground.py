"""Depth from the ground: what stands on a known plane cannot be anywhere along its viewing ray.

A network judges depth by how large things look. Where the camera's height above a flat ground is known, the bottom of
each box must lie on that ground: half its height above it, the ray through its centre says how far it is. That is a
Kalman update of the centre, whose measurement is "the bottom's height above the plane is 0". By the standard deviations
the ground counts for much where rays to centres are steep, near the camera and from high up, and for little at the
horizon; what clearly does not stand on it is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.geometry.level import LEVEL_UP
from add_model.pose_covariance import depth_std, position_covariances

DEFAULT_SLOPE_STD = 0.7  # degrees: that of roads as KITTI's cars drive them, over all frames
MAX_HEIGHT = 100.0  # metres, of what is taken for a camera's height
_GATE = 3.0  # standard deviations; what stands farther from the plane stands on something else
_HEIGHT_STD = 0.05  # metres: of the bottom, by errors of the box's height and the vehicle's load


@dataclass(frozen=True, eq=False)
class Ground:
    """The plane on which things stand, in a camera's own optical frame.

    Args:
        up: (3,) unit vector, the plane's normal away from the ground; (0, -1, 0) under a level camera.
        height: Metres of the camera above the plane, above 0.
        slope_std: Degrees: how far the direction from the camera to where something stands is from what the plane
            says, as one standard deviation. It stands for slopes, bumps, and the camera's pitch as it drives.
        covariance_scale: Factor on the standard deviations of the detections' positions, where the network knows a
            camera or a place less well than it says.

    Raises:
        ValueError: Where one of them can't be.
    """

    up: np.ndarray
    height: float
    slope_std: float = DEFAULT_SLOPE_STD
    covariance_scale: float = 1.0

    def __post_init__(self) -> None:
        up = np.asarray(self.up, float)
        if up.shape != (3,) or not np.isfinite(up).all() or abs(np.linalg.norm(up) - 1) > 1e-3:
            raise ValueError(f"the ground's up must be a unit vector, got {self.up}")
        if not (np.isfinite(self.height) and self.height > 0):
            raise ValueError(f"the camera must be above the ground, got a height of {self.height:g} m")
        if not (np.isfinite(self.slope_std) and self.slope_std >= 0):
            raise ValueError(f"the standard deviation of the ground's slope must be 0 or more, got {self.slope_std:g}")
        object.__setattr__(self, "up", up)


def stood_on(found: Detections, ground: Ground, camera: Camera) -> Detections:
    """Detections in a camera's image with their centres, and `depth_std`, after the ground has been taken into account.

    Sizes, headings, 2D boxes, scores and the order are as they were.
    """
    boxes = found.boxes.copy()
    boxes[:, :3] += camera.translation
    centres = boxes[:, :3]
    stands = LEVEL_UP if found.up is None else found.up
    above = centres @ ground.up + ground.height - found.boxes[:, 5] / 2 * (stands @ ground.up)
    scale = ground.covariance_scale**2
    covariances = scale * position_covariances(replace(found, boxes=boxes))
    shared = covariances @ ground.up
    slope = np.radians(ground.slope_std) * np.linalg.norm(centres, axis=1)
    variance = shared @ ground.up + slope**2 + _HEIGHT_STD**2
    gain = shared / variance[:, None]
    moved = centres - gain * above[:, None]
    used = (above**2 < _GATE**2 * variance) & (moved[:, 2] > 0)
    boxes, std = found.boxes.copy(), found.depth_std.copy()
    boxes[used, :3] = moved[used] - camera.translation
    std[used] = depth_std((covariances[:, 2, 2] - gain[:, 2] ** 2 * variance) / scale)[used]
    return replace(found, boxes=boxes, depth_std=std)
