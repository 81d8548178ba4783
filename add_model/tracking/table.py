"""All tracks of a tracker as columns, one row each, in the frame that `add_model.tracking.anchor` keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from add_model.tracking.heading import Headings


@dataclass(frozen=True, eq=False)
class TrackTable:
    """N tracks.

    ids:        (N,) int64
    mean:       (N, 6) position and velocity
    covariance: (N, 6, 6)
    noise:      (N, 3, 3) covariance of the last detection
    headings:   N of them
    sizes:      (N, 3) length, width, height
    size_weight: (N,) how many independent measurements the size is the mean of
    votes:      (N, C) what each class's detections have scored
    scores:     (N,)
    first, last: (N,) int64 nanoseconds, when it was detected first and last
    confirmed:  (N,) whether it is to be published
    """

    ids: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray
    headings: Headings
    sizes: np.ndarray
    size_weight: np.ndarray
    votes: np.ndarray
    scores: np.ndarray
    first: np.ndarray
    last: np.ndarray
    confirmed: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> np.ndarray:
        """(N,) index of the class with the most votes."""
        return self.votes.argmax(axis=1) if len(self) else np.empty(0, int)

    def __getitem__(self, index: np.ndarray) -> TrackTable:
        """The tracks that a mask or index array picks."""
        return TrackTable(*(column[index] for column in vars(self).values()))

    def replaced(self, rows: np.ndarray, changed: TrackTable) -> TrackTable:
        """These tracks with others in the place of `rows`."""
        columns = {}
        for name, column in _columns(self).items():
            columns[name] = column.copy()
            columns[name][rows] = _columns(changed)[name]
        return _from_columns(columns)

    def joined(self, other: TrackTable) -> TrackTable:
        """These tracks, then the others."""
        others = _columns(other)
        return _from_columns({name: np.concatenate([a, others[name]]) for name, a in _columns(self).items()})

    def of_classes(self, count: int) -> TrackTable:
        """The tracks with votes for so many classes, no fewer than before."""
        votes = np.zeros((len(self), count))
        votes[:, : self.votes.shape[1]] = self.votes
        return replace(self, votes=votes)

    @classmethod
    def empty(cls) -> TrackTable:
        """No tracks."""
        none, times = np.empty(0), np.empty(0, np.int64)
        return cls(
            times, np.empty((0, 6)), np.empty((0, 6, 6)), np.empty((0, 3, 3)), Headings(none, none, none),
            np.empty((0, 3)), none, np.empty((0, 0)), none, times, times, np.empty(0, bool),
        )  # fmt: skip


def _columns(table: TrackTable) -> dict[str, np.ndarray]:
    columns = dict(vars(table))
    return columns | vars(columns.pop("headings"))


def _from_columns(columns: dict[str, np.ndarray]) -> TrackTable:
    headings = Headings(*(columns.pop(name) for name in ("angle", "variance", "odds")))
    return TrackTable(**columns, headings=headings)
