"""The one 3D box: rows `(x, y, z, length, width, height, rotation_y)` of a float64 array (N, 7).

(x, y, z) is the geometric centre in the camera's optical frame (x right, y down, z forward), sizes are in metres.
The box stands upright; `rotation_y` turns it about the camera's y axis, in radians, and 0 points its front
along +x. KITTI stores the centre of the bottom face and (height, width, length) instead; vision_msgs stores a
quaternion and sizes along the object's own axes, here x forward, y left, z up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from add_model.geometry.camera import Camera
from add_model.geometry.rotated_iou import ratio

# Corners 0-3 are the bottom face, 4-7 the top face above them; 0, 1, 4, 5 are the front face.
EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
FRONT_DIAGONALS = np.array([(0, 5), (1, 4)])
_UNIT_CORNERS = 0.5 * np.array(
    # forward, down, side (z at rotation_y = 0)
    [(1, 1, 1), (1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, -1, 1), (1, -1, -1), (-1, -1, -1), (-1, -1, 1)]
)
MOST_LEAN = 20.0  # degrees from the vertical, up to which boxes of others count as upright
_NEAR = 0.01  # metres in front of the camera at which edges are cut before projection


def wrap(angle: Any) -> Any:
    """The same angle in [-pi, pi), radians."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def from_kitti(location: np.ndarray, dimensions: np.ndarray, rotation_y: np.ndarray) -> np.ndarray:
    """KITTI's bottom centre (N, 3), dimensions (N, 3) as h, w, l and rotation_y (N,) -> boxes (N, 7)."""
    location, dimensions = np.asarray(location, float).reshape(-1, 3), np.asarray(dimensions, float).reshape(-1, 3)
    boxes = np.empty((len(location), 7))
    boxes[:, :3] = location
    boxes[:, 1] -= dimensions[:, 0] / 2
    boxes[:, 3:6] = dimensions[:, [2, 1, 0]]
    boxes[:, 6] = rotation_y
    return boxes


def to_kitti(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inverse of `from_kitti`: (location, dimensions as h, w, l, rotation_y)."""
    location = boxes[:, :3].copy()
    location[:, 1] += boxes[:, 5] / 2
    return location, boxes[:, [5, 4, 3]], boxes[:, 6]


def alpha(boxes: np.ndarray) -> np.ndarray:
    """KITTI's observation angle (N,): rotation_y - atan2(x, z), in [-pi, pi)."""
    return wrap(boxes[:, 6] - np.arctan2(boxes[:, 0], boxes[:, 2]))


def quaternions(boxes: np.ndarray, up: np.ndarray | None = None) -> np.ndarray:
    """Orientations (N, 4) as x, y, z, w, from object axes (x forward, y left, z up) to the optical frame.

    up: (3,) unit vector along which the boxes stand (see `axes`); None for -y.
    """
    heading = boxes[:, 6]
    if up is not None:
        # Of the frame that is level: the smallest turn takes `up` to -y.
        turn = np.array([up[2], 0.0, -up[0], 1 - up[1]]) / np.linalg.norm([up[2], up[0], 1 - up[1]])
        heading = heading_of(axes(boxes, up)[:, 0] @ rotation_matrix(turn).T)
    sine, cosine = np.sin(heading / 2), np.cos(heading / 2)
    upright: np.ndarray = np.sqrt(0.5) * np.stack([cosine, sine, -sine, cosine], axis=1)
    return upright if up is None else _product(turn * [-1, -1, -1, 1], upright)


def rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of a quaternion (4,) in the order x, y, z, w, of any length but 0."""
    *vector, w = quaternion / np.linalg.norm(quaternion)
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return (w * w - np.dot(vector, vector)) * np.eye(3) + 2 * np.outer(vector, vector) + 2 * w * cross


def _product(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The quaternion (4,) times others (N, 4): these turn first."""
    vector = first[3] * others[:, :3] + others[:, 3:] * first[:3] + np.cross(first[:3], others[:, :3])
    return np.c_[vector, first[3] * others[:, 3] - others[:, :3] @ first[:3]]


def axes(boxes: np.ndarray, up: np.ndarray | None = None) -> np.ndarray:
    """The boxes' own axes (N, 3, 3) as rows: forward, down, and to the side (z at rotation_y 0), unit vectors.

    up: (3,) unit vector along which the boxes stand, not horizontal; None for -y. rotation_y is that of the forward
    axis' projection on x and z.
    """
    cosine, sine, nothing = np.cos(boxes[:, 6]), np.sin(boxes[:, 6]), np.zeros(len(boxes))
    if up is None:
        one = np.ones(len(boxes))
        rows = [(cosine, nothing, -sine), (nothing, one, nothing), (sine, nothing, cosine)]
        return np.moveaxis(np.array(rows).reshape(3, 3, len(boxes)), 2, 0)
    forward = np.stack([cosine, (sine * up[2] - cosine * up[0]) / up[1], -sine], axis=1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    down = np.broadcast_to(-np.asarray(up, float), forward.shape)
    return np.stack([forward, down, np.cross(forward, down)], axis=1)


def heading_of(forward: np.ndarray) -> np.ndarray:
    """rotation_y (...) of forward axes (..., 3) in the optical frame, of any length: their y is left out."""
    return np.arctan2(-forward[..., 2], forward[..., 0])


def rotation_y(quaternion: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) as x, y, z, w -> the heading (N,) of the object's forward axis about the camera's y axis."""
    x, y, z, w = np.moveaxis(np.asarray(quaternion, float).reshape(-1, 4), 1, 0)
    forward_x, forward_z = w * w + x * x - y * y - z * z, 2 * (x * z - y * w)
    return np.arctan2(-forward_z, forward_x)


def corners(boxes: np.ndarray, up: np.ndarray | None = None) -> np.ndarray:
    """The corners (N, 8, 3) in the optical frame, in the order that `EDGES` names. up: see `axes`."""
    return posed_corners(boxes[:, :3], boxes[:, 3:6], axes(boxes, up))


def posed_corners(centres: np.ndarray, sizes: np.ndarray, own_axes: np.ndarray) -> np.ndarray:
    """The corners (N, 8, 3) of boxes of any orientation, in the order that `EDGES` names.

    Args:
        centres: (N, 3) metres.
        sizes: (N, 3) length, width, height in metres.
        own_axes: (N, 3, 3) as `axes` gives them.
    """
    offset = (_UNIT_CORNERS[None] * sizes[:, None, [0, 2, 1]]) @ own_axes
    return np.asarray(centres[:, None] + offset)


def contains(box: np.ndarray, points: np.ndarray, margin: float) -> np.ndarray:
    """Which points (N, 3) lie in a box (7,) that is widened by a margin in metres on every side: (N,) bool."""
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    x, y, z = (points - box[:3]).T
    length, width, height = box[3:6] / 2 + margin
    return (np.abs(cosine * x - sine * z) <= length) & (np.abs(sine * x + cosine * z) <= width) & (np.abs(y) <= height)


def count_inside(boxes: np.ndarray, points: np.ndarray, margin: float) -> np.ndarray:
    """How many of the points (N, 3) lie in each box (M, 7), as `contains` has it: (M,) int; 0 for NaN."""
    return np.array([np.count_nonzero(contains(box, points, margin)) for box in boxes], dtype=int)


def flip(boxes: np.ndarray) -> np.ndarray:
    """The boxes of the mirrored world: x -> -x and rotation_y -> pi - rotation_y."""
    mirrored = boxes.copy()
    mirrored[:, 0] = -boxes[:, 0]
    mirrored[:, 6] = wrap(np.pi - boxes[:, 6])
    return mirrored


def flip_rectangles(rectangles: np.ndarray, width: int) -> np.ndarray:
    """2D boxes (N, 4) in an image of this width -> where they are in its mirror image (u -> width - 1 - u)."""
    left, top, right, bottom = rectangles.T
    return np.stack([width - 1 - right, top, width - 1 - left, bottom], axis=1)


def project_edges(
    boxes: np.ndarray, camera: Camera, edges: np.ndarray = EDGES, up: np.ndarray | None = None
) -> np.ndarray:
    """The edges as image segments (N, E, 2, 2) in pixels, cut at the camera plane; NaN where wholly behind it.

    up: see `axes`.
    """
    return project_corner_edges(corners(boxes, up), camera, edges)


def project_corner_edges(corner_points: np.ndarray, camera: Camera, edges: np.ndarray = EDGES) -> np.ndarray:
    """The same for boxes of any orientation, given by their corners (N, 8, 3) in the order that `EDGES` names."""
    ends = corner_points[:, edges]
    depth = ends @ camera.P[2, :3] + camera.P[2, 3]
    gap = depth[..., 0] - depth[..., 1]
    fraction = np.divide(depth[..., 0] - _NEAR, gap, out=np.zeros_like(gap), where=gap != 0)
    cut = ends[..., 0, :] + fraction[..., None] * (ends[..., 1, :] - ends[..., 0, :])
    ends = np.where((depth < _NEAR)[..., None], cut[..., None, :], ends)
    pixels = np.full((*ends.shape[:-1], 2), np.nan)
    seen = (depth >= _NEAR).any(axis=-1)
    pixels[seen] = camera.project(ends[seen])[..., :2]
    return pixels


def project_boxes(boxes: np.ndarray, camera: Camera) -> np.ndarray:
    """The 2D boxes (N, 4) as left, top, right, bottom in pixels that enclose the projections, not clipped to the image.

    A box wholly behind the camera gives a row of NaN.
    """
    return project_corners(corners(boxes), camera)


def project_corners(corner_points: np.ndarray, camera: Camera) -> np.ndarray:
    """The same for boxes of any orientation, given by their corners (N, 8, 3) in the order that `EDGES` names."""
    pixels = project_corner_edges(corner_points, camera).reshape(len(corner_points), 2 * len(EDGES), 2)
    seen = ~np.isnan(pixels[..., 0])
    low = np.where(seen[..., None], pixels, np.inf).min(axis=1, initial=np.inf)
    high = np.where(seen[..., None], pixels, -np.inf).max(axis=1, initial=-np.inf)
    rectangles = np.hstack([low, high])
    rectangles[~seen.any(axis=1)] = np.nan
    return rectangles


def clip_to_image(rectangles: np.ndarray, camera: Camera) -> np.ndarray:
    """2D boxes (N, 4) in pixels, clipped to the image."""
    limit = np.array([camera.width - 1, camera.height - 1] * 2, dtype=float)
    return np.clip(rectangles, 0, limit)


def has_area(rectangles: np.ndarray) -> np.ndarray:
    """Which 2D boxes (N, 4) are not empty, as `clip_to_image` leaves those outside the image; NaN is empty."""
    return (rectangles[:, 2] > rectangles[:, 0]) & (rectangles[:, 3] > rectangles[:, 1])


def rectangle_area(rectangles: np.ndarray) -> np.ndarray:
    """Area (...) of 2D boxes (..., 4)."""
    return (rectangles[..., 2] - rectangles[..., 0]) * (rectangles[..., 3] - rectangles[..., 1])


def visible_part(rectangles: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """2D boxes (N, 4) clipped to the image, and the share (N,) of each one's area that is left; NaN of no area."""
    clipped = clip_to_image(rectangles, camera)
    area = rectangle_area(rectangles)
    return clipped, np.divide(rectangle_area(clipped), area, out=np.full(area.shape, np.nan), where=area > 0)


def rectangle_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area (...) of 2D boxes (..., 4), the first with the first; 0 for inverted ones and NaN."""
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def rectangle_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (...) of 2D boxes (..., 4), the first with the first; 0 where one is NaN."""
    common = rectangle_intersection(a, b)
    return ratio(common, rectangle_area(a) + rectangle_area(b) - common)


def image_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B) intersection over union of 2D boxes (A, 4), each with each of (B, 4); 0 where one is NaN."""
    return rectangle_iou(a[:, None], b[None])


def headings_between(angles: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Headings (N,) about the y axis of one frame as those of another, by the (3, 3) rotation from one to the other."""
    forward = np.stack([np.cos(angles), np.zeros_like(angles), -np.sin(angles)], axis=1) @ rotation.T
    return heading_of(forward)
