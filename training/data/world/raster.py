"""Exact rasterisation: which face each pixel centre sees, and how far away it is.

A face is a plane; over the image the inverse of its depth is affine, 1/depth = a u + b v + c. Coverage is decided at
pixel centres by the polygon's edges, visibility by the larger inverse depth, both without approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.data.world.meshes import TEXTURE
from training.data.world.placement import Placement

NEAR = 0.15  # metres: faces are cut there
SKY, GROUND, FIRST_FACE = 0, 1, 2
_SIDES = 5  # of a quad cut by the near plane


@dataclass(frozen=True, eq=False)
class Faces:
    """The F faces that may be seen, with everything that does not depend on the others.

    quads:    (F, 4, 3) metres in the camera's own frame
    owner:    (F,) index of the placement
    material: (F,)
    normal:   (F, 3) unit length, towards the camera
    inverse:  (F, 3) a, b, c of the inverse depth
    decal_of: (F,) first face of the range onto which this one is painted, or -1
    uv:       (F, 4, 2)
    polygons: (F, 5, 2) pixels, the last corners repeated
    """

    quads: np.ndarray
    owner: np.ndarray
    material: np.ndarray
    normal: np.ndarray
    inverse: np.ndarray
    decal_of: np.ndarray
    uv: np.ndarray
    polygons: np.ndarray

    def __len__(self) -> int:
        return len(self.owner)


@dataclass(frozen=True, eq=False)
class Buffers:
    """What each pixel sees.

    face:    (H, W) int32: SKY, GROUND or FIRST_FACE + face index
    inverse: (H, W) float32, 1 / depth, 0 for the sky
    alone:   per placement, pixels it would cover if nothing stood before it (labelled ones only, else 0)
    seen:    per placement, pixels of it that are seen (labelled ones only, else 0)
    prints:  face index -> (top, left, picture (h, w, 3) uint8), the papered faces
    """

    face: np.ndarray
    inverse: np.ndarray
    alone: np.ndarray
    seen: np.ndarray
    prints: dict[int, tuple[int, int, np.ndarray]]


def _clip_near(polygon: np.ndarray) -> np.ndarray:
    """A convex polygon (n, 3) cut at z = NEAR -> (m, 3)."""
    kept = []
    for here, there in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
    return np.array(kept).reshape(-1, 3)


def faces(placements: list[Placement], K: np.ndarray, width: int, height: int) -> Faces:
    """Transform, cull and project all quads of all placements."""
    counts = np.array([len(p.mesh.quads) for p in placements], dtype=int)
    if not len(counts):
        placements, counts = [], np.zeros(0, dtype=int)
    owner = np.repeat(np.arange(len(placements)), counts)
    meshes = [p.mesh for p in placements]
    unit = np.concatenate([np.zeros((0, 4, 3)), *(m.quads for m in meshes)])
    material = np.concatenate([np.zeros(0, int), *(m.material for m in meshes)])
    local = np.concatenate([np.zeros(0, int), *(m.decal_of for m in meshes)])
    two_sided = np.concatenate([np.zeros(0, bool), *(m.two_sided for m in meshes)])
    uv = np.concatenate([np.zeros((0, 4, 2)), *(m.uv for m in meshes)])
    decal_of = np.where(local < 0, -1, local + np.repeat(np.cumsum(counts) - counts, counts))
    boxes = np.array([p.box for p in placements]).reshape(-1, 7)[owner]
    forward, down, side = np.moveaxis(unit * boxes[:, None, [3, 5, 4]], 2, 0)
    cosine, sine = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    quads = np.stack([cosine * forward + sine * side, down, cosine * side - sine * forward], axis=2)
    quads += boxes[:, None, :3]

    normal = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    length = np.linalg.norm(normal, axis=1)
    normal /= np.maximum(length, 1e-12)[:, None]
    centre = quads.mean(axis=1)
    distance = np.einsum("fi,fi->f", normal, centre)
    flip = two_sided & (distance > 0)
    normal[flip] *= -1
    distance[flip] *= -1
    nearest, farthest = quads[..., 2].min(axis=1), quads[..., 2].max(axis=1)
    keep = (distance < -1e-4) & (length > 1e-9) & (farthest > NEAR)

    polygons = np.empty((len(quads), _SIDES, 2))
    whole = keep & (nearest >= NEAR)
    pixels = quads[whole] @ K.T
    polygons[whole, :4] = pixels[..., :2] / pixels[..., 2:]
    polygons[whole, 4] = polygons[whole, 3]
    for f in np.flatnonzero(keep & ~whole):
        cut = _clip_near(quads[f])
        if len(cut) < 3:
            keep[f] = False
            continue
        pixels = cut @ K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        polygons[f] = pixels[np.minimum(np.arange(_SIDES), len(pixels) - 1)]
    low, high = np.ceil(polygons.min(axis=1, initial=np.inf)), np.floor(polygons.max(axis=1, initial=-np.inf))
    with np.errstate(invalid="ignore"):
        keep &= (low[:, 0] <= high[:, 0]) & (low[:, 1] <= high[:, 1])
        keep &= (low[:, 0] < width) & (high[:, 0] >= 0) & (low[:, 1] < height) & (high[:, 1] >= 0)
    index = np.cumsum(keep) - keep  # of the first kept face at or after each
    inverse = (normal[keep] / distance[keep, None]) @ np.linalg.inv(K)
    kept_decal = decal_of[keep]
    return Faces(
        quads[keep],
        owner[keep],
        material[keep],
        normal[keep],
        inverse,
        np.where(kept_decal < 0, -1, index[np.maximum(kept_decal, 0)] if len(index) else kept_decal),
        uv[keep],
        polygons[keep],
    )


@dataclass(frozen=True, eq=False)
class _Spans:
    """Per face its window, and per row of the window the first and last covered column."""

    window: list[tuple[int, int, int, int]]  # top, bottom, left, right, inclusive
    first: np.ndarray  # (F + 1,) where each face's rows start
    left: np.ndarray  # (T, 1) int32
    extent: np.ndarray  # (T, 1) uint32, columns covered; 0 for none
    base: np.ndarray  # (T, 1) float32, inverse depth at the window's left column


def _spans(f: Faces, width: int, height: int) -> _Spans:
    low = np.maximum(np.ceil(f.polygons.min(axis=1, initial=np.inf)), 0).astype(int)
    high = np.floor(f.polygons.max(axis=1, initial=-np.inf))
    high = np.minimum(high, [width - 1, height - 1]).astype(int)
    rows = high[:, 1] - low[:, 1] + 1
    first = np.concatenate([[0], np.cumsum(rows)])
    face = np.repeat(np.arange(len(f)), rows)
    v = (np.arange(first[-1]) - first[face] + low[face, 1]).astype(float)
    corners, ends = f.polygons, np.roll(f.polygons, -1, axis=1)
    cross = corners[..., 0] * ends[..., 1] - corners[..., 1] * ends[..., 0]
    winding = np.sign(cross.sum(axis=1))
    rise = ends[..., 1] - corners[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        run = np.where(rise != 0, (ends[..., 0] - corners[..., 0]) / rise, 0.0)
    at_zero = corners[..., 0] - run * corners[..., 1]
    bounds_left = (rise * winding[:, None]) < 0
    flat = rise == 0
    left = np.full(len(v), -1e9)
    right = np.full(len(v), 1e9)
    for side in range(_SIDES):
        u = at_zero[face, side] + run[face, side] * v
        lower, none = bounds_left[face, side], flat[face, side]
        np.maximum(left, u, out=left, where=lower & ~none)
        np.minimum(right, u, out=right, where=~lower & ~none)
    start = np.maximum(np.ceil(left), low[face, 0])
    stop = np.minimum(np.floor(right), high[face, 0])
    extent = np.maximum(stop - start + 1, 0)
    a, b, c = f.inverse.T
    base = (b[face] * v + c[face]) + a[face] * low[face, 0]
    window = np.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]], axis=1).tolist()
    return _Spans(
        window,
        first,
        start.astype(np.int32)[:, None],
        extent.astype(np.uint32)[:, None],
        base.astype(np.float32)[:, None],
    )


def _paper(f: Faces, i: int, placement: Placement, K: np.ndarray, window) -> np.ndarray:
    """The texture (h, w, 4) as it lies on the face, over the face's window."""
    top, bottom, left, right = window
    quad, uv = f.quads[i], f.uv[i]
    along, up = quad[1] - quad[0], quad[3] - quad[0]
    repeats = np.ones(2)
    if placement.paper_metres:
        sizes = np.array([np.linalg.norm(along), np.linalg.norm(up)])
        repeats = sizes / placement.paper_metres
    frame = np.array([[*(uv[1] - uv[0]), 0], [*(uv[3] - uv[0]), 0], [*uv[0], 1]]).T
    area = max((right - left + 1) * (bottom - top + 1), 1)
    paper, level = placement.paper, 0
    texels = paper.rgba.shape[0] * paper.rgba.shape[1] * repeats[0] * repeats[1]
    while texels > 2.5 * area and level < len(paper.levels) - 1:
        texels, level = texels / 4, level + 1
    picture = paper.levels[level]
    rows, columns = picture.shape[:2]
    if np.abs(uv[1] - uv[0])[0] < 0.5:  # u runs along the quad's second edge
        repeats = repeats[::-1]
    scale = np.array([[columns * repeats[0], 0, -0.5], [0, rows * repeats[1], -0.5], [0, 0, 1]])
    to_plane = np.linalg.inv(K @ np.stack([along, up, quad[0]], axis=1))
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    return cv2.warpPerspective(
        picture,
        scale @ frame @ to_plane @ shift,
        (right - left + 1, bottom - top + 1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP if placement.paper_metres else cv2.BORDER_REPLICATE,
    )


def rasterise(
    f: Faces, placements: list[Placement], K: np.ndarray, ground: np.ndarray, width: int, height: int, reach: float
) -> Buffers:
    """Draw all faces over the ground plane, whose inverse depth is `ground` = (a, b, c), as far as `reach` metres."""
    u, v = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    inverse = (ground[0] * u).astype(np.float32) + (ground[1] * v + ground[2]).astype(np.float32)
    ground_seen = inverse > 1 / reach
    inverse *= ground_seen
    face = ground_seen.astype(np.int32)
    spans = _spans(f, width, height)
    columns = np.arange(width, dtype=np.int32)
    slopes = f.inverse[:, 0].astype(np.float32)
    alone, prints = np.zeros(len(placements), int), {}
    first, decal_of, material = spans.first, f.decal_of.tolist(), f.material.tolist()
    bounds = np.searchsorted(f.owner, np.arange(len(placements) + 1))
    windows = np.array(spans.window, dtype=int).reshape(-1, 4)
    for p in np.unique(f.owner).tolist():
        start, stop = int(bounds[p]), int(bounds[p + 1])
        labelled = placements[p].label is not None
        if labelled:
            # By itself first: what it would cover alone tells how much of it is hidden.
            own = windows[start:stop]
            y0, x0 = own[:, 0].min(), own[:, 2].min()
            y1, x1 = own[:, 1].max() + 1, own[:, 3].max() + 1
            near, name = np.zeros((y1 - y0, x1 - x0), np.float32), np.zeros((y1 - y0, x1 - x0), np.int32)
        else:
            y0 = x0 = 0
            near, name = inverse, face
        for i in range(start, stop):
            top, bottom, left, right = spans.window[i]
            rows = slice(first[i], first[i + 1])
            shown = (columns[left : right + 1] - spans.left[rows]).view(np.uint32) < spans.extent[rows]
            area = slice(top - y0, bottom + 1 - y0), slice(left - x0, right + 1 - x0)
            depth = spans.base[rows] + slopes[i] * columns[: right + 1 - left]
            names = name[area]
            if decal_of[i] >= 0:
                shown &= names >= FIRST_FACE + decal_of[i]
                shown &= names < FIRST_FACE + i
            else:
                shown &= depth > near[area]
            if material[i] == TEXTURE and placements[p].paper is not None:
                picture = _paper(f, i, placements[p], K, spans.window[i])
                if placements[p].paper.cutout:
                    shown &= picture[..., 3] > 127
                prints[i] = (top, left, picture)
            if decal_of[i] < 0:
                np.copyto(near[area], depth, where=shown)
            np.copyto(names, FIRST_FACE + i, where=shown)
        if labelled:
            alone[p] = np.count_nonzero(near)
            area = slice(y0, y1), slice(x0, x1)
            shown = near > inverse[area]
            np.copyto(inverse[area], near, where=shown)
            np.copyto(face[area], name, where=shown)
    seen = np.zeros(len(placements), int)
    for p in np.flatnonzero(alone).tolist():
        start, stop = int(bounds[p]), int(bounds[p + 1])
        own = windows[start:stop]
        names = face[own[:, 0].min() : own[:, 1].max() + 1, own[:, 2].min() : own[:, 3].max() + 1]
        seen[p] = np.count_nonzero((names >= FIRST_FACE + start) & (names < FIRST_FACE + stop))
    return Buffers(face, inverse, alone, seen, prints)
