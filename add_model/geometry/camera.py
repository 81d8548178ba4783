"""The one camera geometry: a full 3x4 projection that follows resize, crop and flip exactly.

Pixel coordinates are continuous, with integers at pixel centres: the image covers
[-0.5, width - 0.5) x [-0.5, height - 0.5). The optical frame is x right, y down, z forward, in metres.

The *depth* that projection returns and lifting takes is the projective divisor
`P[2] @ (x, y, z, 1)`, for KITTI's P2 `z + P2[2, 3]`: the distance along the optical axis of this very camera,
even where the points are given in the frame of another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

REFERENCE_FOCAL = 360.0  # pixels: half of KITTI's, so that a KITTI image is seen as about 620x188
# Points of a body's frame (x forward, y left, z up; REP 103) in the optical frame of a camera that looks ahead.
BODY_TO_OPTICAL = np.array([(0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)])


def project(P: Any, x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """Project points to (u, v, depth). Plain arithmetic: numpy arrays and torch tensors alike.

    P is (..., 3, 4) and its leading dimensions broadcast against x, y and z.
    """
    u, v, depth = (P[..., i, 0] * x + P[..., i, 1] * y + P[..., i, 2] * z + P[..., i, 3] for i in range(3))
    return u / depth, v / depth, depth


def lift(P: Any, u: Any, v: Any, depth: Any) -> tuple[Any, Any, Any]:
    """The exact inverse of `project`, in closed form so that it exports to ONNX.

    P is (..., 3, 4) and its leading dimensions broadcast against u, v and depth.
    """
    a, b, c = P[..., 0, 0], P[..., 0, 1], P[..., 0, 2]
    d, e, f = P[..., 1, 0], P[..., 1, 1], P[..., 1, 2]
    g, h, i = P[..., 2, 0], P[..., 2, 1], P[..., 2, 2]
    r, s, t = u * depth - P[..., 0, 3], v * depth - P[..., 1, 3], depth - P[..., 2, 3]
    A, B, C = e * i - f * h, f * g - d * i, d * h - e * g
    determinant = a * A + b * B + c * C
    x = (A * r + (c * h - b * i) * s + (b * f - c * e) * t) / determinant
    y = (B * r + (a * i - c * g) * s + (c * d - a * f) * t) / determinant
    z = (C * r + (b * g - a * h) * s + (a * e - b * d) * t) / determinant
    return x, y, z


def own_projection(P: Any) -> Any:
    """P (..., 3, 4) -> the same cameras' projections (..., 3, 4) from their own optical frames: no fourth column."""
    if isinstance(P, np.ndarray):
        return np.concatenate([P[..., :3], np.zeros_like(P[..., 3:])], axis=-1)
    import torch  # a tensor was given, so it is loaded already

    return torch.cat([P[..., :3], torch.zeros_like(P[..., 3:])], dim=-1)


def reference_focal_scale(P: Any) -> Any:
    """Metres of depth for each metre at the reference focal length: sqrt(fu fv) / f_ref. P is (..., 3, 4)."""
    return (P[..., 0, 0] * P[..., 1, 1]) ** 0.5 / REFERENCE_FOCAL


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera: `P` (3, 4) in pixels, and the size of its image in pixels.

    Raises ValueError where P is not a finite (3, 4) matrix that can be inverted, or the size is not positive.
    """

    P: np.ndarray
    width: int
    height: int

    def __post_init__(self) -> None:
        P = np.array(self.P, dtype=np.float64)
        if P.shape != (3, 4):
            raise ValueError(f"camera projection must be 3x4, got {'x'.join(map(str, P.shape))}")
        if not np.isfinite(P).all():
            raise ValueError("camera projection has values that are not finite")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera image size must be positive, got {self.width}x{self.height}")
        if P[0, 0] <= 0 or P[1, 1] <= 0 or abs(np.linalg.det(P[:, :3])) < 1e-9:
            raise ValueError(f"camera projection is not calibrated: focal lengths {P[0, 0]:g}, {P[1, 1]:g}")
        P.setflags(write=False)
        object.__setattr__(self, "P", P)

    @classmethod
    def pinhole(cls, fu: float, fv: float, cu: float, cv: float, width: int, height: int) -> Camera:
        """A camera without skew whose points are given in its own frame: P = [K | 0]."""
        return cls.of_intrinsics(np.array([[fu, 0, cu], [0, fv, cv], [0, 0, 1]]), width, height)

    @classmethod
    def of_intrinsics(cls, K: np.ndarray, width: int, height: int) -> Camera:
        """The camera of these intrinsics (3, 3), whose points are given in its own frame: P = [K | 0]."""
        return cls(np.hstack([K, np.zeros((3, 1))]), width, height)

    @property
    def fu(self) -> float:
        """Focal length along u in pixels."""
        return float(self.P[0, 0])

    @property
    def fv(self) -> float:
        """Focal length along v in pixels."""
        return float(self.P[1, 1])

    @property
    def translation(self) -> np.ndarray:
        """(3,) metres: a point in this camera's own optical frame is the point in P's frame plus this."""
        return np.linalg.solve(self.P[:, :3], self.P[:, 3])

    def own_frame(self) -> Camera:
        """The same camera with points given in its own optical frame: the fourth column is dropped."""
        return Camera.of_intrinsics(self.P[:, :3], self.width, self.height)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in P's frame -> (..., 3) as (u, v, depth); depth <= 0 is behind the camera."""
        points = np.asarray(points, dtype=np.float64)
        return np.stack(project(self.P, points[..., 0], points[..., 1], points[..., 2]), axis=-1)

    def lift(self, uvd: np.ndarray) -> np.ndarray:
        """(..., 3) as (u, v, depth) -> points (..., 3) in P's frame. Inverse of `project`."""
        uvd = np.asarray(uvd, dtype=np.float64)
        return np.stack(lift(self.P, uvd[..., 0], uvd[..., 1], uvd[..., 2]), axis=-1)

    def resize(self, width: int, height: int) -> Camera:
        """The camera of the same image resampled to width x height (cv2.resize's pixel-centre convention)."""
        sx, sy = width / self.width, height / self.height
        warp = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
        return Camera(warp @ self.P, width, height)

    def crop(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of image[top:top + height, left:left + width]; a window past the edge is padding."""
        warp = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], dtype=np.float64)
        return Camera(warp @ self.P, width, height)

    def flip(self) -> Camera:
        """The camera that sees the mirrored world (x -> -x) in the mirrored image (u -> width - 1 - u)."""
        warp = np.array([[-1, 0, self.width - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
        return Camera(warp @ self.P @ np.diag([-1.0, 1.0, 1.0, 1.0]), self.width, self.height)
