"""Which detection is which track."""

from __future__ import annotations

import numpy as np


def pair_costs(tracks: tuple[np.ndarray, np.ndarray], found: tuple[np.ndarray, np.ndarray], gate: float) -> np.ndarray:
    """How badly each track (rows) and detection (columns) fit together, (T, D); inf where they cannot be one.

    The cost is -2 log of the likelihood: the squared Mahalanobis distance, long along the viewing ray and short across
    it, and the log of the volume within which the detection was awaited, so that a vague track does not take what a
    precise one expects.

    Args:
        tracks: predicted positions (T, 3) and their covariances (T, 3, 3).
        found: detected positions (D, 3) and their covariances (D, 3, 3).
        gate: most squared Mahalanobis distance.

    Returns:
        The costs.
    """
    apart = found[0][None] - tracks[0][:, None]
    reach = np.trace(tracks[1], axis1=1, axis2=2)[:, None] + np.trace(found[1], axis1=1, axis2=2)
    # The largest eigenvalue is no larger than the trace: what is left out here would not pass the gate.
    t, d = np.nonzero((apart * apart).sum(axis=2) <= gate * reach)
    spread, apart = tracks[1][t] + found[1][d], apart[t, d]
    distance = (apart * np.linalg.solve(spread, apart[..., None])[..., 0]).sum(axis=1)
    costs = np.full((len(tracks[0]), len(found[0])), np.inf)
    costs[t, d] = np.where(distance <= gate, distance + np.log(np.linalg.det(spread)), np.inf)
    return costs


def assign(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of least total cost among those of most pairs; inf is no pair."""
    from scipy.optimize import linear_sum_assignment  # half of the node's import time, for those who track

    possible = np.isfinite(costs)
    rows, columns = np.flatnonzero(possible.any(axis=1)), np.flatnonzero(possible.any(axis=0))
    if not len(rows):
        return rows, rows
    part = costs[np.ix_(rows, columns)]
    finite = part[np.isfinite(part)]
    never = (np.ptp(finite) + 1) * (min(part.shape) + 1) + finite.max()
    r, c = linear_sum_assignment(np.where(np.isfinite(part), part, never))
    kept = np.isfinite(part[r, c])
    return rows[r[kept]], columns[c[kept]]
