"""Depth maps for teachers, from velodyne points, from labelled boxes, or from depth images.

A depth map is (H, W) float32: the camera's projective depth in metres (see `geometry.camera`) of what the centre of
each pixel shows, 0 where unknown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.images import ImageError, image_size, read_unchanged
from training.data.kitti.calib import KittiCalib
from training.data.sample import Objects

NEAR = 0.1  # metres: nothing nearer to the camera gives depth


def read_velodyne(path: str | Path) -> np.ndarray:
    """Read a velodyne file: (N, 4) float32 as x, y, z in metres in the velodyne frame, and reflectance.

    Raises ValueError where the file does not consist of such rows.
    """
    stored = np.fromfile(path, np.uint8)
    if stored.size % 16:
        raise ValueError(f"{path}: {stored.size} bytes are not rows of 4 float32 (x, y, z, reflectance)")
    return stored.view("<f4").reshape(-1, 4)


def lidar_depth(points: np.ndarray, calib: KittiCalib, camera: Camera) -> np.ndarray:
    """Project velodyne points (N, 3 or more): each gives depth to the pixel it falls into, the nearest one wins.

    `camera` may be the resized, cropped camera of the frame whose calibration is `calib`.
    Raises CalibrationError where the calibration has no velodyne.
    """
    return point_depth(calib.velodyne_to_camera(_finite(points[:, :3])), camera)


def point_depth(points: np.ndarray, camera: Camera) -> np.ndarray:
    """The same for points (N, 3) in the frame of the camera's P, metres; points that are not finite are left out."""
    transformed = _finite(points) @ camera.P[:, :3].T + camera.P[:, 3]
    transformed = transformed[transformed[:, 2] > NEAR]
    depth = transformed[:, 2]
    column = np.floor(transformed[:, 0] / depth + 0.5)
    row = np.floor(transformed[:, 1] / depth + 0.5)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    pixel = (row[inside] * camera.width + column[inside]).astype(np.int64)
    nearest = np.full(camera.height * camera.width, np.inf, np.float32)
    np.minimum.at(nearest, pixel, depth[inside].astype(np.float32))
    nearest[np.isinf(nearest)] = 0
    return nearest.reshape(camera.height, camera.width)


def _finite(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(axis=1)]


def object_depth(objects: Objects, camera: Camera) -> np.ndarray:
    """The true surface depth of the labelled boxes: the ray of each pixel meets each box, the nearest surface stays.

    Objects without a 3D box (DontCare) give nothing. Where the camera is inside a box, the far side is what it sees.
    """
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    boxes = objects.boxes[np.isfinite(objects.boxes).all(axis=1)]
    # A ray in P's frame is start + depth * direction: `lift` is affine in depth, whatever P's fourth column.
    inverse = np.linalg.inv(camera.P[:, :3])
    start = -inverse @ camera.P[:, 3]
    for box, window in zip(boxes, box3d.project_boxes(boxes, camera), strict=True):
        if np.isnan(window).any():
            continue
        left, top = np.clip(np.floor(window[:2]), 0, None)
        right, bottom = np.minimum(np.ceil(window[2:]), [camera.width - 1, camera.height - 1])
        if left > right or top > bottom:
            continue
        rows, columns = slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)
        surface = _surface(box, start, inverse, np.arange(left, right + 1), np.arange(top, bottom + 1))
        np.minimum(depth[rows, columns], surface, out=depth[rows, columns])
    depth[np.isinf(depth)] = 0
    return depth


def _surface(box: np.ndarray, start: np.ndarray, inverse: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Depth (rows, columns) at which the rays of pixels u x v first meet the box (slab method); inf where they miss."""
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    # Rows turn P's frame into the box's own: along its length, its width, its height.
    turn = np.array([[cosine, 0, -sine], [sine, 0, cosine], [0, 1, 0]])
    origin, frame = turn @ (start - box[:3]), turn @ inverse
    enter, leave = np.full((len(v), len(u)), NEAR), np.full((len(v), len(u)), np.inf)
    for axis in range(3):
        direction = frame[axis, 0] * u[None, :] + (frame[axis, 1] * v + frame[axis, 2])[:, None]
        # A ray parallel to a slab gives +-inf, rightly signed inside and outside it; exactly in its face NaN, a miss.
        with np.errstate(divide="ignore", invalid="ignore"):
            one = (-box[3 + axis] / 2 - origin[axis]) / direction
            two = (box[3 + axis] / 2 - origin[axis]) / direction
        np.maximum(enter, np.minimum(one, two), out=enter)
        np.minimum(leave, np.maximum(one, two), out=leave)
    # From inside a box its near side is behind the camera, and the far side is what the ray meets.
    meets = np.where(enter > NEAR, enter, leave)
    return np.where(enter <= leave, meets, np.inf).astype(np.float32)


def dense_depth(path: str | Path) -> np.ndarray:
    """Read a depth image: 16-bit one-channel PNG, metres x 256, 0 unknown (KITTI's depth benchmark's format).

    Raises ImageError where it is missing, broken or of another kind.
    """
    dense_size(path)
    return read_unchanged(path).astype(np.float32) / 256


def dense_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of a depth image from its header, not decoded. Raises ImageError as `dense_depth` does."""
    size = image_size(path)
    with open(path, "rb") as file:
        head = file.read(26)
    if not head.startswith(b"\x89PNG") or tuple(head[24:26]) != (16, 0):
        kind = f"it has {head[24]} bits, PNG colour type {head[25]}" if head.startswith(b"\x89PNG") else "it is a JPEG"
        raise ImageError(f"{path}: a depth image must be a 16-bit PNG of one channel (metres x 256), {kind}")
    return size
