"""Headings over time of objects whose front and back a detector mixes up now and then.

What is filtered is the axis of an object, an angle that is as good as itself plus pi, and apart from it the log-odds
that the front is where the angle points rather than opposite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.geometry.boxes import wrap
from add_model.pose_covariance import UNKNOWN_HEADING

_CERTAIN = 5.0  # log-odds: more is never believed, so that what was wrong can be mended
_MOVING = 1.0  # m/s: who is slower may go backwards


@dataclass(frozen=True, eq=False)
class Headings:
    """N headings: angle (N,) radians, its variance (N,) but for front and back, log-odds (N,) of the front."""

    angle: np.ndarray
    variance: np.ndarray
    odds: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Headings:
        return Headings(self.angle[index], self.variance[index], self.odds[index])


def first(angle: np.ndarray, std: np.ndarray, flip: np.ndarray) -> Headings:
    """Headings (N,) after one measurement with a standard deviation and a share of flips."""
    return Headings(angle, std**2, np.log((1 - flip) / flip))


def updated(known: Headings, angle: np.ndarray, std: np.ndarray, flip: np.ndarray, weight: np.ndarray) -> Headings:
    """Headings (N,) after a further measurement.

    Args:
        known: before it.
        angle: (N,) measured.
        std, flip: (N,) as `first` takes them.
        weight: (N,) how much of a new measurement it is, 0 to 1; errors of detections at once are alike.

    Returns:
        The headings.
    """
    apart = wrap(angle - known.angle)
    opposite = np.abs(apart) > np.pi / 2
    apart = np.where(opposite, wrap(apart + np.pi), apart)
    gain = known.variance / (known.variance + std**2 / weight)
    evidence = weight * np.log((1 - flip) / flip) * np.cos(apart)
    odds = np.clip(known.odds + np.where(opposite, -evidence, evidence), -_CERTAIN, _CERTAIN)
    return Headings(wrap(known.angle + gain * apart), (1 - gain) * known.variance, odds)


def resolved(known: Headings, velocity: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Headings (N,) and their standard deviations (N,), radians.

    Args:
        known: the headings.
        velocity: (N, 2) m/s over ground along x and z, zeros where it is not known: who moves goes forward.
        covariance: (N, 2, 2).

    Returns:
        The headings with front and back decided, and their standard deviations with the doubt about that.
    """
    forward = np.stack([np.cos(known.angle), -np.sin(known.angle)], axis=1)
    along = (forward * velocity).sum(axis=1)
    spread = np.sqrt(np.einsum("ni,nij,nj->n", forward, covariance, forward)) + 1e-6
    moving = np.clip((np.abs(along) - _MOVING) / spread, 0, _CERTAIN)
    odds = known.odds + np.sign(along) * moving
    wrong = 1 / (1 + np.exp(np.abs(odds)))
    angle = np.where(odds >= 0, known.angle, wrap(known.angle + np.pi))
    return angle, np.minimum(np.sqrt(known.variance + wrong * np.pi**2), UNKNOWN_HEADING)
