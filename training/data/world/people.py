"""People on foot and on bicycles, one mesh for each step of their movement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from training.data.world.mesh import DARK, HAIR, METAL, PAINT, RUBBER, SHIRT, SKIN, TEXTURE, TROUSERS, Builder, Mesh

STRIDES = 8
_TUBE = 0.045  # metres, of a bicycle's frame


def _fit(mesh: Mesh, quads: np.ndarray) -> Mesh:
    low, high = quads.min(axis=(0, 1)), quads.max(axis=(0, 1))
    middle = (mesh.quads - (low + high) / 2) / (high - low)
    return Mesh(middle, mesh.material, mesh.decal_of, mesh.two_sided, mesh.uv)


@cache
def pedestrian(phase: int) -> Mesh:
    """A person at step `phase` of STRIDES: at phase 0 the stride is widest and touches the box."""
    return _fit(_person(phase), _person(0).quads)


def _person(phase: int) -> Mesh:
    b = Builder()
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


def _bar(b: Builder, start: Sequence[float] | np.ndarray, end: Sequence[float] | np.ndarray, material: int) -> None:
    """A tube as two crossed strips, cheap and never edge-on."""
    start, end = np.array(start, float), np.array(end, float)
    along = (end - start) / np.linalg.norm(end - start)
    for across in (np.array([-along[1], along[0], 0.0]), np.array([0.0, 0.0, 1.0])):
        if np.linalg.norm(across) < 0.5:
            across = np.array([1.0, 0.0, 0.0])
        offset = across * _TUBE / 2
        b.quad([start - offset, end - offset, end + offset, start + offset], material, two_sided=True)


def _bicycle(b: Builder) -> None:
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
        _bar(b, start, end, PAINT)
    _bar(b, (0.36, 0.85, 0), (0.30, 1.04, 0), METAL)
    b.box((0.26, 1.02, -0.27), (0.31, 1.06, 0.27), DARK)
    b.box((-0.32, 0.92, -0.07), (-0.08, 0.97, 0.07), DARK)


def _rider(phase: int) -> Mesh:
    b = Builder()
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
    b = Builder()
    _bicycle(b)
    return b.mesh()
