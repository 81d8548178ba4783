"""What stands where along one street at any time.

A street is endless. It is cut into chunks of `CHUNK` metres, and what stands in a chunk depends on (seed, street,
layer, chunk) alone, so that any stretch can be asked for at any time. Each layer is a conveyor: all it carries
moves along the road with the layer's speed. Lateral positions are metres to the right of the centre line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from training.data.world import textures
from training.data.world.cast import Actor, rider, vehicle, walker
from training.data.world.clutter import furniture, verge
from training.data.world.road import CHUNK
from training.data.world.street import Street

_STREAM = 2
_MIDDLE = 1 << 24  # chunks lie on both sides of 0; streams and identities are not negative


def actors(street: Street, start: float, end: float, time: float, driven: float | None = None) -> Iterator[Actor]:
    """All actors whose position along the road lies in [start, end) metres at this time, and a little around.

    Args:
        street: where they are.
        start, end: metres along the road.
        time: seconds.
        driven: seconds that the camera, and the convoy in its lane, have driven at full speed; None for `time`.
    """
    for layer in range(-2 if street.crossing is not None else -1, len(street.layers)):
        pace = street.layers[layer][1] if layer >= 0 else 0.0
        moved = pace * (time if driven is None or layer else driven)
        low, high = (start - moved) // CHUNK, (end - moved) // CHUNK
        for chunk in range(int(low), int(high) + 1):
            yield from _chunk(street, layer, chunk)
            if layer == -2:
                break


@lru_cache(maxsize=512)
def _chunk(street: Street, layer: int, chunk: int) -> tuple[Actor, ...]:
    stream = [street.seed, street.index, _STREAM, layer + 2, chunk + _MIDDLE]
    rng = np.random.default_rng(np.random.SeedSequence(stream))
    if layer == -2:
        found = _crossing(street, rng)
    elif layer == -1:
        found = _standing(street, rng, chunk * CHUNK)
    else:
        found = _moving(street, rng, layer, chunk * CHUNK)
    first = (layer + 2 << 25 | chunk + _MIDDLE) << 12
    found = [replace(actor, identity=first + i, in_convoy=layer == 0) for i, actor in enumerate(found)]
    if street.crossing is not None and layer > -2:
        # Nothing else stands where others cross before the waiting camera.
        return tuple(a for a in found if a.label is None or abs(a.along - street.crossing) > 4.5)
    return tuple(found)


def _moving(street: Street, rng: np.random.Generator, layer: int, start: float) -> list[Actor]:
    headway, (lateral, pace), kind = street.traffic[layer], street.layers[layer], street.kinds[layer]
    found: list[Actor] = []
    if not np.isfinite(headway):
        return found
    gap = {"vehicle": 7.5, "walker": 0.9, "rider": 3.0}[kind]
    make = {"vehicle": vehicle, "walker": walker, "rider": rider}[kind]
    backward = pace < 0 or (lateral < 0 and kind == "vehicle")
    heading = np.pi if backward else 0.0
    position = start + rng.exponential(headway)
    while position < start + CHUNK - gap / 2:
        sway = rng.normal(0, {"vehicle": 0.2, "walker": 0.25, "rider": 0.1}[kind])
        turn = rng.normal(0, {"vehicle": 0.02, "walker": 0.2, "rider": 0.06}[kind])
        if layer > 0 or not -4 < position < 8:
            found.append(make(street, rng, position, lateral + sway, heading + turn, (pace, 0.0)))
        position += gap + rng.exponential(headway)
    return found


def _crossing(street: Street, rng: np.random.Generator) -> list[Actor]:
    """Road users on their way across, before the waiting camera; each lane of them has one speed."""
    found: list[Actor] = []
    for offset, make, pace, chance, gap in (
        (-3.0, vehicle, rng.uniform(4, 9), 0.35, 14.0),
        (0.4, rider, rng.uniform(2, 5), 0.4, 5.0),
        (2.2, walker, rng.uniform(0.8, 1.6), 0.6, 1.5),
        (3.4, walker, rng.uniform(0.8, 1.6), 0.5, 1.5),
    ):
        side = 1 if rng.random() < 0.5 else -1
        if rng.random() > chance:
            continue
        # Long enough a queue for half a minute of clip.
        lateral = rng.uniform(-9, 9)
        for _ in range(int(rng.integers(1, 5))):
            along = street.crossing + offset + rng.normal(0, 0.15)
            found.append(make(street, rng, along, lateral, side * np.pi / 2 + rng.normal(0, 0.06), (0.0, side * pace)))
            lateral -= side * (gap + rng.exponential(gap))
    return found


def _standing(street: Street, rng: np.random.Generator, start: float) -> list[Actor]:
    found: list[Actor] = []
    profile, pool = street.profile, textures.pool(street.seed)
    for side, outward in ((0, -1), (1, 1)):
        kerb = (profile.left, profile.right)[side]
        walk = profile.pavement[side]
        beyond = kerb + outward * (walk + 0.3)
        if profile.parking[side]:
            found += _parked(street, rng, start, kerb - outward * 1.15, street.parked[side], 0.0 if side else np.pi)
        found += verge(street, rng, pool, start, beyond, outward)
        found += furniture(street, rng, pool, start, kerb, outward, walk)
        for _ in range(rng.poisson(street.walkers * CHUNK / 100)):
            lateral = kerb + outward * rng.uniform(0.5, max(walk, 2.0))
            found.append(walker(street, rng, start + rng.uniform(0, CHUNK), lateral, rng.uniform(-np.pi, np.pi)))
    return found


def _parked(
    street: Street, rng: np.random.Generator, start: float, lateral: float, share: float, heading: float
) -> list[Actor]:
    found, position = [], start + rng.uniform(2.2, 4)
    while position < start + CHUNK - 2.6:
        if rng.random() < share:
            turn = heading + rng.normal(0, 0.03) + (np.pi if rng.random() < 0.12 else 0.0)
            found.append(vehicle(street, rng, position, lateral + rng.normal(0, 0.12), turn))
        position += rng.uniform(5.4, 6.6)
    return found
