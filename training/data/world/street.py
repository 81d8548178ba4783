"""The choices that hold for a whole street: its road, bends, traffic, crowds and surroundings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.world import road

_STREAM = 1


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
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, _STREAM]))
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
