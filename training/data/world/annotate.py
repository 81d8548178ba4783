"""Labels as KITTI's annotators would give them, but exact."""

from __future__ import annotations

import numpy as np

from add_model.camera import Camera
from training.data.sample import DONT_CARE, Objects
from training.data.world.placement import Placement
from training.data.world.raster import NEAR, Buffers

PARTLY, LARGELY, HIDDEN = 0.85, 0.5, 0.08  # visible shares below which an object is occluded 1, 2, or DontCare
TRUNCATED = 0.9  # share outside the image above which an object is DontCare


def _extent(placement: Placement, camera: Camera) -> np.ndarray | None:
    """(4,) left, top, right, bottom of the object's shape in pixels, not clipped; None if it is behind the camera."""
    mesh, (x, y, z, length, width, height, rotation_y) = placement.mesh, placement.box
    ends = mesh.quads[:, [[0, 1], [1, 2], [2, 3], [3, 0]]].reshape(-1, 2, 3) * (length, height, width)
    cosine, sine = np.cos(rotation_y), np.sin(rotation_y)
    forward, down, side = np.moveaxis(ends, -1, 0)
    ends = np.stack([x + cosine * forward + sine * side, y + down, z + cosine * side - sine * forward], axis=-1)
    depth = ends[..., 2]
    ends, depth = ends[depth.max(axis=1) >= NEAR], depth[depth.max(axis=1) >= NEAR]
    if not len(ends):
        return None
    gap = depth[:, ::-1] - depth
    share = np.divide(NEAR - depth, gap, out=np.zeros_like(gap), where=(depth < NEAR) & (gap != 0))
    points = ends + share[..., None] * (ends[:, ::-1] - ends)
    pixels = camera.project(points.reshape(-1, 3))[:, :2]
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def annotate(placements: list[Placement], buffers: Buffers, camera: Camera, reach: float, smallest: float) -> Objects:
    """Objects in the frame of `camera`.P; the placements are in its own frame.

    boxes2d enclose the whole shape as projected, also what is hidden, clipped to the image. Objects of which no pixel
    is seen are left out. Those that are nearly hidden, nearly outside, farther than `reach` metres or lower than
    `smallest` pixels are DontCare.
    """
    own = camera.own_frame()
    limit = np.array([camera.width - 1, camera.height - 1] * 2, float)
    names, boxes, boxes2d, truncated, occluded = [], [], [], [], []
    for p, placement in enumerate(placements):
        if placement.label is None or not buffers.seen[p]:
            continue
        full = _extent(placement, own)
        clipped = np.clip(full, 0, limit)
        sizes, inside = full[2:] - full[:2], clipped[2:] - clipped[:2]
        outside = 1 - np.prod(inside) / max(np.prod(sizes), 1e-9)
        visible = buffers.seen[p] / buffers.alone[p]
        boxes2d.append(clipped)
        far = placement.box[2] > reach or sizes[1] < smallest
        if far or visible < HIDDEN or outside > TRUNCATED:
            names.append(DONT_CARE)
            boxes.append(np.full(7, np.nan))
            truncated.append(np.nan)
            occluded.append(3)
            continue
        names.append(placement.label)
        boxes.append(np.concatenate([placement.box[:3] - camera.translation, placement.box[3:]]))
        truncated.append(outside)
        occluded.append(int(visible < PARTLY) + int(visible < LARGELY))
    if not names:
        return Objects.empty()
    order = sorted(range(len(names)), key=lambda i: names[i] == DONT_CARE)
    return Objects(*(np.array(values)[order] for values in (names, boxes, boxes2d, truncated, occluded)))
