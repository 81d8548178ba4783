"""Labels as KITTI's annotators would give them, but exact."""

from __future__ import annotations

import numpy as np

from add_model.classes import DONT_CARE
from add_model.geometry.camera import Camera
from training.data.sample import Objects
from training.data.world.faces import NEAR
from training.data.world.placement import Placement
from training.data.world.raster import Buffers

PARTLY, LARGELY, HIDDEN = 0.85, 0.5, 0.12  # visible shares below which an object is occluded 1, 2, or DontCare
TRUNCATED = 0.9  # share outside the image above which an object is DontCare


def _extents(placements: list[Placement], K: np.ndarray) -> np.ndarray:
    """(N, 4) left, top, right, bottom of each shape in pixels, not clipped; NaN for one wholly behind the camera."""
    extents = np.full((len(placements), 4), np.nan)
    for i, placement in enumerate(placements):
        x, y, z, length, width, height, rotation_y = placement.box.tolist()
        forward, down, side = placement.mesh.corners * np.array([[length], [height], [width]])
        cosine, sine = np.cos(rotation_y), np.sin(rotation_y)
        points = x + cosine * forward + sine * side, y + down, z + cosine * side - sine * forward
        if points[2].min() < NEAR:
            points = _cut(np.stack(points, axis=1)[placement.mesh.edges])
            if not points.size:
                continue
        u = (K[0, 0] * points[0] + K[0, 1] * points[1]) / points[2] + K[0, 2]
        v = K[1, 1] * points[1] / points[2] + K[1, 2]
        extents[i] = u.min(), v.min(), u.max(), v.max()
    return extents


def _cut(ends: np.ndarray) -> np.ndarray:
    """Edges (E, 2, 3) cut at the near plane -> (3, n) points in front of it."""
    ends = ends[ends[..., 2].max(axis=1) >= NEAR]
    depth = ends[..., 2]
    gap = depth[:, ::-1] - depth
    share = np.divide(NEAR - depth, gap, out=np.zeros_like(gap), where=(depth < NEAR) & (gap != 0))
    return (ends + share[..., None] * (ends[:, ::-1] - ends)).reshape(-1, 3).T


def annotate(
    placements: list[Placement], buffers: Buffers, camera: Camera, reach: float, smallest: float
) -> tuple[Objects, np.ndarray]:
    """Objects in the frame of `camera`.P, and the identity (N,) of each, -1 for DontCare.

    The placements are in the camera's own frame.
    boxes2d enclose the whole shape as projected, also what is hidden, clipped to the image. Objects of which no pixel
    is seen are left out. Those that are nearly hidden, nearly outside, farther than `reach` metres or lower than
    `smallest` focal lengths are DontCare, with truncated and occluded -1 as KITTI has them.
    """
    present = [p for p in np.flatnonzero(buffers.seen).tolist() if placements[p].label is not None]
    extents = _extents([placements[p] for p in present], camera.P[:, :3])
    limit = np.array([camera.width - 1, camera.height - 1] * 2, float)
    names, boxes, boxes2d, truncated, occluded, identities = [], [], [], [], [], []
    for p, full in zip(present, extents, strict=True):
        placement = placements[p]
        clipped = np.clip(full, 0, limit)
        sizes, inside = full[2:] - full[:2], clipped[2:] - clipped[:2]
        outside = 1 - np.prod(inside) / max(np.prod(sizes), 1e-9)
        visible = buffers.seen[p] / buffers.alone[p]
        boxes2d.append(clipped)
        far = placement.box[2] > reach or sizes[1] < smallest * camera.fv
        if far or visible < HIDDEN or outside > TRUNCATED:
            names.append(DONT_CARE)
            boxes.append(np.full(7, np.nan))
            truncated.append(-1.0)
            occluded.append(-1)
            identities.append(-1)
            continue
        names.append(placement.label)
        boxes.append(np.concatenate([placement.box[:3] - camera.translation, placement.box[3:]]))
        truncated.append(outside)
        occluded.append(int(visible < PARTLY) + int(visible < LARGELY))
        identities.append(placement.identity)
    if not names:
        return Objects.empty(), np.empty(0, dtype=np.int64)
    order = sorted(range(len(names)), key=lambda i: names[i] == DONT_CARE)
    columns = (names, boxes, boxes2d, truncated, occluded, identities)
    *fields, identity = (np.array(values)[order] for values in columns)
    return Objects(*fields), identity
