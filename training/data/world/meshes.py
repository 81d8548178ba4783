"""Shapes of everything that stands in the world, as quads in a unit box that a placement scales, turns and moves.

Unit axes are those of a box at rotation_y 0: x forward, y down, z to the side, each from -0.5 to 0.5, so that an
object's shape touches its label's box on all six sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np

# Materials of a mesh: each placement brings one colour for every one of them.
PAINT, GLASS, DARK, RUBBER, METAL, LAMP, TAIL, PLATE, SKIN, SHIRT, TROUSERS, HAIR, TEXTURE = range(13)
MATERIALS = 13
GLOSS = np.array([0.18, 0.45, 0.02, 0.0, 0.3, 0.3, 0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
CAR_STYLES, VAN_STYLES, STRIDES = 8, 3, 8


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


class _Builder:
    """Collects quads given as points (x forward, height, z side), height 0 at the bottom and 1 at the top."""

    def __init__(self) -> None:
        self.rows: list[tuple[np.ndarray, int, int, bool, np.ndarray]] = []

    @property
    def here(self) -> int:
        return len(self.rows)

    def quad(self, points, material, centre=None, decal_of=-1, two_sided=False, uv=None) -> None:
        points = np.array(points, float)
        points[:, 1] = 0.5 - points[:, 1]
        uv = np.array([(0, 1), (1, 1), (1, 0), (0, 0)] if uv is None else uv, float)
        if centre is not None:
            outward = points.mean(axis=0) - (centre[0], 0.5 - centre[1], centre[2])
            normal = np.cross(points[2] - points[0], points[3] - points[1])
            if normal @ outward < 0:
                points, uv = points[::-1], uv[::-1]
        self.rows.append((points, material, decal_of, two_sided, uv))

    def prism(self, lower, upper, material, top=None, bottom=None) -> None:
        """A closed shape between two rings of equally many points."""
        lower, upper = np.array(lower, float), np.array(upper, float)
        centre = (lower.mean(axis=0) + upper.mean(axis=0)) / 2
        count = len(lower)
        for i in range(count):
            j = (i + 1) % count
            self.quad([lower[i], lower[j], upper[j], upper[i]], material, centre)
        for ring, cap in ((upper, top), (lower, bottom)):
            cap = material if cap is None else cap
            for i in range(1, count - 1, 2):
                self.quad([ring[0], ring[i], ring[i + 1], ring[min(i + 2, count - 1)]], cap, centre)

    def box(self, low, high, material) -> None:
        (x0, y0, z0), (x1, y1, z1) = low, high
        self.prism(
            [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)],
            material,
        )

    def limb(self, start, end, radius0, radius1, material, sides=6, depth=1.0) -> None:
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


def _disc(builder, x, height, z, radius_x, radius_y, material, side, decal_of=-1) -> int:
    """An octagon at side +-1 in three quads; returns the index of the first."""
    first = builder.here
    turn = np.pi / 8 + np.arange(8) * np.pi / 4
    ring = np.stack([x + radius_x * np.cos(turn), height + radius_y * np.sin(turn), np.full(8, z)], axis=1)
    for a, b, c, d in ((7, 0, 1, 2), (7, 2, 3, 6), (6, 3, 4, 5)):
        builder.quad(ring[[a, b, c, d]], material, (x, height, z - side), decal_of)
    return first


def _wheel(builder, x, radius_x, radius_y, side) -> None:
    z = 0.5 * side
    # The tread is seen from the front and from behind, below the bumper.
    inner = z - 0.13 * side
    builder.box(
        (x - 0.42 * radius_x, 0.0, min(z * 0.995, inner)),
        (x + 0.42 * radius_x, radius_y, max(z * 0.995, inner)),
        RUBBER,
    )
    first = _disc(builder, x, radius_y, z, radius_x * 1.08, radius_y * 1.08, RUBBER, side)
    _disc(builder, x, radius_y, z, radius_x * 0.66, radius_y * 0.66, METAL, side, first)
    _disc(builder, x, radius_y, z, radius_x * 0.2, radius_y * 0.2, DARK, side, first)


@dataclass(frozen=True)
class _Body:
    """A vehicle's side view, in shares of its length (x, front is +0.5) and height."""

    windscreen: tuple[float, float]  # x of its foot and of its top
    rear_window: tuple[float, float]  # x of its foot and of its top
    hood: float  # height of the hood's front edge
    waist: float
    deck: float  # height of the tail's edge
    roof_width: float
    wheels: tuple[float, float]
    pillars: int


_CARS = (
    _Body((0.20, 0.04), (-0.47, -0.36), 0.50, 0.60, 0.60, 0.78, (0.31, -0.30), 3),  # hatchback
    _Body((0.17, 0.02), (-0.34, -0.20), 0.50, 0.60, 0.62, 0.76, (0.30, -0.29), 2),  # saloon
    _Body((0.18, 0.03), (-0.49, -0.43), 0.50, 0.60, 0.60, 0.78, (0.31, -0.29), 3),  # estate
    _Body((0.27, 0.10), (-0.48, -0.42), 0.54, 0.62, 0.60, 0.80, (0.32, -0.31), 3),  # people carrier
    _Body((0.19, 0.06), (-0.48, -0.40), 0.58, 0.64, 0.62, 0.82, (0.30, -0.30), 3),  # off-roader
    _Body((0.23, 0.07), (-0.45, -0.28), 0.49, 0.60, 0.60, 0.74, (0.33, -0.32), 2),  # small car
    _Body((0.14, -0.02), (-0.38, -0.24), 0.48, 0.60, 0.60, 0.72, (0.30, -0.30), 2),  # coupe
    _Body((0.22, 0.07), (-0.46, -0.33), 0.52, 0.61, 0.62, 0.79, (0.32, -0.31), 3),  # compact
)
_VANS = (
    _Body((0.34, 0.22), (-0.495, -0.48), 0.46, 0.54, 0.52, 0.86, (0.33, -0.30), 2),
    _Body((0.36, 0.20), (-0.495, -0.485), 0.48, 0.52, 0.50, 0.84, (0.32, -0.32), 3),
    _Body((0.30, 0.18), (-0.49, -0.47), 0.48, 0.56, 0.54, 0.86, (0.32, -0.30), 1),
)


def _vehicle(body: _Body, panel_van: bool) -> Mesh:
    b = _Builder()
    # Stations along the length: x, half-width share, height of the top edge.
    stations = [
        (-0.5, 0.80, body.deck * 0.97),
        (-0.47, 0.94, body.deck),
        (-0.36, 1.0, body.waist),
        (0.0, 1.0, body.waist),
        (body.windscreen[0], 1.0, body.waist),
        (0.42, 0.96, body.hood * 1.04),
        (0.485, 0.86, body.hood * 0.96),
        (0.5, 0.72, body.hood * 0.86),
    ]
    # Levels from the sill to the top edge: share of the way up, half-width share.
    levels = [(0.0, 0.90), (0.12, 0.97), (0.55, 1.0), (1.0, 0.93)]
    sill = 0.14

    def point(station, level, side):
        x, width, top = station
        share, narrow = level
        return (x, sill + (top - sill) * share, side * 0.49 * width * narrow)

    ends = []
    for x_end, station in ((-0.5, stations[0]), (0.5, stations[-1])):
        first = b.here
        for low, high in pairwise(levels):
            b.quad(
                [point(station, low, -1), point(station, low, 1), point(station, high, 1), point(station, high, -1)],
                DARK if low is levels[0] else PAINT,
                (0, 0.3, 0),
            )
        ends.append((x_end, first, station))
        x, width, top = station
        half = 0.49 * width
        up = lambda share, top=top: sill + (top - sill) * share  # noqa: E731

        def panel(z0, z1, s0, s1, material, x=x, up=up, first=first):
            b.quad([(x, up(s0), z0), (x, up(s0), z1), (x, up(s1), z1), (x, up(s1), z0)], material, (0, 0.3, 0), first)

        panel(-0.13, 0.13, 0.34, 0.5, PLATE)
        if x_end > 0:
            panel(-0.5 * half, 0.5 * half, 0.6, 0.86, DARK)
            panel(-0.75 * half, 0.75 * half, 0.14, 0.3, DARK)
            for side in (-1, 1):
                panel(*sorted((side * 0.58 * half, side * 0.97 * half)), 0.62, 0.92, LAMP)
        else:
            panel(-half, half, 0.1, 0.16, DARK)
            for side in (-1, 1):
                panel(*sorted((side * 0.66 * half, side * 0.97 * half)), 0.6, 0.96, TAIL)
    for side in (-1, 1):
        first = b.here
        for k in range(len(stations) - 1):
            for low, high in pairwise(levels):
                material = DARK if low is levels[0] else PAINT
                a, c = stations[k], stations[k + 1]
                b.quad(
                    [point(a, low, side), point(c, low, side), point(c, high, side), point(a, high, side)],
                    material,
                    (0, 0.3, 0),
                )
        z = side * 0.49
        for wheel in body.wheels:
            _arch(b, wheel, z, side, first)
        # Lamps reach around the corners: the tail's are taller and red, the front's are flat and bright.
        for x0, x1, s0, s1, material in ((-0.5, -0.455, 0.6, 0.96, TAIL), (0.43, 0.5, 0.68, 0.95, LAMP)):
            top = body.deck if x0 < 0 else body.hood
            y0, y1 = sill + (top - sill) * s0, sill + (top - sill) * s1
            b.quad([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], material, (0, 0.3, 0), first)
        for x in (0.15, -0.12)[: 1 if panel_van else 2]:
            b.quad(
                [(x, 0.2, z), (x + 0.004, 0.2, z), (x + 0.004, body.waist, z), (x, body.waist, z)],
                DARK,
                (0, 0.3, 0),
                first,
            )
    for a, c in pairwise(stations):
        b.quad(
            [point(a, levels[-1], -1), point(c, levels[-1], -1), point(c, levels[-1], 1), point(a, levels[-1], 1)],
            PAINT,
            (0, 0.0, 0),
        )
    b.box((-0.46, 0.08, -0.40), (0.46, 0.16, 0.40), DARK)
    for wheel in body.wheels:
        for side in (-1, 1):
            _wheel(b, wheel, 0.083, 0.215 if not panel_van else 0.16, side)
    _cabin(b, body, panel_van)
    return b.mesh()


def _arch(b: _Builder, x: float, z: float, side: int, first: int) -> None:
    _disc(b, x, 0.215, z, 0.098, 0.25, DARK, side, first)


def _cabin(b: _Builder, body: _Body, panel_van: bool) -> None:
    centre = (0, 0.7, 0)
    (x_front, x_roof_front), (x_rear, x_roof_rear) = body.windscreen, body.rear_window
    foot, roof = 0.49 * 0.91, 0.49 * body.roof_width
    y0, y1, y2 = body.waist - 0.01, 0.965, 1.0

    def ring(x_low, x_high, y, t, half):
        return x_low + (x_high - x_low) * t, y, half

    def side_point(front: bool, t: float, side: int):
        """A point on the slanted pillar, t from waist to roof edge."""
        x = x_front + (x_roof_front - x_front) * t if front else x_rear + (x_roof_rear - x_rear) * t
        return np.array([x, y0 + (y1 - y0) * t, side * (foot + (roof - foot) * t)])

    for front in (True, False):
        corners = [side_point(front, 0, -1), side_point(front, 0, 1), side_point(front, 1, 1), side_point(front, 1, -1)]
        first = b.here
        b.quad(corners, PAINT, centre)
        if front or not panel_van:
            inset = [
                side_point(front, t, s * 1) * (1, 1, 0.88) for t, s in ((0.08, -1), (0.08, 1), (0.9, 1), (0.9, -1))
            ]
            b.quad(inset, GLASS, centre, first)
    for side in (-1, 1):
        rear0, front0, front1, rear1 = (
            side_point(f, t, side) for f, t in ((False, 0), (True, 0), (True, 1), (False, 1))
        )
        first = b.here
        b.quad([rear0, front0, front1, rear1], PAINT, centre)
        mix = lambda s, t, q=(rear0, front0, front1, rear1): (  # noqa: E731
            (1 - t) * ((1 - s) * q[0] + s * q[1]) + t * ((1 - s) * q[3] + s * q[2])
        )
        edges = np.linspace(0.05, 0.97, body.pillars + 1) if not panel_van else np.array([0.72, 0.97])
        for low, high in pairwise(edges):
            b.quad(
                [mix(low, 0.08), mix(high - 0.025, 0.08), mix(high - 0.025, 0.88), mix(low, 0.88)], GLASS, centre, first
            )
    # The roof is vaulted a little: a second, smaller step on top of the windows.
    lower = [side_point(f, 1, s) for f, s in ((False, -1), (True, -1), (True, 1), (False, 1))]
    upper = [(p[0] * 0.9 + 0.1 * (x_roof_front + x_roof_rear) / 2, y2, p[2] * 0.8) for p in lower]
    b.prism(lower, upper, PAINT)


@cache
def car(style: int) -> Mesh:
    """One of CAR_STYLES cars."""
    return _vehicle(_CARS[style % CAR_STYLES], False)


@cache
def van(style: int) -> Mesh:
    """One of VAN_STYLES vans; the last has windows all along."""
    return _vehicle(_VANS[style % VAN_STYLES], style % VAN_STYLES < 2)


def _fit(mesh: Mesh, quads: np.ndarray) -> Mesh:
    low, high = quads.min(axis=(0, 1)), quads.max(axis=(0, 1))
    middle = (mesh.quads - (low + high) / 2) / (high - low)
    return Mesh(middle, mesh.material, mesh.decal_of, mesh.two_sided, mesh.uv)


@cache
def pedestrian(phase: int) -> Mesh:
    """A person at step `phase` of STRIDES: at phase 0 the stride is widest and touches the box."""
    return _fit(_person(phase), _person(0).quads)


def _person(phase: int) -> Mesh:
    b = _Builder()
    swing = np.cos(2 * np.pi * phase / STRIDES)
    # Metres of a person 1.76 m tall, divided by the box at the end.
    for side in (-1, 1):
        foot = 0.30 * swing * side
        lift = 0.05 * (1 - abs(swing)) * (side > 0)
        knee = (0.55 * foot + 0.06, 0.5, side * 0.10)
        b.limb((foot, 0.05 + lift, side * 0.09), knee, 0.055, 0.075, TROUSERS)
        b.limb(knee, (0.0, 0.92, side * 0.085), 0.075, 0.095, TROUSERS)
        b.box((foot - 0.08, lift, side * 0.09 - 0.05), (foot + 0.18, 0.08 + lift, side * 0.09 + 0.05), HAIR)
        hand = (-0.24 * swing * side + 0.04, 0.82, side * 0.27)
        elbow = (-0.12 * swing * side - 0.03, 1.12, side * 0.26)
        b.limb(hand, elbow, 0.04, 0.045, SKIN)
        b.limb(elbow, (0.0, 1.42, side * 0.21), 0.05, 0.065, SHIRT)
    b.limb((0, 0.85, 0), (0, 1.12, 0), 0.17, 0.16, SHIRT, 8, 0.68)
    b.limb((0, 1.12, 0), (0.0, 1.38, 0), 0.16, 0.215, SHIRT, 8, 0.6)
    b.limb((0, 1.38, 0), (0.01, 1.48, 0), 0.215, 0.07, SHIRT, 8, 0.6)
    b.limb((0.01, 1.46, 0), (0.03, 1.54, 0), 0.055, 0.055, SKIN)
    b.limb((0.035, 1.52, 0), (0.03, 1.66, 0), 0.07, 0.092, SKIN, 8)
    b.limb((0.015, 1.63, 0), (0.01, 1.70, 0), 0.102, 0.095, HAIR, 8)
    b.limb((0.01, 1.70, 0), (0.01, 1.76, 0), 0.095, 0.045, HAIR, 8)
    b.limb((-0.03, 1.54, 0), (-0.03, 1.64, 0), 0.075, 0.085, HAIR, 6, 0.8)
    return b.mesh(fit=False)


@cache
def cyclist(phase: int) -> Mesh:
    """A rider on a bicycle, pedals at step `phase` of STRIDES."""
    return _fit(_rider(phase), _rider(0).quads)


def _bar(b: _Builder, start, end, thick: float, material: int) -> None:
    """A tube as two crossed strips, cheap and never edge-on."""
    start, end = np.array(start, float), np.array(end, float)
    along = (end - start) / np.linalg.norm(end - start)
    for across in (np.array([-along[1], along[0], 0.0]), np.array([0.0, 0.0, 1.0])):
        if np.linalg.norm(across) < 0.5:
            across = np.array([1.0, 0.0, 0.0])
        offset = across * thick / 2
        b.quad([start - offset, end - offset, end + offset, start + offset], material, two_sided=True)


def _bicycle(b: _Builder) -> None:
    for x in (-0.53, 0.53):
        b.quad([(x - 0.35, 0, 0), (x + 0.35, 0, 0), (x + 0.35, 0.7, 0), (x - 0.35, 0.7, 0)], TEXTURE, two_sided=True)
        b.box((x - 0.24, 0.0, -0.022), (x + 0.24, 0.03, 0.022), RUBBER)
        b.box((x - 0.35, 0.2, -0.022), (x - 0.31, 0.5, 0.022), RUBBER)
        b.box((x + 0.31, 0.2, -0.022), (x + 0.35, 0.5, 0.022), RUBBER)
        b.box((x - 0.24, 0.67, -0.022), (x + 0.24, 0.7, 0.022), RUBBER)
    crank, saddle, head, rear, front = (
        (-0.08, 0.3, 0),
        (-0.2, 0.92, 0),
        (0.36, 0.85, 0),
        (-0.53, 0.35, 0),
        (0.53, 0.35, 0),
    )
    for start, end in ((crank, saddle), (crank, head), (saddle, head), (rear, crank), (rear, saddle), (head, front)):
        _bar(b, start, end, 0.045, PAINT)
    _bar(b, (0.36, 0.85, 0), (0.30, 1.04, 0), 0.045, METAL)
    b.box((0.26, 1.02, -0.27), (0.31, 1.06, 0.27), DARK)
    b.box((-0.32, 0.92, -0.07), (-0.08, 0.97, 0.07), DARK)


def _rider(phase: int) -> Mesh:
    b = _Builder()
    _bicycle(b)
    turn = 2 * np.pi * phase / STRIDES + np.pi / 2
    for side in (-1, 1):
        foot = np.array(
            [-0.08 + 0.17 * np.cos(turn + side * np.pi / 2), 0.3 + 0.15 * np.sin(turn + side * np.pi / 2), side * 0.12]
        )
        hip = np.array([-0.18, 0.98, side * 0.09])
        knee = (foot + hip) / 2 + (0.2, 0.1, side * 0.03)
        b.limb(foot, knee, 0.05, 0.065, TROUSERS)
        b.limb(knee, hip, 0.07, 0.095, TROUSERS)
        b.box(
            (foot[0] - 0.06, foot[1] - 0.05, foot[2] - 0.045), (foot[0] + 0.18, foot[1] + 0.04, foot[2] + 0.045), HAIR
        )
        shoulder, hand = np.array([0.06, 1.42, side * 0.2]), np.array([0.28, 1.06, side * 0.25])
        elbow = (shoulder + hand) / 2 + (-0.04, -0.06, side * 0.05)
        b.limb(hand, elbow, 0.04, 0.045, SKIN)
        b.limb(elbow, shoulder, 0.05, 0.065, SHIRT)
    b.limb((-0.2, 0.93, 0), (-0.1, 1.2, 0), 0.17, 0.17, SHIRT, 8, 0.75)
    b.limb((-0.1, 1.2, 0), (0.06, 1.46, 0), 0.17, 0.19, SHIRT, 8, 0.7)
    b.limb((0.06, 1.44, 0), (0.11, 1.54, 0), 0.07, 0.055, SKIN)
    b.limb((0.12, 1.5, 0), (0.13, 1.63, 0), 0.07, 0.09, SKIN, 8)
    b.limb((0.105, 1.61, 0), (0.1, 1.74, 0), 0.105, 0.06, HAIR, 8)
    return b.mesh(fit=False)


@cache
def parked_bicycle() -> Mesh:
    """A bicycle without rider: clutter that must not be labelled."""
    b = _Builder()
    _bicycle(b)
    return b.mesh()


@cache
def block(material: int = TEXTURE) -> Mesh:
    """A cuboid with each side (not the top) papered once with its texture."""
    b = _Builder()
    h = 0.5
    for x, z, x2, z2 in ((-h, -h, h, -h), (h, -h, h, h), (h, h, -h, h), (-h, h, -h, -h)):
        b.quad([(x, 0, z), (x2, 0, z2), (x2, 1, z2), (x, 1, z)], material, (0, 0.5, 0))
    b.quad([(-h, 1, -h), (h, 1, -h), (h, 1, h), (-h, 1, h)], DARK if material == TEXTURE else material, (0, 0.5, 0))
    return b.mesh(fit=False)


@cache
def house() -> Mesh:
    """A papered cuboid under a gabled roof whose ridge runs along x."""
    b = _Builder()
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
    b = _Builder()
    b.limb((0, 0, 0), (0, 1, 0), 0.5, 0.45, METAL)
    return b.mesh()


@cache
def board() -> Mesh:
    """An upright papered sheet whose faces look along x, both ways."""
    b = _Builder()
    b.quad([(0, 0, -0.5), (0, 0, 0.5), (0, 1, 0.5), (0, 1, -0.5)], TEXTURE, two_sided=True)
    return b.mesh(fit=False)


@cache
def crown() -> Mesh:
    """A tree's crown: three crossed sheets of leaves."""
    b = _Builder()
    for turn in (np.pi / 2, np.pi / 6, -np.pi / 6):
        x, z = 0.5 * np.cos(turn), 0.5 * np.sin(turn)
        b.quad([(-x, 0, -z), (x, 0, z), (x, 1, z), (-x, 1, -z)], TEXTURE, two_sided=True)
    return b.mesh(fit=False)
