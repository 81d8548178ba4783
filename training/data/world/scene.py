"""What stands where along one street: parked and moving road users, houses, trees and other clutter.

A street is endless. It is cut into chunks of `CHUNK` metres, and what stands in a chunk depends on (seed, street,
layer, chunk) alone, so that any stretch can be asked for at any time. Each layer is a conveyor: all it carries
moves along the road with the layer's speed. Lateral positions are metres to the right of the centre line.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.data.world import meshes, road, textures
from training.data.world.meshes import Mesh
from training.data.world.textures import Texture

CHUNK = 30.0
BEHIND = 12.0  # metres behind the camera at which things end
_STREET_STREAM, _CHUNK_STREAM = 1, 2

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


@dataclass(frozen=True, eq=False)
class Street:
    """The choices that hold for a whole street; see `street`."""

    seed: int
    index: int
    size_spread: float
    size_range: tuple[float, float] | None
    profile: road.Profile
    bend: tuple[float, float, float]  # amplitude (m), wave length / 2 pi (m), phase of the centre line
    parked: tuple[float, float]  # share of parking places taken, left and right
    traffic: tuple[float, ...]  # mean headway (m) in each moving layer, inf for none
    speed: float  # the camera's, m/s
    layers: tuple[tuple[float, float], ...]  # (lateral, speed) of each moving layer
    kinds: tuple[str, ...]  # what each moving layer carries
    walkers: float  # people standing about, per 100 m and side
    trees: float  # per 100 m and side
    backdrop: tuple[float, ...]  # heights (m) of the woods on the horizon, left, ahead and right; 0 for none
    crossing: float | None  # metres ahead of the standing camera at which others cross, None if it drives

    def centre(self, along: float) -> float:
        """Sideways position of the centre line in the world frame, metres."""
        amplitude, scale, phase = self.bend
        return amplitude * math.sin(along / scale + phase)

    def direction(self, along: float) -> float:
        """The road's heading in the world frame, radians to the right."""
        amplitude, scale, phase = self.bend
        return math.atan(amplitude / scale * math.cos(along / scale + phase))


def street(seed: int, index: int, size_spread: float, size_range: tuple[float, float] | None) -> Street:
    """Street `index` of the world with this seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, _STREET_STREAM]))
    profile = road.profile(seed, int(rng.integers(road.PROFILES)))
    halted = rng.random() < 0.18
    speed = 0.0 if halted else float(rng.uniform(5, 14))
    scale = rng.uniform(45, 150)
    slope = rng.normal(0, 0.035)
    bend = (float(slope * scale), float(scale), float(rng.uniform(0, 2 * np.pi)))
    right_edge = profile.right - profile.parking[1] - 0.45
    left_edge = profile.left + profile.parking[0] + 0.45
    layers, kinds, traffic = [], [], []

    def layer(kind: str, lateral: float, pace: float, headway: float) -> None:
        layers.append((float(lateral), 0.0 if halted and kind == "vehicle" else float(pace)))
        kinds.append(kind)
        traffic.append(float(headway))

    dense = rng.uniform(10, 60)
    for i, lane in enumerate(profile.own):
        layer("vehicle", lane, speed if i == 0 else speed * rng.uniform(1.0, 1.25), dense * rng.uniform(0.8, 2.2))
    for lane in profile.oncoming:
        layer("vehicle", lane, -rng.uniform(5, 14), dense * rng.uniform(0.7, 2.5))
    crowd = rng.uniform(8, 80) if rng.random() < 0.4 else np.inf
    for kerb, width, outward in ((profile.left, profile.pavement[0], -1), (profile.right, profile.pavement[1], 1)):
        width = max(width, 1.8)
        for share, pace in ((0.42, rng.uniform(1.0, 1.6)), (0.8, -rng.uniform(1.0, 1.6))):
            layer("walker", kerb + outward * share * width, pace, crowd * rng.uniform(1.0, 3.0))
    riders = rng.uniform(12, 50) if rng.random() < 0.4 else np.inf
    layer("rider", right_edge, rng.uniform(3, 6), riders)
    layer("rider", left_edge, -rng.uniform(3, 6), riders * rng.uniform(1, 3))
    parked = tuple(float(rng.uniform(0.15, 0.95)) for _ in range(2))
    walkers = float(rng.uniform(1, 8) if rng.random() < 0.3 else 0)
    trees = float(rng.uniform(0, 5) if profile.verge_is_built else rng.uniform(2, 14))
    crossing = float(rng.uniform(9, 22)) if halted else None
    backdrop = tuple(float(h) for h in rng.uniform(5, 26, 3) * (rng.random(3) < 0.85))
    return Street(
        seed, index, size_spread, size_range, profile, bend, parked, tuple(traffic), speed,
        tuple(layers), tuple(kinds), walkers, trees, backdrop, crossing,
    )  # fmt: skip


def actors(street: Street, start: float, end: float, time: float) -> Iterator[Actor]:
    """All actors whose position along the road lies in [start, end) metres at this time, and a little around."""
    for layer in range(-2 if street.crossing is not None else -1, len(street.layers)):
        pace = street.layers[layer][1] if layer >= 0 else 0.0
        low, high = (start - pace * time) // CHUNK, (end - pace * time) // CHUNK
        for chunk in range(int(low), int(high) + 1):
            yield from _chunk(street, layer, chunk)
            if layer == -2:
                break


@lru_cache(maxsize=512)
def _chunk(street: Street, layer: int, chunk: int) -> tuple[Actor, ...]:
    stream = [street.seed, street.index, _CHUNK_STREAM, layer + 2, chunk + (1 << 24)]
    rng = np.random.default_rng(np.random.SeedSequence(stream))
    if layer == -2:
        found = _crossing(street, rng)
    elif layer == -1:
        found = _standing(street, rng, chunk * CHUNK)
    else:
        found = _moving(street, rng, layer, chunk * CHUNK)
    if street.crossing is not None and layer > -2:
        # Nothing else stands where others cross before the waiting camera.
        return tuple(a for a in found if a.label is None or abs(a.along - street.crossing) > 4.5)
    return tuple(found)


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


def _colours(rng: np.random.Generator, person: bool) -> np.ndarray:
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


def _vehicle(street, rng, along, lateral, heading, speed=(0.0, 0.0)) -> Actor:
    label = "Van" if rng.random() < 0.085 else "Car"
    size = _size(street, rng, label)
    style = int(rng.integers(1 << 16))
    mesh = meshes.van(style % meshes.VAN_STYLES) if label == "Van" else meshes.car(style % meshes.CAR_STYLES)
    return Actor(label, along, lateral, heading, size, _colours(rng, False), (mesh,), speed=speed)


_WALK = tuple(meshes.pedestrian(i) for i in range(meshes.STRIDES))
_RIDE = tuple(meshes.cyclist(i) for i in range(meshes.STRIDES))


def _walker(street, rng, along, lateral, heading, speed=(0.0, 0.0)) -> Actor:
    phase = rng.uniform(0, meshes.STRIDES)
    steps = _WALK
    size = _size(street, rng, "Pedestrian")
    return Actor("Pedestrian", along, lateral, heading, size, _colours(rng, True), steps, speed=speed, phase=phase)


def _rider(street, rng, along, lateral, heading, speed=(0.0, 0.0)) -> Actor:
    size = _size(street, rng, "Cyclist")
    phase = rng.uniform(0, meshes.STRIDES)
    wheel = textures.pool(street.seed).bicycle_wheel
    colours = _colours(rng, True)
    return Actor("Cyclist", along, lateral, heading, size, colours, _RIDE, speed=speed, paper=wheel, phase=phase)


def _moving(street: Street, rng: np.random.Generator, layer: int, start: float) -> list[Actor]:
    headway, (lateral, pace), kind = street.traffic[layer], street.layers[layer], street.kinds[layer]
    found: list[Actor] = []
    if not np.isfinite(headway):
        return found
    gap = {"vehicle": 7.5, "walker": 0.9, "rider": 3.0}[kind]
    make = {"vehicle": _vehicle, "walker": _walker, "rider": _rider}[kind]
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
        (-3.0, _vehicle, rng.uniform(4, 9), 0.35, 14.0),
        (0.4, _rider, rng.uniform(2, 5), 0.4, 5.0),
        (2.2, _walker, rng.uniform(0.8, 1.6), 0.6, 1.5),
        (3.4, _walker, rng.uniform(0.8, 1.6), 0.5, 1.5),
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
        found += _verge(street, rng, pool, start, beyond, outward)
        found += _furniture(street, rng, pool, start, kerb, outward, walk)
        for _ in range(rng.poisson(street.walkers * CHUNK / 100)):
            lateral = kerb + outward * rng.uniform(0.5, max(walk, 2.0))
            found.append(_walker(street, rng, start + rng.uniform(0, CHUNK), lateral, rng.uniform(-np.pi, np.pi)))
    return found


def _parked(street, rng, start, lateral, share, heading) -> list[Actor]:
    found, position = [], start + rng.uniform(2.2, 4)
    while position < start + CHUNK - 2.6:
        if rng.random() < share:
            turn = heading + rng.normal(0, 0.03) + (np.pi if rng.random() < 0.12 else 0.0)
            found.append(_vehicle(street, rng, position, lateral + rng.normal(0, 0.12), turn))
        position += rng.uniform(5.4, 6.6)
    return found


def _clutter(along, lateral, size, colours, mesh, heading=0.0, lift=0.0, paper=None, metres=0.0, shadow=True) -> Actor:
    return Actor(
        None, float(along), float(lateral), float(heading), tuple(map(float, size)), colours, (mesh,), float(lift),
        paper=paper, paper_metres=metres, shadow=shadow,
    )  # fmt: skip


def _tint(rng: np.random.Generator, spread: float = 0.15) -> np.ndarray:
    colours = _colours(rng, True)
    colours[meshes.TEXTURE] = rng.uniform(1 - 2 * spread, 1 + spread) * rng.uniform(1 - spread / 2, 1 + spread / 2, 3)
    return colours


def _verge(street, rng, pool, start, edge, outward) -> list[Actor]:
    """Houses in a row, or what lines a road outside of towns."""
    found: list[Actor] = []
    if street.profile.verge_is_built:
        position = start
        setback = rng.uniform(0, 1) ** 2 * 6
        while position < start + CHUNK:
            length = min(rng.uniform(9, 22), start + CHUNK - position)
            if length > 5 and rng.random() < 0.9:
                height, depth = rng.uniform(6, 15), rng.uniform(8, 12)
                colours = _tint(rng)
                colours[meshes.PAINT] = np.array([120, 70, 55]) * rng.uniform(0.5, 1.1)
                colours[meshes.SHIRT] = colours[meshes.TEXTURE] * 165
                mesh = meshes.house() if rng.random() < 0.6 else meshes.block()
                lateral = edge + outward * (setback + depth / 2 + rng.uniform(0, 1))
                facade = pool.facades[rng.integers(len(pool.facades))]
                size = (length - 0.1, depth, height)
                found.append(
                    _clutter(position + length / 2, lateral, size, colours, mesh, lift=-0.4, paper=facade, metres=12.0)
                )
            position += length + (rng.uniform(2, 8) if rng.random() < 0.35 else 0)
        if setback > 2 and rng.random() < 0.5:
            found.append(_lining(rng, pool, start, edge + outward * 0.4))
        if setback > 3 and rng.random() < 0.5:
            turn = rng.choice([0.5, -0.5]) * np.pi + rng.normal(0, 0.1)
            found.append(_vehicle(street, rng, start + rng.uniform(4, CHUNK - 4), edge + outward * 3.0, turn))
        return found
    if rng.random() < 0.45:
        found.append(_lining(rng, pool, start, edge + outward * rng.uniform(0.3, 4)))
    for _ in range(rng.poisson(street.trees * CHUNK / 100 * 1.5)):
        found += _tree(rng, pool, start + rng.uniform(0, CHUNK), edge + outward * rng.uniform(1.5, 16))
    if rng.random() < 0.12:
        # A lay-by: cars parked side by side, nose or tail to the road.
        position, turn = start + rng.uniform(2, 8), rng.choice([0.5, -0.5]) * np.pi
        for _ in range(int(rng.integers(2, 7))):
            found.append(_vehicle(street, rng, position, edge + outward * 4.5, turn + rng.normal(0, 0.05)))
            position += rng.uniform(2.5, 3.2)
    if rng.random() < 0.25:
        length, height = rng.uniform(8, 20), rng.uniform(4, 9)
        facade = pool.facades[rng.integers(len(pool.facades))]
        lateral = edge + outward * rng.uniform(14, 24)
        size = (length, 9.0, height)
        found.append(
            _clutter(start + CHUNK / 2, lateral, size, _tint(rng), meshes.house(), lift=-0.4, paper=facade, metres=12.0)
        )
    return found


def _lining(rng, pool, start, lateral) -> Actor:
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
            along, lateral, (1.0, size[0], size[2]), _tint(rng), meshes.board(), np.pi / 2, paper=pool.fence,
            metres=2.0, shadow=False,
        )  # fmt: skip
    colours = _tint(rng)
    colours[meshes.DARK] = paper.rgb.mean(axis=(0, 1)) * colours[meshes.TEXTURE]
    return _clutter(start + CHUNK / 2, lateral, size, colours, meshes.block(), lift=-0.2, paper=paper, metres=metres)


def _tree(rng, pool, along, lateral) -> list[Actor]:
    height, trunk = rng.uniform(4, 13), rng.uniform(1.2, 2.6)
    width = height * rng.uniform(0.45, 0.85)
    bark = _tint(rng)
    bark[meshes.METAL] = np.array([75, 62, 50]) * rng.uniform(0.6, 1.3)
    thick = rng.uniform(0.15, 0.45)
    leaves = pool.foliage[rng.integers(len(pool.foliage))]
    crown = _clutter(
        along,
        lateral,
        (width, width, height),
        _tint(rng, 0.2),
        meshes.crown(),
        rng.uniform(0, np.pi),
        trunk * 0.8,
        leaves,
    )
    return [_clutter(along, lateral, (thick, thick, trunk + height * 0.3), bark, meshes.post(), shadow=False), crown]


def _furniture(street, rng, pool, start, kerb, outward, walk) -> list[Actor]:
    """Lamp posts, signs, bollards, bins, bicycles and trees beside the kerb."""
    found: list[Actor] = []
    lateral = kerb + outward * 0.45
    if rng.random() < 0.5:
        grey = _tint(rng)
        along = start + rng.uniform(0, CHUNK)
        found.append(_clutter(along, lateral, (0.16, 0.16, rng.uniform(4, 8)), grey, meshes.post()))
    for _ in range(rng.poisson(0.7)):
        along, height = start + rng.uniform(0, CHUNK), rng.uniform(1.9, 2.6)
        found.append(_clutter(along, lateral, (0.07, 0.07, height + 0.6), _tint(rng), meshes.post(), shadow=False))
        sign = pool.signs[rng.integers(len(pool.signs))]
        size = (0.05, rng.uniform(0.5, 0.8), 0.65)
        found.append(
            _clutter(along - 0.06, lateral, size, _tint(rng), meshes.board(), lift=height, paper=sign, shadow=False)
        )
    if walk and rng.random() < 0.25:
        for i in range(int(rng.integers(2, 7))):
            size = (0.12, 0.12, rng.uniform(0.75, 1.0))
            found.append(_clutter(start + 1.7 * i, kerb + outward * 0.3, size, _tint(rng), meshes.post()))
    if walk and rng.random() < 0.3:
        size = rng.uniform((0.4, 0.4, 0.7), (1.3, 0.8, 1.5))
        along = start + rng.uniform(0, CHUNK)
        found.append(_clutter(along, kerb + outward * (walk - 0.3), size, _tint(rng), meshes.block(meshes.SHIRT)))
    if walk and rng.random() < 0.2:
        along = start + rng.uniform(0, CHUNK - 4)
        for i in range(int(rng.integers(1, 5))):
            found.append(
                _clutter(
                    along + 0.6 * i, kerb + outward * (walk - 0.6), (1.75, 0.55, 1.05), _colours(rng, True),
                    meshes.parked_bicycle(), np.pi / 2 + rng.normal(0, 0.2), paper=pool.bicycle_wheel,
                )
            )  # fmt: skip
    if street.profile.verge_is_built:
        for _ in range(rng.poisson(street.trees * CHUNK / 100)):
            found += _tree(rng, pool, start + rng.uniform(0, CHUNK), kerb + outward * rng.uniform(0.6, 1.0))
    return found
