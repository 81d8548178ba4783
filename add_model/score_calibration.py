"""Scores that say how often a detection is right: 0.5 is right every other time.

A network's scores rank its detections, but a score of 0.2 may well be right in 7 of 10 cases. Platt's scaling (Platt
1999, here on logits) makes a score p of a class

    sigmoid(slope * logit(p) + offset)

with a slope above 0, so that the order within a class, and its average precision, stay as they are.
`add-ros calibrate` measures both numbers; `ObjectClass.score_calibration` carries them.
"""

from __future__ import annotations

import numpy as np

from add_model.classes import ClassSpec

_LEAST = 1e-7  # logits of 0 and 1 are infinite


def calibrated(scores: np.ndarray, labels: np.ndarray, classes: ClassSpec) -> np.ndarray:
    """Scores (K,) in 0..1 of detections of these labels (K,) -> calibrated ones (K,)."""
    table = np.array([kind.score_calibration for kind in classes])
    if (table == (1.0, 0.0)).all():
        return scores
    slope, offset = table[labels].T
    return sigmoid(slope * logit(scores) + offset)


def logit(scores: np.ndarray) -> np.ndarray:
    """Log odds of probabilities; finite for 0 and 1 too."""
    scores = np.clip(scores.astype(float), _LEAST, 1 - _LEAST)
    return np.log(scores) - np.log1p(-scores)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The inverse of `logit`."""
    return 1 / (1 + np.exp(-logits))
