"""Pictures that the synthetic world is papered with: drawn from noise by a generator, nothing is read from disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

FACADES, FOLIAGES, HEDGES, SIGNS = 16, 6, 4, 6
_POOL_STREAM = 0x7E87


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture (h, w, 3) uint8 RGB and its opacity (h, w) uint8; where `cutout`, opacity below 128 is a hole."""

    rgb: np.ndarray
    alpha: np.ndarray
    cutout: bool = False

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """The picture and its halvings, for faces far away."""
        return _halvings(self.rgb)

    @cached_property
    def alphas(self) -> list[np.ndarray]:
        """The opacity at the same levels."""
        return _halvings(self.alpha)


def _halvings(picture: np.ndarray) -> list[np.ndarray]:
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 16 and len(levels) < 5:
        rows, columns = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA))
    return levels


@dataclass(frozen=True, eq=False)
class Pool:
    """Every texture of one world; `sky` (h, w) uint8 are clouds, `noise` (h, w, 3) uint8 is noise around 128."""

    facades: list[Texture]
    foliage: list[Texture]
    hedges: list[Texture]
    signs: list[Texture]
    fence: Texture
    wall: Texture
    bicycle_wheel: Texture
    treeline: Texture
    sky: np.ndarray
    noise: np.ndarray


def fractal(rng: np.random.Generator, height: int, width: int, octaves: int = 4, coarse: int = 4) -> np.ndarray:
    """Periodic value noise (height, width) float32 with mean 0 and standard deviation 1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows, columns = max(2, min(height, coarse << octave)), max(2, min(width, (coarse << octave) * width // height))
        cells = rng.standard_normal((rows, columns)).astype(np.float32)
        cells = np.pad(cells, 1, mode="wrap")
        grown = cv2.resize(cells, None, fx=width / columns, fy=height / rows, interpolation=cv2.INTER_LINEAR)
        top, left = round(height / rows), round(width / columns)
        total += grown[top : top + height, left : left + width] * 0.6**octave
    return (total - total.mean()) / (total.std() + 1e-6)


def _shade(colour: np.ndarray, noise: np.ndarray, amplitude: float) -> np.ndarray:
    return np.clip(np.asarray(colour, np.float32) * (1 + amplitude * noise[..., None]), 0, 255)


def _opaque(picture: np.ndarray) -> Texture:
    return Texture(np.clip(picture, 0, 255).astype(np.uint8), np.full(picture.shape[:2], 255, np.uint8))


def _cutout(picture: np.ndarray, mask: np.ndarray) -> Texture:
    alpha = np.where(mask, 255, 0).astype(np.uint8)
    return Texture(np.clip(picture, 0, 255).astype(np.uint8), alpha, cutout=True)


def _facade(rng: np.random.Generator) -> Texture:
    # One texture is 12 m x 12 m of wall: four storeys of three to five windows.
    size = 256
    bases = [(205, 195, 175), (190, 180, 170), (170, 110, 85), (215, 210, 200), (150, 135, 115), (185, 150, 110)]
    base = np.array(bases[rng.integers(len(bases))]) * rng.uniform(0.7, 1.1)
    wall = _shade(base, fractal(rng, size, size, 5), 0.07)
    if rng.random() < 0.35:
        wall[:: int(rng.integers(5, 9))] *= 0.88
    storeys, columns = 4, int(rng.integers(3, 6))
    width, height = rng.uniform(0.32, 0.6) * size / columns, rng.uniform(0.42, 0.62) * size / storeys
    frame = np.array([235, 235, 230]) * rng.uniform(0.5, 1.0)
    shutters = rng.random() < 0.3
    shutter = rng.uniform(40, 140, 3)
    for row in range(storeys):
        for column in range(columns):
            u, v = (column + 0.5) * size / columns, (row + 0.48) * size / storeys
            left, right = round(u - width / 2), round(u + width / 2)
            top, bottom = round(v - height / 2), round(v + height / 2)
            cv2.rectangle(wall, (left - 2, top - 2), (right + 2, bottom + 3), frame.tolist(), -1)
            glass = np.array([45, 52, 60]) * rng.uniform(0.5, 1.5) + (rng.random() < 0.15) * 90
            cv2.rectangle(wall, (left, top), (right, bottom), glass.tolist(), -1)
            cv2.line(wall, (round(u), top), (round(u), bottom), frame.tolist(), 1)
            if rng.random() < 0.4:
                blind = top + round((bottom - top) * rng.uniform(0.2, 0.8))
                cv2.rectangle(wall, (left, top), (right, blind), (frame * 0.8).tolist(), -1)
            if shutters:
                side = round(width * 0.35)
                cv2.rectangle(wall, (left - 2 - side, top), (left - 2, bottom), shutter.tolist(), -1)
                cv2.rectangle(wall, (right + 2, top), (right + 2 + side, bottom), shutter.tolist(), -1)
        if rng.random() < 0.5:
            v = round((row + 1) * size / storeys) - 2
            cv2.line(wall, (0, v), (size, v), (base * rng.uniform(0.6, 1.15)).tolist(), 2)
    return _opaque(wall)


def _foliage(rng: np.random.Generator) -> Texture:
    size = 192
    v, u = np.mgrid[:size, :size].astype(np.float32)
    crown = 1 - np.hypot((u - size / 2) / (0.46 * size), (v - size / 2) / (0.48 * size)) ** 2
    density = crown + 0.28 * fractal(rng, size, size, 5, 3) + 0.16 * rng.standard_normal((size, size))
    greens = [(70, 95, 40), (55, 75, 35), (95, 105, 45), (150, 100, 40), (45, 70, 45)]
    leaf = np.array(greens[rng.integers(len(greens))]) * rng.uniform(0.7, 1.2)
    light = 0.45 * fractal(rng, size, size, 6, 4) + 0.35 * rng.standard_normal((size, size)) + 0.5 - v / size
    return _cutout(_shade(leaf, light.astype(np.float32), 0.55), density > 0.25)


def _hedge(rng: np.random.Generator) -> Texture:
    size = 128
    leaf = np.array([60, 80, 35]) * rng.uniform(0.6, 1.2) * rng.uniform(0.9, 1.1, 3)
    light = fractal(rng, size, size, 6, 4) * 0.5 + rng.standard_normal((size, size)) * 0.5
    return _opaque(_shade(leaf, light.astype(np.float32), 0.5))


def _sign(rng: np.random.Generator) -> Texture:
    size = 64
    picture, mask = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.uint8)
    kind = rng.integers(3)
    red, blue, white, centre = (190, 30, 35), (30, 70, 170), (235, 235, 235), (size // 2, size // 2)
    if kind == 0:
        cv2.circle(picture, centre, 31, red, -1)
        cv2.circle(picture, centre, 23, white, -1)
        cv2.circle(mask, centre, 31, 255, -1)
        cv2.rectangle(picture, (24, 22), (40, 42), (30, 30, 30), 4)
    elif kind == 1:
        triangle = np.array([(32, 2), (62, 60), (2, 60)])
        cv2.fillConvexPoly(picture, triangle, red)
        cv2.fillConvexPoly(picture, np.array([(32, 16), (51, 53), (13, 53)]), white)
        cv2.fillConvexPoly(mask, triangle, 255)
    else:
        picture[:] = blue if rng.random() < 0.6 else (215, 150, 25)
        cv2.rectangle(picture, (4, 4), (59, 59), white, 3)
        cv2.line(picture, (18, 44), (46, 20), white, 6)
        mask[:] = 255
    return _cutout(picture, mask > 0)


def _fence(rng: np.random.Generator) -> Texture:
    picture = np.full((64, 128, 3), 95, np.float32) + 12 * rng.standard_normal((64, 128, 1))
    mask = np.zeros((64, 128), bool)
    mask[:, ::8] = mask[:, 1::8] = True
    mask[4:8] = mask[54:58] = True
    return _cutout(picture, mask)


def _wall(rng: np.random.Generator) -> Texture:
    wall = _shade((150, 140, 128), fractal(rng, 128, 128, 6), 0.12)
    wall[::16] *= 0.75
    for row in range(8):
        wall[row * 16 : row * 16 + 16, (row % 2) * 16 :: 32] *= 0.75
    return _opaque(wall)


def _bicycle_wheel() -> Texture:
    size, centre = 96, (48, 48)
    mask = np.zeros((size, size), np.uint8)
    for spoke in np.linspace(0, np.pi, 7)[:-1]:
        offset = np.array([np.cos(spoke), np.sin(spoke)]) * 44
        cv2.line(mask, tuple((48 - offset).astype(int)), tuple((48 + offset).astype(int)), 255, 1)
    cv2.circle(mask, centre, 43, 255, 8)
    cv2.circle(mask, centre, 5, 255, -1)
    picture = np.full((size, size, 3), 38, np.float32)
    cv2.circle(picture, centre, 40, (125, 125, 125), 2)
    return _cutout(picture, mask > 0)


def _treeline(rng: np.random.Generator) -> Texture:
    height, width = 128, 1024
    rough = cv2.GaussianBlur(rng.standard_normal((1, width)).astype(np.float32), (0, 0), 4)[0]
    ridge = 50 + 12 * cv2.GaussianBlur(fractal(rng, 8, width, 5, 4)[:1], (0, 0), 12)[0] + 22 * rough
    v = np.arange(height, dtype=np.float32)[:, None]
    light = 0.6 * fractal(rng, height, width, 5, 8) + 0.3 * rng.standard_normal((height, width)) + (50 - v) / 80
    return _cutout(_shade((70, 84, 58), light.astype(np.float32), 0.35), v > ridge)


@lru_cache(maxsize=4)
def pool(seed: int) -> Pool:
    """All textures of the world with this seed; drawn once in a process."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, _POOL_STREAM]))
    clouds = np.clip(128 + 60 * fractal(rng, 256, 2048, 6, 3), 0, 255).astype(np.uint8)
    noise = np.clip(128 + 24 * rng.standard_normal((640, 1600, 3), dtype=np.float32), 0, 255).astype(np.uint8)
    return Pool(
        [_facade(rng) for _ in range(FACADES)],
        [_foliage(rng) for _ in range(FOLIAGES)],
        [_hedge(rng) for _ in range(HEDGES)],
        [_sign(rng) for _ in range(SIGNS)],
        _fence(rng),
        _wall(rng),
        _bicycle_wheel(),
        _treeline(rng),
        clouds,
        noise,
    )
