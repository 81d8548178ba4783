"""What a rotating laser scanner would measure of a rendered scene: KITTI's has 64 beams from 2 to -24.8 degrees."""

from __future__ import annotations

import numpy as np

from add_model.geometry.camera import BODY_TO_OPTICAL, Camera

VELODYNE_TO_CAMERA = np.c_[BODY_TO_OPTICAL, np.zeros(3)]  # both have one origin here
BEAMS = np.radians(np.linspace(2.0, -24.8, 64))
REACH = 80.0  # metres
_LOST = 0.1  # share of the returns that dark and shiny surfaces swallow


def scan(depth: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Dense depth (H, W), 0 unknown -> the same with the pixels alone that a beam hits, 0 elsewhere.

    The scanner is thought to be in the camera's own place, level with it.
    """
    rows, columns = depth.shape
    side = (np.arange(columns) - camera.P[0, 2]) / camera.fu
    down = -np.tan(BEAMS)[:, None] * np.hypot(1, side)
    row = np.rint(camera.P[1, 2] + camera.fv * down).astype(int)
    column = np.broadcast_to(np.arange(columns), row.shape)
    inside = (row >= 0) & (row < rows) & (rng.random(row.shape) >= _LOST)
    hit = np.zeros(depth.shape, bool)
    hit[row[inside], column[inside]] = True
    return np.where(hit & (depth <= REACH), depth, 0).astype(np.float32)


def points(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """The known pixels of a depth map -> (N, 4) float32 as a velodyne file has them: x, y, z in metres, reflectance 0.

    In the velodyne frame that `VELODYNE_TO_CAMERA` takes into the frame of camera.P.
    """
    v, u = np.nonzero(depth)
    seen = camera.lift(np.stack([u, v, depth[v, u]], axis=1))
    measured = seen @ VELODYNE_TO_CAMERA[:, :3]
    return np.hstack([measured, np.zeros((len(measured), 1))]).astype(np.float32)
