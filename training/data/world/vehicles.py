"""Cars and vans."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from training.data.world.mesh import DARK, GLASS, LAMP, METAL, PAINT, PLATE, RUBBER, TAIL, Builder, Mesh

CAR_STYLES, VAN_STYLES = 8, 3


def _disc(
    builder: Builder,
    x: float,
    height: float,
    z: float,
    radius_x: float,
    radius_y: float,
    material: int,
    side: int,
    decal_of: int = -1,
) -> int:
    """An octagon at side +-1 in three quads; returns the index of the first."""
    first = builder.here
    turn = np.pi / 8 + np.arange(8) * np.pi / 4
    ring = np.stack([x + radius_x * np.cos(turn), height + radius_y * np.sin(turn), np.full(8, z)], axis=1)
    for a, b, c, d in ((7, 0, 1, 2), (7, 2, 3, 6), (6, 3, 4, 5)):
        builder.quad(ring[[a, b, c, d]], material, (x, height, z - side), decal_of)
    return first


def _wheel(builder: Builder, x: float, radius_x: float, radius_y: float, side: int) -> None:
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


_SILL = 0.14
# Levels from the sill to the top edge: share of the way up, half-width share.
_LEVELS = ((0.0, 0.90), (0.12, 0.97), (0.55, 1.0), (1.0, 0.93))
_MIDDLE = (0, 0.3, 0)
_Station = tuple[float, float, float]  # x, half-width share, height of the top edge


def _stations(body: _Body) -> list[_Station]:
    """Along the length, from the tail to the front."""
    return [
        (-0.5, 0.80, body.deck * 0.97),
        (-0.47, 0.94, body.deck),
        (-0.36, 1.0, body.waist),
        (0.0, 1.0, body.waist),
        (body.windscreen[0], 1.0, body.waist),
        (0.42, 0.96, body.hood * 1.04),
        (0.485, 0.86, body.hood * 0.96),
        (0.5, 0.72, body.hood * 0.86),
    ]


def _point(station: _Station, level: tuple[float, float], side: int) -> tuple[float, float, float]:
    x, width, top = station
    share, narrow = level
    return (x, _SILL + (top - _SILL) * share, side * 0.49 * width * narrow)


def _vehicle(body: _Body, panel_van: bool) -> Mesh:
    b = Builder()
    stations = _stations(body)
    _end(b, stations[0], front=False)
    _end(b, stations[-1], front=True)
    for side in (-1, 1):
        _flank(b, body, stations, side, doors=1 if panel_van else 2)
    for a, c in pairwise(stations):
        b.quad(
            [_point(s, _LEVELS[-1], side) for s, side in ((a, -1), (c, -1), (c, 1), (a, 1))],
            PAINT,
            (0, 0.0, 0),
        )
    b.box((-0.46, 0.08, -0.40), (0.46, 0.16, 0.40), DARK)
    for wheel in body.wheels:
        for side in (-1, 1):
            _wheel(b, wheel, 0.083, 0.215 if not panel_van else 0.16, side)
    _cabin(b, body, panel_van)
    return b.mesh()


def _end(b: Builder, station: _Station, front: bool) -> None:
    """The front or the tail, with plate, lamps and grille."""
    first = b.here
    for low, high in pairwise(_LEVELS):
        b.quad(
            [_point(station, level, side) for level, side in ((low, -1), (low, 1), (high, 1), (high, -1))],
            DARK if low is _LEVELS[0] else PAINT,
            _MIDDLE,
        )
    x, width, top = station
    half = 0.49 * width

    def panel(z0: float, z1: float, s0: float, s1: float, material: int) -> None:
        low, high = (_SILL + (top - _SILL) * share for share in (s0, s1))
        b.quad([(x, low, z0), (x, low, z1), (x, high, z1), (x, high, z0)], material, _MIDDLE, first)

    panel(-0.13, 0.13, 0.34, 0.5, PLATE)
    if front:
        panel(-0.5 * half, 0.5 * half, 0.6, 0.86, DARK)
        panel(-0.75 * half, 0.75 * half, 0.14, 0.3, DARK)
        for side in (-1, 1):
            panel(*sorted((side * 0.58 * half, side * 0.97 * half)), 0.62, 0.92, LAMP)
    else:
        panel(-half, half, 0.1, 0.16, DARK)
        for side in (-1, 1):
            panel(*sorted((side * 0.66 * half, side * 0.97 * half)), 0.6, 0.96, TAIL)


def _flank(b: Builder, body: _Body, stations: list[_Station], side: int, doors: int) -> None:
    """One side up to the waist, with wheel arches, the lamps' ends and the gaps of doors."""
    first = b.here
    for a, c in pairwise(stations):
        for low, high in pairwise(_LEVELS):
            b.quad(
                [_point(s, level, side) for s, level in ((a, low), (c, low), (c, high), (a, high))],
                DARK if low is _LEVELS[0] else PAINT,
                _MIDDLE,
            )
    z = side * 0.49
    for wheel in body.wheels:
        _disc(b, wheel, 0.215, z, 0.098, 0.25, DARK, side, first)
    # Lamps reach around the corners: the tail's are taller and red, the front's are flat and bright.
    for x0, x1, s0, s1, material in ((-0.5, -0.455, 0.6, 0.96, TAIL), (0.43, 0.5, 0.68, 0.95, LAMP)):
        top = body.deck if x0 < 0 else body.hood
        y0, y1 = _SILL + (top - _SILL) * s0, _SILL + (top - _SILL) * s1
        b.quad([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], material, _MIDDLE, first)
    for x in (0.15, -0.12)[:doors]:
        b.quad([(x, 0.2, z), (x + 0.004, 0.2, z), (x + 0.004, body.waist, z), (x, body.waist, z)], DARK, _MIDDLE, first)


def _cabin(b: Builder, body: _Body, panel_van: bool) -> None:
    centre = (0, 0.7, 0)
    (x_front, x_roof_front), (x_rear, x_roof_rear) = body.windscreen, body.rear_window
    foot, roof = 0.49 * 0.91, 0.49 * body.roof_width
    y0, y1, y2 = body.waist - 0.01, 0.965, 1.0

    def side_point(front: bool, t: float, side: int) -> np.ndarray:
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
        side_corners = [side_point(f, t, side) for f, t in ((False, 0), (True, 0), (True, 1), (False, 1))]
        first = b.here
        b.quad(side_corners, PAINT, centre)
        edges = np.linspace(0.05, 0.97, body.pillars + 1) if not panel_van else np.array([0.72, 0.97])
        for low, high in pairwise(edges):
            window = ((low, 0.08), (high - 0.025, 0.08), (high - 0.025, 0.88), (low, 0.88))
            b.quad([_within(side_corners, s, t) for s, t in window], GLASS, centre, first)
    # The roof is vaulted a little: a second, smaller step on top of the windows.
    lower = [side_point(f, 1, s) for f, s in ((False, -1), (True, -1), (True, 1), (False, 1))]
    upper = [(p[0] * 0.9 + 0.1 * (x_roof_front + x_roof_rear) / 2, y2, p[2] * 0.8) for p in lower]
    b.prism(lower, upper, PAINT)


def _within(corners: list[np.ndarray], s: float, t: float) -> np.ndarray:
    """The point of a quad at these shares of its sides: s along the first, t along the second."""
    a, b, c, d = corners
    return (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * d + s * c)


@cache
def car(style: int) -> Mesh:
    """One of CAR_STYLES cars."""
    return _vehicle(_CARS[style % CAR_STYLES], False)


@cache
def van(style: int) -> Mesh:
    """One of VAN_STYLES vans; the last has windows all along."""
    return _vehicle(_VANS[style % VAN_STYLES], style % VAN_STYLES < 2)
