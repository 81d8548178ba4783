"""Road users: how large they are, what they wear, how they move."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass

import numpy as np

from training.data.world import people, textures, vehicles
from training.data.world.mesh import Mesh
from training.data.world.street import Street
from training.data.world.textures import Texture

# KITTI's training labels (3712 frames): mean and standard deviation of length, width, height in metres.
SIZES = {
    "Car": ((3.89, 1.62, 1.53), (0.44, 0.106, 0.138)),
    "Van": ((5.15, 1.91, 2.19), (0.60, 0.15, 0.25)),
    "Pedestrian": ((0.82, 0.63, 1.77), (0.20, 0.10, 0.12)),
    "Cyclist": ((1.77, 0.57, 1.72), (0.12, 0.10, 0.10)),
}


@dataclass(frozen=True, eq=False)
class Actor:
    """One thing on the street.

    label:   KITTI type, or None for clutter
    along, lateral: metres along the road at time 0 and to the right of the centre line
    heading: radians to the right of the road's direction
    size:    length, width, height in metres
    lift:    metres of its bottom above the ground
    speed:   metres per second (along the road, to the right)
    colours: (MATERIALS, 3) RGB 0 to 255 (TEXTURE: a tint around 1)
    steps:   one mesh, or STRIDES of them that take turns as it moves
    paper:   texture, with the metres that one repeat covers (0: once over each side)
    shadow:  casts one
    identity: the same for one thing at all times, another for every thing of a street
    in_convoy: drives in the camera's own lane: stops when the camera stops
    """

    label: str | None
    along: float
    lateral: float
    heading: float
    size: tuple[float, float, float]
    colours: np.ndarray
    steps: tuple[Mesh, ...]
    lift: float = 0.0
    speed: tuple[float, float] = (0.0, 0.0)
    paper: Texture | None = None
    paper_metres: float = 0.0
    shadow: bool = True
    phase: float = 0.0
    identity: int = -1
    in_convoy: bool = False


def _size(street: Street, rng: np.random.Generator, label: str) -> tuple[float, float, float]:
    means, deviations = SIZES[label]
    common, *own = rng.standard_normal(4).tolist()
    factor = rng.random()
    if street.size_range is not None:
        low, high = street.size_range
        factor = low + (high - low) * factor
        return tuple(m * factor * (1 + 0.04 * max(-2.5, min(2.5, z))) for m, z in zip(means, own, strict=True))
    # Length, width and height go together a little, as they do in KITTI.
    mixed = (max(-2.5, min(2.5, 0.5 * common + 0.87 * z)) * street.size_spread for z in own)
    return tuple(max(m + d * z, 0.45 * m) for m, d, z in zip(means, deviations, mixed, strict=True))


_PAINTS = (
    (22, 23, 26), (38, 40, 45), (150, 153, 158), (190, 193, 197), (225, 226, 226), (95, 98, 104), (28, 40, 75),
    (120, 18, 22), (30, 62, 45), (52, 80, 130), (175, 160, 125), (200, 150, 20),
)  # fmt: skip
_PAINT_SHARES = (0.18, 0.30, 0.44, 0.58, 0.69, 0.79, 0.87, 0.92, 0.94, 0.97, 0.99, 1.0)  # cumulative
_SKINS = ((205, 160, 135), (180, 130, 100), (120, 82, 60), (85, 58, 45))


def colours_of(rng: np.random.Generator, person: bool) -> np.ndarray:
    """(MATERIALS, 3) RGB, with paint as cars have it or as a person's things do."""
    draw = rng.random(20).tolist()
    if person:
        paint = [20 + 150 * draw[i] for i in range(3)]
    else:
        gain = 0.8 + 0.35 * draw[0]
        paint = [gain * v for v in _PAINTS[bisect(_PAINT_SHARES, draw[1] * 0.9999)]]
    glass, dark, rubber, metal = 14 + 26 * draw[3], 14 + 20 * draw[4], 14 + 16 * draw[5], 70 + 95 * draw[6]
    lamp, tail, tan, black = 170 + 65 * draw[7], 120 + 95 * draw[8], 0.85 + 0.25 * draw[9], 12 + 78 * draw[10]
    if draw[11] < 0.4:
        shirt = [15 + 215 * draw[i] for i in (12, 13, 14)]
    else:
        shirt = [(12 + 198 * draw[12]) * (0.85 + 0.3 * draw[i]) for i in (13, 14, 15)]
    trousers = [(14 + 96 * draw[16]) * (0.8 + 0.45 * draw[i]) for i in (17, 18, 19)]
    # In the order of the materials: paint, glass, dark, rubber, metal, lamp, tail, plate, skin, shirt, ...
    return np.array(
        [
            paint, (0.95 * glass, glass, 1.08 * glass), (dark,) * 3, (rubber,) * 3, (metal,) * 3, (lamp,) * 3,
            (tail, 18, 18), (225, 225, 215), [tan * v for v in _SKINS[int(4 * draw[2])]], shirt, trousers,
            (black, 0.85 * black, 0.7 * black), (1.0, 1.0, 1.0),
        ]
    )  # fmt: skip


def vehicle(
    street: Street,
    rng: np.random.Generator,
    along: float,
    lateral: float,
    heading: float,
    speed: tuple[float, float] = (0.0, 0.0),
) -> Actor:
    """A car, or now and then a van."""
    label = "Van" if rng.random() < 0.085 else "Car"
    size = _size(street, rng, label)
    style = int(rng.integers(1 << 16))
    mesh = vehicles.van(style % vehicles.VAN_STYLES) if label == "Van" else vehicles.car(style % vehicles.CAR_STYLES)
    return Actor(label, along, lateral, heading, size, colours_of(rng, False), (mesh,), speed=speed)


_WALK = tuple(people.pedestrian(i) for i in range(people.STRIDES))
_RIDE = tuple(people.cyclist(i) for i in range(people.STRIDES))


def walker(
    street: Street,
    rng: np.random.Generator,
    along: float,
    lateral: float,
    heading: float,
    speed: tuple[float, float] = (0.0, 0.0),
) -> Actor:
    """A person on foot."""
    phase = rng.uniform(0, people.STRIDES)
    steps = _WALK
    size = _size(street, rng, "Pedestrian")
    return Actor("Pedestrian", along, lateral, heading, size, colours_of(rng, True), steps, speed=speed, phase=phase)


def rider(
    street: Street,
    rng: np.random.Generator,
    along: float,
    lateral: float,
    heading: float,
    speed: tuple[float, float] = (0.0, 0.0),
) -> Actor:
    """A cyclist."""
    size = _size(street, rng, "Cyclist")
    phase = rng.uniform(0, people.STRIDES)
    wheel = textures.pool(street.seed).bicycle_wheel
    colours = colours_of(rng, True)
    return Actor("Cyclist", along, lateral, heading, size, colours, _RIDE, speed=speed, paper=wheel, phase=phase)
