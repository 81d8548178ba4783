"""Road cross-sections and their ground pictures: lanes, parking strips, pavements and verges, with their markings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from training.data.world.textures import fractal

PROFILES = 24  # cross-sections in one world
CHUNK = 30.0  # metres of road that are furnished together
HALF_WIDTH = 32.0  # metres of ground to either side of the centre line
PERIOD = 24.0  # metres after which markings repeat along the road
_ACROSS, _ALONG = 20.0, 16.0  # texels per metre
_REDUCTIONS = ((1, 1), (4, 1), (16, 2), (64, 4))  # (along, across) of each level
_MARKING = 0.14  # metres, the width of a line
_STREAM = 0x60AD


@dataclass(frozen=True, eq=False)
class Profile:
    """One cross-section. Lateral positions in metres, positive to the right of the centre line.

    own, oncoming: centres of the lanes in driving direction (first is the camera's own) and against it
    left, right:   kerbs, where the pavement begins
    parking:       (left, right) width of the parking strips inside the kerbs, 0 where there is none
    pavement:      (left, right) width
    verge_is_built: houses behind the pavement, else grass and trees
    levels:        ground pictures (rows along, columns across) uint8 RGB, each coarser than the one before
    texels:        per level, texels per metre (along, across)
    """

    own: tuple[float, ...]
    oncoming: tuple[float, ...]
    left: float
    right: float
    parking: tuple[float, float]
    pavement: tuple[float, float]
    verge_is_built: bool
    levels: tuple[np.ndarray, ...]
    texels: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class _Lanes:
    """What is drawn first of a cross-section, metres; `forward` and `backward` count lanes."""

    width: float
    forward: int
    backward: int
    median: float
    parking: tuple[float, float]
    pavement: tuple[float, float]
    verge_is_built: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Lanes:
        width = rng.uniform(3.0, 3.7)
        built = bool(rng.random() < 0.6)
        forward, backward = 1 + int(rng.random() < 0.3), 1 + int(rng.random() < 0.25)
        median = rng.uniform(1.0, 3.0) if rng.random() < 0.2 else 0.0
        parking = tuple(2.2 if rng.random() < (0.65 if built else 0.2) else 0.0 for _ in range(2))
        pavement = tuple(rng.uniform(1.8, 4.5) if built or rng.random() < 0.6 else 0.0 for _ in range(2))
        return cls(width, forward, backward, median, parking, pavement, built)

    @property
    def own(self) -> tuple[float, ...]:
        return tuple(self.median / 2 + self.width * (i + 0.5) for i in range(self.forward))

    @property
    def oncoming(self) -> tuple[float, ...]:
        return tuple(-self.median / 2 - self.width * (i + 0.5) for i in range(self.backward))

    @property
    def kerbs(self) -> tuple[float, float]:
        """(left, right)"""
        left = -self.median / 2 - self.backward * self.width - self.parking[0] - 0.4
        return left, self.median / 2 + self.forward * self.width + self.parking[1] + 0.4


@lru_cache(maxsize=4 * PROFILES)
def profile(seed: int, index: int) -> Profile:
    """Cross-section `index` (0 to PROFILES - 1) of the world with this seed."""
    # The order of the draws, here and in what is called, makes the world: every frame depends on it.
    rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAM, index]))
    lanes = _Lanes.draw(rng)
    columns, rows = int(2 * HALF_WIDTH * _ACROSS), int(PERIOD * _ALONG)
    across = (np.arange(columns) + 0.5) / _ACROSS - HALF_WIDTH
    colour, rough = _surfaces(rng, lanes, across)
    grain = fractal(rng, rows, columns, 4, 6) * 0.5 + rng.standard_normal((rows, columns)).astype(np.float32) * 0.8
    picture = colour[None] * (1 + (rough * grain)[..., None])
    _mend(rng, lanes, across, picture)
    _paint_markings(rng, lanes, across, picture, grain)
    base = np.clip(picture, 0, 255).astype(np.uint8)
    levels = [
        base if (a, c) == (1, 1) else cv2.resize(base, (columns // c, max(1, rows // a)), interpolation=cv2.INTER_AREA)
        for a, c in _REDUCTIONS
    ]
    texels = tuple((len(level) / PERIOD, level.shape[1] / (2 * HALF_WIDTH)) for level in levels)
    return Profile(
        lanes.own,
        lanes.oncoming,
        *lanes.kerbs,
        lanes.parking,
        lanes.pavement,
        lanes.verge_is_built,
        tuple(levels),
        texels,
    )


def _surfaces(rng: np.random.Generator, lanes: _Lanes, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (columns, 3) and roughness (columns,) of asphalt, kerbs, pavement and verge at these lateral places."""
    asphalt = np.array([1.0, 1.0, 1.02]) * rng.uniform(75, 125)
    grass = np.array([78, 92, 42]) * rng.uniform(0.7, 1.2) * rng.uniform(0.92, 1.08, 3)
    slabs = np.array([140, 136, 130]) * rng.uniform(0.7, 1.15)
    colour = np.tile(slabs * 0.9 if lanes.verge_is_built else grass, (len(across), 1))
    rough = np.full(len(across), 0.08 if lanes.verge_is_built else 0.22)
    road = _on_road(lanes, across)
    colour[road], rough[road] = asphalt, 0.09
    for side, (kerb, width) in enumerate(zip(lanes.kerbs, lanes.pavement, strict=True)):
        beyond = (across - kerb) * (1 if side else -1)
        walk = (beyond >= 0) & (beyond < width)
        colour[walk], rough[walk] = slabs, 0.1
        edge = (beyond >= 0) & (beyond < 0.18)
        colour[edge] = slabs * 1.25
        gutter = (beyond < 0) & (beyond > -0.3)
        colour[gutter] *= 0.8
        strip = (beyond < -0.3) & (beyond > -lanes.parking[side])
        colour[strip] *= rng.uniform(0.8, 1.15)
    if lanes.median:
        colour[np.abs(across) < lanes.median / 2 - 0.2] = grass if rng.random() < 0.6 else slabs
    for track in (*lanes.own, *lanes.oncoming):
        colour *= 1 - 0.08 * np.exp(-(((np.abs(across - track) - 0.8) / 0.35) ** 2))[:, None]
    return colour, rough


def _on_road(lanes: _Lanes, across: np.ndarray) -> np.ndarray:
    left, right = lanes.kerbs
    return (across > left) & (across < right)


def _mend(rng: np.random.Generator, lanes: _Lanes, across: np.ndarray, picture: np.ndarray) -> None:
    """Patches in the asphalt, and joints across what lies beside the road."""
    rows, columns = picture.shape[:2]
    for _ in range(int(rng.integers(0, 9))):
        u, v = int(rng.uniform(*lanes.kerbs) * _ACROSS + columns / 2), int(rng.integers(rows))
        patch = slice(v, v + int(rng.integers(8, 80))), slice(u, u + int(rng.integers(8, 50)))
        picture[patch] *= rng.uniform(0.72, 1.1)
    picture[:: int(rng.integers(12, 40)), ~_on_road(lanes, across)] *= 0.85


def _paint_markings(
    rng: np.random.Generator, lanes: _Lanes, across: np.ndarray, picture: np.ndarray, grain: np.ndarray
) -> None:
    rows, median = len(picture), lanes.median
    paint = np.array([1.0, 1.0, 0.97]) * rng.uniform(190, 250)

    def mark(at: float, dashed: bool) -> None:
        stripe = np.clip(0.5 + (_MARKING / 2 - np.abs(across - at)) * _ACROSS, 0, 1)
        along = (np.arange(rows) / _ALONG) % 12 < 6 if dashed else np.ones(rows, bool)
        weight = (along[:, None] * stripe[None] * np.clip(0.85 + 0.25 * grain, 0, 1))[..., None]
        picture[:] = picture * (1 - weight) + paint * weight

    if rng.random() >= 0.8:
        return
    if median:
        mark(-median / 2 + 0.1, False)
        mark(median / 2 - 0.1, False)
    else:
        mark(0.0, bool(rng.random() < 0.75))
    for i in range(1, lanes.forward):
        mark(median / 2 + lanes.width * i, True)
    for i in range(1, lanes.backward):
        mark(-median / 2 - lanes.width * i, True)
    if rng.random() < 0.5:
        mark(median / 2 + lanes.width * lanes.forward, bool(lanes.parking[1]))
        mark(-median / 2 - lanes.width * lanes.backward, bool(lanes.parking[0]))
