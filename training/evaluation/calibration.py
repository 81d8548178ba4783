"""How often detections of a score are right, and the calibration that makes scores say it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from add_model.score_calibration import logit, sigmoid

LEAST_HITS = 10  # fewer right detections say nothing of a slope


def fit_calibration(scores: np.ndarray, right: np.ndarray) -> tuple[float, float] | None:
    """Slope and offset of `add_model.score_calibration` by maximum likelihood.

    The targets are Platt's (1999, section 2.1): (n + 1) / (n + 2) for the n right ones and 1 / (m + 2) for the m wrong
    ones, so that few detections give no certainty.

    Args:
        scores: (N,) as the network gives them.
        right: (N,) bool.

    Returns:
        None where fewer than `LEAST_HITS` are right or wrong.
    """
    n, m = int(right.sum()), int((~right).sum())
    if min(n, m) < LEAST_HITS:
        return None
    target, x = np.where(right, (n + 1) / (n + 2), 1 / (m + 2)), logit(scores)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * x + parameters[1]
        wrong = sigmoid(z) - target
        return float(np.sum(np.logaddexp(0, z) - target * z)), np.array([np.sum(wrong * x), np.sum(wrong)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=[(1e-2, 100), (-100, 100)], method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def reliability(scores: np.ndarray, right: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many detections lie in each bin of scores (B,), and which share of them is right (B,), NaN where none lies.

    Args:
        scores: (N,).
        right: (N,) bool.
        edges: (B + 1,) ascending; a score on an edge belongs to the bin above, one at the last edge to the last bin.
    """
    last = len(edges) - 2
    place = np.where(scores == edges[-1], last, np.digitize(scores, edges) - 1)
    inside = (place >= 0) & (place <= last)
    count = np.bincount(place[inside], minlength=last + 1)
    hits = np.bincount(place[inside], weights=right[inside], minlength=last + 1)
    return count, np.divide(hits, count, out=np.full(last + 1, np.nan), where=count > 0)
