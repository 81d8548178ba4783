"""How a table of tracks goes from one moment to the next: time passes, detections come, tracks begin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from add_model.tracking import heading, kalman
from add_model.tracking.settings import Motions, TrackerSettings
from add_model.tracking.table import TrackTable

_SIZE_WEIGHT = 10.0  # independent measurements of a size: more are not remembered
_VOTE_TIME = 2.0  # seconds in which what an object was taken for is forgotten
_LEAST_WEIGHT = 1e-3
_ANY_AXIS = (np.pi / 2) ** 2 / 3  # variance of an axis of which nothing is known


@dataclass(frozen=True, eq=False)
class Measurements:
    """N detections in the frame of the tracks.

    positions: (N, 3); noise: (N, 3, 3) their covariances; angles: (N,) headings; sizes: (N, 3)
    boxes2d: (N, 4) pixels; depths: (N,) metres before the camera
    scores: (N,); labels: (N,) indices of their classes; motions: of their classes
    """

    positions: np.ndarray
    noise: np.ndarray
    angles: np.ndarray
    sizes: np.ndarray
    boxes2d: np.ndarray
    depths: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    motions: Motions

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: np.ndarray) -> Measurements:
        """The detections that a mask or index array picks."""
        return Measurements(*(column[index] for column in vars(self).values()))


def predicted(table: TrackTable, motions: Motions, settings: TrackerSettings, fixed: bool, time: float) -> TrackTable:
    """The tracks `time` seconds later. fixed: whether their frame is fixed to the ground."""
    known = table.headings
    drift = 2 * settings.bias_share / settings.bias_time * table.noise
    mean, covariance = kalman.predict(
        table.mean, table.covariance, _agility(known.angle, motions, settings, fixed), drift, time
    )
    variance = np.minimum(known.variance + time * motions.turning**2, _ANY_AXIS)
    votes = table.votes * np.exp(-time / _VOTE_TIME)
    return replace(table, mean=mean, covariance=covariance, headings=replace(known, variance=variance), votes=votes)


def corrected(
    table: TrackTable, rows: np.ndarray, measured: Measurements, settings: TrackerSettings, stamp: int, time: float
) -> TrackTable:
    """The tracks after the detections of one image.

    Args:
        table: predicted to the image's moment.
        rows: the tracks that were detected.
        measured: their detections, in this order.
        settings: the tracker's.
        stamp: of the image, nanoseconds.
        time: seconds since the image before it.

    Returns:
        The tracks; the scores of those that were not detected sink.
    """
    keep = np.exp(-time / settings.score_time)
    scores = table.scores * keep
    scores[rows] += (1 - keep) * measured.scores
    # A detector repeats its errors: of two detections an instant apart the second says next to nothing.
    alike = np.exp((table.last[rows] - stamp) / 1e9 / settings.error_time)
    weight = np.maximum((1 - alike) / (1 + alike), _LEAST_WEIGHT)
    mean, covariance = kalman.update(
        table.mean[rows],
        table.covariance[rows],
        measured.positions,
        (1 - settings.bias_share) * measured.noise / weight[:, None, None],
        settings.gate,
    )
    motions = measured.motions
    headings = heading.updated(table.headings[rows], measured.angles, motions.heading_std, motions.flip, weight)
    size_weight = np.minimum(table.size_weight[rows] + weight, _SIZE_WEIGHT)
    sizes = table.sizes[rows] + (weight / size_weight)[:, None] * (measured.sizes - table.sizes[rows])
    votes = table.votes[rows]
    votes[np.arange(len(rows)), measured.labels] += weight * measured.scores
    seen = (stamp - table.first[rows]) / 1e9 >= settings.confirm_time - 1e-6
    sure = (scores[rows] >= settings.publish_score) & (seen | (measured.scores >= settings.sure_score))
    changed = TrackTable(
        table.ids[rows], mean, covariance, measured.noise, headings, sizes, size_weight, votes, scores[rows],
        table.first[rows], np.full(len(rows), stamp), table.confirmed[rows] | sure,
    )  # fmt: skip
    return replace(table, scores=scores).replaced(rows, changed)


def begun(
    measured: Measurements, ids: np.ndarray, classes: int, settings: TrackerSettings, fixed: bool, stamp: int
) -> TrackTable:
    """New tracks, one for each detection, of so many classes."""
    count, motions = len(measured), measured.motions
    covariance = np.zeros((count, 6, 6))
    covariance[:, :3, :3] = (1 - settings.bias_share) * measured.noise
    covariance[:, 3:, 3:] = first_velocity(measured.angles, motions, settings, fixed)
    mean = np.hstack([measured.positions, np.zeros((count, 3))])
    votes = np.zeros((count, classes))
    votes[np.arange(count), measured.labels] = measured.scores
    confirmed = (measured.scores >= settings.publish_score) & (
        (measured.scores >= settings.sure_score) | (settings.confirm_time <= 0)
    )
    headings = heading.first(measured.angles, motions.heading_std, motions.flip)
    times = np.full(count, stamp, np.int64)
    return TrackTable(
        ids, mean, covariance, measured.noise.copy(), headings, measured.sizes.copy(), np.ones(count), votes,
        measured.scores.copy(), times, times.copy(), confirmed,
    )  # fmt: skip


def first_velocity(angles: np.ndarray, motions: Motions, settings: TrackerSettings, fixed: bool) -> np.ndarray:
    """(N, 3, 3) m^2/s^2: covariance of the velocity of objects that were just seen first, with headings (N,)."""
    vertical, unknown = settings.vertical[0], 0.0 if fixed else settings.unknown_motion[0]
    return _along_heading(angles, motions.speed, motions.speed * motions.sideways, vertical, unknown)


def _agility(angles: np.ndarray, motions: Motions, settings: TrackerSettings, fixed: bool) -> np.ndarray:
    vertical, unknown = settings.vertical[1], 0.0 if fixed else settings.unknown_motion[1]
    return _along_heading(angles, motions.agility, motions.agility, vertical, unknown)


def _along_heading(
    angles: np.ndarray, along: np.ndarray, across: np.ndarray, vertical: float, unknown: float
) -> np.ndarray:
    """(N, 3, 3) covariances of standard deviations along and across headings, and on the ground besides."""
    cosine, sine = np.cos(angles), np.sin(angles)
    covariances = np.zeros((len(angles), 3, 3))
    covariances[:, 0, 0] = (along * cosine) ** 2 + (across * sine) ** 2 + unknown**2
    covariances[:, 2, 2] = (along * sine) ** 2 + (across * cosine) ** 2 + unknown**2
    covariances[:, 0, 2] = covariances[:, 2, 0] = (across**2 - along**2) * cosine * sine
    covariances[:, 1, 1] = vertical**2
    return covariances
