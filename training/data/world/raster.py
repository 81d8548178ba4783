"""Exact rasterisation: which face each pixel centre sees, and how far away it is.

A face is a plane; over the image the inverse of its depth is affine, 1/depth = a u + b v + c. Coverage is decided at
pixel centres by the polygon's edges, visibility by the larger inverse depth, both without approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.world import paper
from training.data.world.faces import SIDES, Faces, bounds
from training.data.world.mesh import TEXTURE
from training.data.world.paper import Sheet
from training.data.world.placement import Placement

SKY, GROUND, FIRST_FACE = 0, 1, 2
_PIXELS_WORTH_A_CALL = 250  # below so many pixels a face, faces are cheaper to draw all at once


@dataclass(frozen=True, eq=False)
class Buffers:
    """What each pixel sees.

    face:    (H, W) int32: SKY, GROUND or FIRST_FACE + face index
    inverse: (H, W) float32, 1 / depth, 0 for the sky
    alone:   per placement, pixels it would cover if nothing stood before it (labelled ones only, else 0)
    seen:    per placement, pixels of it that are seen (labelled ones only, else 0)
    papered: face index -> (top, left, sheet) of each papered face of which some may be seen
    """

    face: np.ndarray
    inverse: np.ndarray
    alone: np.ndarray
    seen: np.ndarray
    papered: dict[int, tuple[int, int, Sheet]]


@dataclass(frozen=True, eq=False)
class _Spans:
    """Which pixels each face covers: a window, and per row of the window a run of columns.

    window: (F, 4) top, bottom, left, right, inclusive
    first:  (F + 1,) where each face's rows start
    left:   (T,) int32 first covered column of the row
    extent: (T,) int32 columns covered, 0 for none
    base:   (T,) float32 inverse depth at the window's left column
    """

    window: np.ndarray
    first: np.ndarray
    left: np.ndarray
    extent: np.ndarray
    base: np.ndarray


def _spans(f: Faces, width: int, height: int) -> _Spans:
    low, high = bounds(f.polygons)
    low = np.maximum(low, 0).astype(int)
    high = np.minimum(high, [width - 1, height - 1]).astype(int)
    rows = high[:, 1] - low[:, 1] + 1
    first = np.concatenate([[0], np.cumsum(rows)])
    face = np.repeat(np.arange(len(f)), rows)
    v = (np.arange(first[-1]) - first[face] + low[face, 1]).astype(float)
    corners, ends = f.polygons, np.roll(f.polygons, -1, axis=1)
    winding = (corners[..., 0] * ends[..., 1] - corners[..., 1] * ends[..., 0]).sum(axis=1)
    rise = (ends[..., 1] - corners[..., 1]) * np.sign(winding)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        run = np.where(rise != 0, (ends[..., 0] - corners[..., 0]) / (ends[..., 1] - corners[..., 1]), 0.0)
    at_zero = corners[..., 0] - run * corners[..., 1]
    left, right = low[face, 0].astype(float), high[face, 0].astype(float)
    # Edges that go up bound a polygon on the left, those that go down on the right, level ones by its window.
    lower = np.where(rise < 0, at_zero, -1e9), np.where(rise < 0, run, 0.0)
    upper = np.where(rise > 0, at_zero, 1e9), np.where(rise > 0, run, 0.0)
    for side in range(SIDES):
        np.maximum(left, lower[0][face, side] + lower[1][face, side] * v, out=left)
        np.minimum(right, upper[0][face, side] + upper[1][face, side] * v, out=right)
    start = np.ceil(left)
    extent = np.maximum(np.floor(right) - start + 1, 0)
    a, b, c = f.inverse.T
    base = (b[face] * v + c[face]) + a[face] * low[face, 0]
    window = np.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]], axis=1)
    return _Spans(window, first, start.astype(np.int32), extent.astype(np.int32), base.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Shape:
    """One placement by itself: inverse depth `near` (h, w) and face `name` (h, w) over a window from (y, x) on."""

    y: int
    x: int
    near: np.ndarray
    name: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Where it lies in the image."""
        return slice(self.y, self.y + len(self.near)), slice(self.x, self.x + self.near.shape[1])


class _Rasteriser:
    """Draws faces one by one into an image-sized or smaller buffer, or many small ones at once."""

    def __init__(self, f: Faces, placements: list[Placement], K: np.ndarray, width: int, height: int) -> None:
        self.f = f
        self.spans = _spans(f, width, height)
        self.windows = self.spans.window.tolist()
        self.columns = np.arange(width, dtype=np.int32)
        self.slope = f.inverse[:, 0].astype(np.float32)
        self.decal_of = f.decal_of.tolist()
        self.bounds = np.searchsorted(f.owner, np.arange(len(placements) + 1)).tolist()
        papered = [
            i for i in np.flatnonzero(f.material == TEXTURE).tolist() if placements[f.owner[i]].paper is not None
        ]
        owners = [placements[p] for p in f.owner[papered].tolist()]
        laid = paper.sheets(owners, f.quads[papered], f.uv[papered], self.spans.window[papered], K)
        self.sheets = dict(zip(papered, laid, strict=True))
        self.papered: dict[int, tuple[int, int]] = {}

    def extent(self, placement: int) -> tuple[int, int, int, int]:
        """Rows and columns [y0, y1), [x0, x1) of all its faces."""
        own = self.spans.window[self.bounds[placement] : self.bounds[placement + 1]]
        return own[:, 0].min(), own[:, 1].max() + 1, own[:, 2].min(), own[:, 3].max() + 1

    def draw(self, placement: int, near: np.ndarray, name: np.ndarray, y0: int, x0: int) -> None:
        """Draw one placement, face by face, over what `near` and `name` hold; they start at pixel (y0, x0)."""
        spans = self.spans
        for i in range(self.bounds[placement], self.bounds[placement + 1]):
            top, bottom, left, right = self.windows[i]
            rows = slice(spans.first[i], spans.first[i + 1])
            shown = self.columns[left : right + 1] - spans.left[rows, None]
            shown = shown.view(np.uint32) < spans.extent[rows, None].view(np.uint32)
            area = slice(top - y0, bottom + 1 - y0), slice(left - x0, right + 1 - x0)
            names = name[area]
            if self.decal_of[i] >= 0:
                shown &= names >= FIRST_FACE + self.decal_of[i]
                shown &= names < FIRST_FACE + i
            else:
                depth = spans.base[rows, None] + self.slope[i] * self.columns[: right + 1 - left]
                shown &= depth > near[area]
            if i in self.sheets:
                if not shown.any():
                    continue
                self.papered[i] = (top, left)
                if self.sheets[i].texture.cutout:
                    shown &= self.sheets[i].holds()
            if self.decal_of[i] < 0:
                np.copyto(near[area], depth, where=shown)
            np.copyto(names, np.int32(FIRST_FACE + i), where=shown)

    def alone(self, placement: int) -> _Shape:
        """One placement by itself."""
        y0, y1, x0, x1 = self.extent(placement)
        shape = _Shape(y0, x0, np.zeros((y1 - y0, x1 - x0), np.float32), np.zeros((y1 - y0, x1 - x0), np.int32))
        self.draw(placement, shape.near, shape.name, y0, x0)
        return shape

    def all_alone(self, placements: list[int]) -> list[_Shape]:
        """The same for many small placements at once: all pixels of all their faces in a few array operations."""
        if not placements:
            return []
        spans = self.spans
        chosen = np.concatenate([np.arange(self.bounds[p], self.bounds[p + 1]) for p in placements])
        extents = np.array([self.extent(p) for p in placements])
        heights, widths = extents[:, 1] - extents[:, 0], extents[:, 3] - extents[:, 2]
        offsets = np.concatenate([[0], np.cumsum(heights * widths)])
        which = np.repeat(np.arange(len(placements)), [self.bounds[p + 1] - self.bounds[p] for p in placements])
        count = spans.first[chosen + 1] - spans.first[chosen]
        face = np.repeat(np.arange(len(chosen)), count)
        starts = np.cumsum(count) - count
        row_in_face = np.arange(len(face)) - starts[face]
        row = spans.first[chosen][face] + row_in_face
        v = spans.window[chosen, 0][face] + row_in_face
        place = which[face]
        key0 = offsets[place] + (v - extents[place, 0]) * widths[place] - extents[place, 2] + spans.left[row]
        steps0 = spans.left[row] - spans.window[chosen, 2][face]
        near0 = spans.base[row] + self.slope[chosen][face] * steps0.astype(np.float32)

        extent = spans.extent[row]
        rep = np.repeat(np.arange(len(row)), extent)
        step = np.arange(len(rep)) - (np.cumsum(extent) - extent)[rep]
        key = key0[rep] + step
        global_face = chosen[face]
        depth = near0[rep] + self.slope[global_face][rep] * step.astype(np.float32)
        owner_face = global_face[rep]
        covered = self._covered(chosen, face, rep, v, step + spans.left[row][rep])
        near, name = np.zeros(offsets[-1], np.float32), np.zeros(offsets[-1], np.int32)
        is_decal = (self.f.decal_of[global_face] >= 0)[rep]
        solid = covered & ~is_decal
        key_solid, depth_solid = key[solid], depth[solid]
        np.maximum.at(near, key_solid, depth_solid)
        front = depth_solid == near[key_solid]
        name[key_solid[front]] = FIRST_FACE + owner_face[solid][front]
        # Decals lie on whatever face of their range is in front; the last one drawn is on top.
        painted = covered & is_decal
        key_painted, face_painted = key[painted], owner_face[painted]
        below = name[key_painted]
        on = (below >= FIRST_FACE + self.f.decal_of[face_painted]) & (below < FIRST_FACE + face_painted)
        name[key_painted[on]] = FIRST_FACE + face_painted[on]
        return [
            _Shape(
                int(y0), int(x0), near[first:last].reshape(h, w), name[first:last].reshape(h, w)
            )
            for (y0, _, x0, _), h, w, first, last in zip(
                extents, heights, widths, offsets[:-1], offsets[1:], strict=True
            )
        ]  # fmt: skip

    def _covered(
        self, chosen: np.ndarray, face: np.ndarray, rep: np.ndarray, v: np.ndarray, u: np.ndarray
    ) -> np.ndarray:
        """False where a cut-out texture has a hole."""
        covered = np.ones(len(rep), bool)
        for local in np.flatnonzero(self.f.material[chosen] == TEXTURE).tolist():
            i = int(chosen[local])
            if i not in self.sheets:
                continue
            top, _, left, _ = self.windows[i]
            self.papered[i] = (top, left)
            if self.sheets[i].texture.cutout:
                low, high = np.searchsorted(face, [local, local + 1])
                first, last = np.searchsorted(rep, [low, high])
                covered[first:last] = self.sheets[i].holds()[v[rep[first:last]] - top, u[first:last] - left]
        return covered


def rasterise(
    f: Faces, placements: list[Placement], K: np.ndarray, ground: np.ndarray, width: int, height: int, reach: float
) -> Buffers:
    """Draw all faces over the ground plane, whose inverse depth is `ground` = (a, b, c), as far as `reach` metres."""
    u, v = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    inverse = (ground[0] * u).astype(np.float32) + (ground[1] * v + ground[2]).astype(np.float32)
    ground_seen = inverse > 1 / reach
    inverse *= ground_seen
    face = ground_seen.astype(np.int32)
    drawer = _Rasteriser(f, placements, K, width, height)
    alone, seen = np.zeros(len(placements), int), np.zeros(len(placements), int)
    pixels = np.concatenate([[0], np.cumsum(drawer.spans.extent)])[drawer.spans.first]
    present = np.unique(f.owner).tolist()
    # Those that count are drawn by themselves first: what each would cover alone tells how much of it is hidden.
    labelled = [p for p in present if placements[p].label is not None]
    small, shapes = [], {}
    for p in labelled:
        start, stop = drawer.bounds[p], drawer.bounds[p + 1]
        if pixels[stop] - pixels[start] < _PIXELS_WORTH_A_CALL * (stop - start):
            small.append(p)
        else:
            shapes[p] = drawer.alone(p)
    shapes.update(zip(small, drawer.all_alone(small), strict=True))
    for p, shape in shapes.items():
        alone[p] = np.count_nonzero(shape.near)
        shown = shape.near > inverse[shape.window]
        np.copyto(inverse[shape.window], shape.near, where=shown)
        np.copyto(face[shape.window], shape.name, where=shown)
    clutter = [p for p in present if placements[p].label is None]
    for p in sorted(clutter, key=lambda p: placements[p].box[2]):
        drawer.draw(p, inverse, face, 0, 0)
    for p, shape in shapes.items():
        names = face[shape.window]
        first, last = FIRST_FACE + drawer.bounds[p], FIRST_FACE + drawer.bounds[p + 1]
        seen[p] = np.count_nonzero((names >= first) & (names < last))
    return Buffers(face, inverse, alone, seen, {i: (*drawer.papered[i], drawer.sheets[i]) for i in drawer.papered})
