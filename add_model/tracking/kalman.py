"""A Kalman filter of N objects at once, each with position and velocity. It knows nothing of boxes or classes."""

from __future__ import annotations

import numpy as np


def predict(
    mean: np.ndarray, covariance: np.ndarray, noise: np.ndarray, drift: np.ndarray, time: float
) -> tuple[np.ndarray, np.ndarray]:
    """States after `time` seconds of nearly constant velocity.

    Args:
        mean: (N, 6) x, y, z, vx, vy, vz.
        covariance: (N, 6, 6).
        noise: (N, 3, 3) m^2/s^3: covariance of the change of velocity within one second.
        drift: (N, 3, 3) m^2/s: what the position is moved by within one second beside that.
        time: seconds.

    Returns:
        Mean and covariance, which do not depend on the number of steps that the time is cut into.
    """
    moved = mean.copy()
    moved[:, :3] += time * mean[:, 3:]
    position, cross, velocity = covariance[:, :3, :3], covariance[:, :3, 3:], covariance[:, 3:, 3:]
    spread = np.empty_like(covariance)
    spread[:, :3, :3] = position + time * (cross + cross.transpose(0, 2, 1) + drift)
    spread[:, :3, :3] += time**2 * velocity + time**3 / 3 * noise
    spread[:, :3, 3:] = cross + time * velocity + time**2 / 2 * noise
    spread[:, 3:, :3] = spread[:, :3, 3:].transpose(0, 2, 1)
    spread[:, 3:, 3:] = velocity + time * noise
    return moved, spread


def update(
    mean: np.ndarray, covariance: np.ndarray, measured: np.ndarray, noise: np.ndarray, limit: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """States after a measurement of each position.

    Args:
        mean: (N, 6).
        covariance: (N, 6, 6).
        measured: (N, 3) positions.
        noise: (N, 3, 3) their covariances.
        limit: squared Mahalanobis distance from which on a measurement is taken for less precise than it says.

    Returns:
        Mean and covariance.
    """
    apart = (measured - mean[:, :3])[:, :, None]
    inverse = np.linalg.inv(covariance[:, :3, :3] + noise)
    distance = (apart * (inverse @ apart)).sum(axis=(1, 2))
    if (distance > limit).any():
        noise = noise * np.maximum(distance / limit, 1.0)[:, None, None]
        inverse = np.linalg.inv(covariance[:, :3, :3] + noise)
    gain = covariance[:, :, :3] @ inverse
    updated = mean + (gain @ apart)[:, :, 0]
    spread = covariance - gain @ covariance[:, :3, :]
    return updated, (spread + spread.transpose(0, 2, 1)) / 2
