"""Shapes as quads in a unit box that a placement scales, turns and moves.

Unit axes are those of a box at rotation_y 0: x forward, y down, z to the side, each from -0.5 to 0.5, so that an
object's shape touches its label's box on all six sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Points = Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray

# Materials of a mesh: each placement brings one colour for every one of them.
PAINT, GLASS, DARK, RUBBER, METAL, LAMP, TAIL, PLATE, SKIN, SHIRT, TROUSERS, HAIR, TEXTURE = range(13)
MATERIALS = 13
GLOSS = np.array([0.18, 0.45, 0.02, 0.0, 0.3, 0.3, 0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class Mesh:
    """F quads.

    quads:     (F, 4, 3) corners in unit coordinates, wound so that the normal points outward
    material:  (F,) material of each quad
    decal_of:  (F,) -1, or the first quad of the range before it onto which it is painted
    two_sided: (F,) seen from behind as well
    uv:        (F, 4, 2) texture coordinates as shares of the picture, for TEXTURE quads
    """

    quads: np.ndarray
    material: np.ndarray
    decal_of: np.ndarray
    two_sided: np.ndarray
    uv: np.ndarray

    @cached_property
    def corners(self) -> np.ndarray:
        """(3, V) distinct corners: forward, down, side."""
        return np.unique(self.quads.reshape(-1, 3), axis=0).T

    @cached_property
    def edges(self) -> np.ndarray:
        """(E, 2) the quads' edges as indices into `corners`."""
        _, index = np.unique(self.quads.reshape(-1, 3), axis=0, return_inverse=True)
        return index.reshape(-1, 4)[:, [[0, 1], [1, 2], [2, 3], [3, 0]]].reshape(-1, 2)


class Builder:
    """Collects quads given as points (x forward, height, z side), height 0 at the bottom and 1 at the top."""

    def __init__(self) -> None:
        self.rows: list[tuple[np.ndarray, int, int, bool, np.ndarray]] = []

    @property
    def here(self) -> int:
        """The index that the next quad gets."""
        return len(self.rows)

    def quad(
        self,
        points: Points,
        material: int,
        centre: Sequence[float] | np.ndarray | None = None,
        decal_of: int = -1,
        two_sided: bool = False,
    ) -> None:
        """Add a quad of four corners.

        Args:
            points: (4, 3) corners in order, in the unit box but with heights from 0 (bottom) to 1.
            material: Which colour of a placement it takes.
            centre: A point inside the shape: the quad is turned to face away from it. None: as the corners are ordered.
            decal_of: The quad that this one lies on, -1 for none.
            two_sided: Whether it is seen from behind.
        """
        points = np.array(points, float)
        points[:, 1] = 0.5 - points[:, 1]
        uv = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], float)
        if centre is not None:
            outward = points.mean(axis=0) - (centre[0], 0.5 - centre[1], centre[2])
            normal = np.cross(points[2] - points[0], points[3] - points[1])
            if normal @ outward < 0:
                points, uv = points[::-1], uv[::-1]
        self.rows.append((points, material, decal_of, two_sided, uv))

    def prism(self, lower: Points, upper: Points, material: int) -> None:
        """A closed shape between two rings of equally many points."""
        lower, upper = np.array(lower, float), np.array(upper, float)
        centre = (lower.mean(axis=0) + upper.mean(axis=0)) / 2
        count = len(lower)
        for i in range(count):
            j = (i + 1) % count
            self.quad([lower[i], lower[j], upper[j], upper[i]], material, centre)
        for ring in (upper, lower):
            for i in range(1, count - 1, 2):
                self.quad([ring[0], ring[i], ring[i + 1], ring[min(i + 2, count - 1)]], material, centre)

    def box(self, low: Sequence[float], high: Sequence[float], material: int) -> None:
        """A box between two opposite corners."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        self.prism(
            [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)],
            material,
        )

    def limb(
        self,
        start: Sequence[float] | np.ndarray,
        end: Sequence[float] | np.ndarray,
        radius0: float,
        radius1: float,
        material: int,
        sides: int = 6,
        depth: float = 1.0,
    ) -> None:
        """A tapered prism around a near-vertical axis, its rings horizontal."""
        turn = np.arange(sides) * 2 * np.pi / sides
        ring = np.stack([np.cos(turn) * depth, 0 * turn, np.sin(turn)], axis=1)
        self.prism(np.array(start) + radius0 * ring, np.array(end) + radius1 * ring, material)

    def mesh(self, fit: bool = True) -> Mesh:
        quads = np.array([row[0] for row in self.rows])
        if fit:
            low, high = quads.min(axis=(0, 1)), quads.max(axis=(0, 1))
            quads = (quads - low) / (high - low) - 0.5
        return Mesh(
            quads,
            np.array([row[1] for row in self.rows]),
            np.array([row[2] for row in self.rows]),
            np.array([row[3] for row in self.rows]),
            np.array([row[4] for row in self.rows]),
        )
