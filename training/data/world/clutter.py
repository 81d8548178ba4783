"""What stands about and is not labelled: houses, trees, hedges, posts, signs, bicycles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data.world import mesh, people, props
from training.data.world.cast import Actor, colours_of, vehicle
from training.data.world.mesh import Mesh
from training.data.world.road import CHUNK
from training.data.world.street import Street
from training.data.world.textures import Pool, Texture


def _clutter(
    along: float,
    lateral: float,
    size: Sequence[float] | np.ndarray,
    colours: np.ndarray,
    mesh: Mesh,
    heading: float = 0.0,
    lift: float = 0.0,
    paper: Texture | None = None,
    metres: float = 0.0,
    shadow: bool = True,
) -> Actor:
    return Actor(
        None, float(along), float(lateral), float(heading), tuple(map(float, size)), colours, (mesh,), float(lift),
        paper=paper, paper_metres=metres, shadow=shadow,
    )  # fmt: skip


def tint(rng: np.random.Generator, spread: float = 0.15) -> np.ndarray:
    """Materials' colours, and a tint for textures that strays from 1 by about `spread`."""
    colours = colours_of(rng, True)
    colours[mesh.TEXTURE] = rng.uniform(1 - 2 * spread, 1 + spread) * rng.uniform(1 - spread / 2, 1 + spread / 2, 3)
    return colours


def verge(
    street: Street, rng: np.random.Generator, pool: Pool, start: float, edge: float, outward: float
) -> list[Actor]:
    """Houses in a row, or what lines a road outside of towns."""
    found: list[Actor] = []
    if street.profile.verge_is_built:
        position = start
        setback = rng.uniform(0, 1) ** 2 * 6
        while position < start + CHUNK:
            length = min(rng.uniform(9, 22), start + CHUNK - position)
            if length > 5 and rng.random() < 0.9:
                height, depth = rng.uniform(6, 15), rng.uniform(8, 12)
                colours = tint(rng)
                colours[mesh.PAINT] = np.array([120, 70, 55]) * rng.uniform(0.5, 1.1)
                colours[mesh.SHIRT] = colours[mesh.TEXTURE] * 165
                body = props.house() if rng.random() < 0.6 else props.block()
                lateral = edge + outward * (setback + depth / 2 + rng.uniform(0, 1))
                facade = pool.facades[rng.integers(len(pool.facades))]
                size = (length - 0.1, depth, height)
                found.append(
                    _clutter(position + length / 2, lateral, size, colours, body, lift=-0.4, paper=facade, metres=12.0)
                )
            position += length + (rng.uniform(2, 8) if rng.random() < 0.35 else 0)
        if setback > 2 and rng.random() < 0.5:
            found.append(_lining(rng, pool, start, edge + outward * 0.4))
        if setback > 3 and rng.random() < 0.5:
            turn = rng.choice([0.5, -0.5]) * np.pi + rng.normal(0, 0.1)
            found.append(vehicle(street, rng, start + rng.uniform(4, CHUNK - 4), edge + outward * 3.0, turn))
        return found
    if rng.random() < 0.45:
        found.append(_lining(rng, pool, start, edge + outward * rng.uniform(0.3, 4)))
    for _ in range(rng.poisson(street.trees * CHUNK / 100 * 1.5)):
        found += _tree(rng, pool, start + rng.uniform(0, CHUNK), edge + outward * rng.uniform(1.5, 16))
    if rng.random() < 0.12:
        # A lay-by: cars parked side by side, nose or tail to the road.
        position, turn = start + rng.uniform(2, 8), rng.choice([0.5, -0.5]) * np.pi
        for _ in range(int(rng.integers(2, 7))):
            found.append(vehicle(street, rng, position, edge + outward * 4.5, turn + rng.normal(0, 0.05)))
            position += rng.uniform(2.5, 3.2)
    if rng.random() < 0.25:
        length, height = rng.uniform(8, 20), rng.uniform(4, 9)
        facade = pool.facades[rng.integers(len(pool.facades))]
        lateral = edge + outward * rng.uniform(14, 24)
        size = (length, 9.0, height)
        found.append(
            _clutter(start + CHUNK / 2, lateral, size, tint(rng), props.house(), lift=-0.4, paper=facade, metres=12.0)
        )
    return found


def _lining(rng: np.random.Generator, pool: Pool, start: float, lateral: float) -> Actor:
    """A hedge, wall or fence along the whole chunk."""
    kind = rng.random()
    if kind < 0.45:
        size, paper, metres = (CHUNK - rng.uniform(0, 8), 0.8, rng.uniform(0.8, 2.0)), pool.hedges[rng.integers(4)], 2.0
    elif kind < 0.75:
        size, paper, metres = (CHUNK - 0.1, 0.3, rng.uniform(0.7, 1.8)), pool.wall, 2.0
    else:
        size = (CHUNK - 0.1, 1.0, rng.uniform(0.9, 1.5))
        along = start + CHUNK / 2
        return _clutter(
            along, lateral, (1.0, size[0], size[2]), tint(rng), props.board(), np.pi / 2, paper=pool.fence,
            metres=2.0, shadow=False,
        )  # fmt: skip
    colours = tint(rng)
    colours[mesh.DARK] = paper.rgb.mean(axis=(0, 1)) * colours[mesh.TEXTURE]
    return _clutter(start + CHUNK / 2, lateral, size, colours, props.block(), lift=-0.2, paper=paper, metres=metres)


def _tree(rng: np.random.Generator, pool: Pool, along: float, lateral: float) -> list[Actor]:
    height, trunk = rng.uniform(4, 13), rng.uniform(1.2, 2.6)
    width = height * rng.uniform(0.45, 0.85)
    bark = tint(rng)
    bark[mesh.METAL] = np.array([75, 62, 50]) * rng.uniform(0.6, 1.3)
    thick = rng.uniform(0.15, 0.45)
    leaves = pool.foliage[rng.integers(len(pool.foliage))]
    crown = _clutter(
        along,
        lateral,
        (width, width, height),
        tint(rng, 0.2),
        props.crown(),
        rng.uniform(0, np.pi),
        trunk * 0.8,
        leaves,
    )
    return [_clutter(along, lateral, (thick, thick, trunk + height * 0.3), bark, props.post(), shadow=False), crown]


def furniture(
    street: Street, rng: np.random.Generator, pool: Pool, start: float, kerb: float, outward: float, walk: float
) -> list[Actor]:
    """Lamp posts, signs, bollards, bins, bicycles and trees beside the kerb."""
    found: list[Actor] = []
    lateral = kerb + outward * 0.45
    if rng.random() < 0.5:
        grey = tint(rng)
        along = start + rng.uniform(0, CHUNK)
        found.append(_clutter(along, lateral, (0.16, 0.16, rng.uniform(4, 8)), grey, props.post()))
    for _ in range(rng.poisson(0.7)):
        along, height = start + rng.uniform(0, CHUNK), rng.uniform(1.9, 2.6)
        found.append(_clutter(along, lateral, (0.07, 0.07, height + 0.6), tint(rng), props.post(), shadow=False))
        sign = pool.signs[rng.integers(len(pool.signs))]
        size = (0.05, rng.uniform(0.5, 0.8), 0.65)
        found.append(
            _clutter(along - 0.06, lateral, size, tint(rng), props.board(), lift=height, paper=sign, shadow=False)
        )
    if walk and rng.random() < 0.25:
        for i in range(int(rng.integers(2, 7))):
            size = (0.12, 0.12, rng.uniform(0.75, 1.0))
            found.append(_clutter(start + 1.7 * i, kerb + outward * 0.3, size, tint(rng), props.post()))
    if walk and rng.random() < 0.3:
        size = rng.uniform((0.4, 0.4, 0.7), (1.3, 0.8, 1.5))
        along = start + rng.uniform(0, CHUNK)
        found.append(_clutter(along, kerb + outward * (walk - 0.3), size, tint(rng), props.block(mesh.SHIRT)))
    if walk and rng.random() < 0.2:
        along = start + rng.uniform(0, CHUNK - 4)
        for i in range(int(rng.integers(1, 5))):
            found.append(
                _clutter(
                    along + 0.6 * i, kerb + outward * (walk - 0.6), (1.75, 0.55, 1.05), colours_of(rng, True),
                    people.parked_bicycle(), np.pi / 2 + rng.normal(0, 0.2), paper=pool.bicycle_wheel,
                )
            )  # fmt: skip
    if street.profile.verge_is_built:
        for _ in range(rng.poisson(street.trees * CHUNK / 100)):
            found += _tree(rng, pool, start + rng.uniform(0, CHUNK), kerb + outward * rng.uniform(0.6, 1.0))
    return found
