"""Simple shapes: blocks, houses, posts, boards and the crowns of trees."""

from __future__ import annotations

from functools import cache

import numpy as np

from training.data.world.mesh import DARK, METAL, PAINT, SHIRT, TEXTURE, Builder, Mesh


@cache
def block(material: int = TEXTURE) -> Mesh:
    """A cuboid with each side (not the top) papered once with its texture."""
    b = Builder()
    h = 0.5
    for x, z, x2, z2 in ((-h, -h, h, -h), (h, -h, h, h), (h, h, -h, h), (-h, h, -h, -h)):
        b.quad([(x, 0, z), (x2, 0, z2), (x2, 1, z2), (x, 1, z)], material, (0, 0.5, 0))
    b.quad([(-h, 1, -h), (h, 1, -h), (h, 1, h), (-h, 1, h)], DARK if material == TEXTURE else material, (0, 0.5, 0))
    return b.mesh(fit=False)


@cache
def house() -> Mesh:
    """A papered cuboid under a gabled roof whose ridge runs along x."""
    b = Builder()
    h, eaves = 0.5, 0.78
    for x, z, x2, z2 in ((-h, -h, h, -h), (h, -h, h, h), (h, h, -h, h), (-h, h, -h, -h)):
        b.quad([(x, 0, z), (x2, 0, z2), (x2, eaves, z2), (x, eaves, z)], TEXTURE, (0, 0.4, 0))
    for side in (-1, 1):
        b.quad([(-h, eaves, side * h), (h, eaves, side * h), (h, 1, 0), (-h, 1, 0)], PAINT, (0, 0.4, 0))
        b.quad([(side * h, eaves, -h), (side * h, eaves, h), (side * h, 1, 0), (side * h, 1, 0)], SHIRT, (0, 0.4, 0))
    return b.mesh(fit=False)


@cache
def post() -> Mesh:
    """A hexagonal post."""
    b = Builder()
    b.limb((0, 0, 0), (0, 1, 0), 0.5, 0.45, METAL)
    return b.mesh()


@cache
def board() -> Mesh:
    """An upright papered sheet whose faces look along x, both ways."""
    b = Builder()
    b.quad([(0, 0, -0.5), (0, 0, 0.5), (0, 1, 0.5), (0, 1, -0.5)], TEXTURE, two_sided=True)
    return b.mesh(fit=False)


@cache
def crown() -> Mesh:
    """A tree's crown: three crossed sheets of leaves."""
    b = Builder()
    for turn in (np.pi / 2, np.pi / 6, -np.pi / 6):
        x, z = 0.5 * np.cos(turn), 0.5 * np.sin(turn)
        b.quad([(-x, 0, -z), (x, 0, z), (x, 1, z), (-x, 1, -z)], TEXTURE, two_sided=True)
    return b.mesh(fit=False)
