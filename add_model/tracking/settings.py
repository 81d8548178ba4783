"""What a tracker takes for granted. All of it holds per second rather than per frame, whatever the camera's rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from add_model.score_calibration import logit, sigmoid

_LOW, _SURE = -1.4, 3.376  # log odds beside the threshold's: of a low score, and of a sure one


@dataclass(frozen=True)
class MotionModel:
    """How objects of one kind move, and what is known of their heading.

    Attributes:
        speed: m/s, standard deviation of the speed along the heading of an object that has just been seen first
        sideways: share of it across the heading; 1 where objects go anywhere, or the heading says little
        agility: m/s, standard deviation of the change of velocity within one second
        turning: radians, standard deviation of the change of heading within one second
        heading_std: radians, of a detection's heading but for front and back
        flip: share of detections with front and back mixed up
    """

    speed: float
    sideways: float
    agility: float
    turning: float
    heading_std: float
    flip: float


VEHICLE = MotionModel(speed=8.0, sideways=0.15, agility=1.2, turning=0.2, heading_std=0.12, flip=0.08)
CYCLIST = MotionModel(speed=4.0, sideways=0.4, agility=0.6, turning=0.4, heading_std=0.2, flip=0.2)
WALKER = MotionModel(speed=1.2, sideways=1.0, agility=0.35, turning=0.8, heading_std=0.4, flip=0.36)
_KINDS = {
    "pedestrian": WALKER,
    "person": WALKER,
    "person_sitting": WALKER,
    "cyclist": CYCLIST,
    "bicycle": CYCLIST,
    "motorcycle": CYCLIST,
}


@dataclass(frozen=True)
class TrackerSettings:
    """All settings of `Tracker`; times in seconds.

    Attributes:
        low_score: detections below it are not looked at
        high_score: detections from it on begin tracks; those between only continue them (as in ByteTrack)
        sure_score: a detection from it on is a track at once
        confirm_time: other tracks are published when they have been seen for so long
        publish_score: and when their score has once been as high as this
        keep_share: and as long as its score is no less than this share of that
        publish_coast: a track that is not detected is predicted and published for so long
        confirmed_coast: and kept for so long, to be found again
        tentative_coast: the same for a track that is not published yet
        gate: most squared Mahalanobis distance between track and detection
        image_overlap: least overlap in the image of what is one although its place is not within the gate; above 1:
            never
        class_cost: squared distances that another class costs
        score_time: in which a track's score follows that of its detections
        error_time: within which a detector repeats its error: two detections of one moment are hardly better than one
        bias_share: share of the variance of a detection's position that belongs to the object rather than to the
            image: it can't be averaged away
        bias_time: in which that error becomes another one
        vertical: m/s, standard deviations of vertical speed, and of its change within one second
        unknown_motion: m/s, the same for all objects where the camera's motion is not known
        max_tracks: more are not begun
    """

    low_score: float = 0.126
    high_score: float = 0.37
    sure_score: float = 0.945
    confirm_time: float = 0.08
    publish_score: float = 0.37
    keep_share: float = 0.67
    publish_coast: float = 0.2
    confirmed_coast: float = 0.8
    tentative_coast: float = 0.3
    gate: float = 12.0
    image_overlap: float = 0.5
    class_cost: float = 8.0
    score_time: float = 0.4
    error_time: float = 0.1
    bias_share: float = 0.5
    bias_time: float = 4.0
    vertical: tuple[float, float] = (0.3, 0.2)
    unknown_motion: tuple[float, float] = (6.0, 5.0)
    max_tracks: int = 256
    kinds: dict[str, MotionModel] = field(default_factory=lambda: dict(_KINDS))

    def __post_init__(self) -> None:
        """Raises ValueError that names the field where a value is impossible."""
        if not 0 <= self.low_score <= self.high_score <= 1:
            raise ValueError(
                f"0 <= low_score <= high_score <= 1 must hold, got {self.low_score:g} and {self.high_score:g}"
            )
        for name in (
            "gate",
            "score_time",
            "error_time",
            "bias_time",
            "confirmed_coast",
            "tentative_coast",
            "max_tracks",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name):g}")

    @classmethod
    def at(cls, score_threshold: float) -> TrackerSettings:
        """The settings for a threshold of detections' scores, which are calibrated (`add_model.score_calibration`).

        The other scores keep their distance from it in log odds; the defaults are those of 0.37.
        """
        odds = logit(np.array(score_threshold))
        low, sure = (float(sigmoid(odds + apart)) for apart in (_LOW, _SURE))
        return cls(
            low_score=min(low, score_threshold),
            high_score=score_threshold,
            publish_score=score_threshold,
            sure_score=max(sure, score_threshold),
        )

    def motions(self, names: Sequence[str]) -> Motions:
        """The motion model of each class name, as columns; other names than those in `kinds` are vehicles'."""
        kinds = [self.kinds.get(str(name).lower(), VEHICLE) for name in names]
        rows = [(k.speed, k.sideways, k.agility, k.turning, k.heading_std, k.flip) for k in kinds]
        return Motions(*np.array(rows, float).reshape(-1, 6).T)


@dataclass(frozen=True, eq=False)
class Motions:
    """The fields of `MotionModel`, (N,) each."""

    speed: np.ndarray
    sideways: np.ndarray
    agility: np.ndarray
    turning: np.ndarray
    heading_std: np.ndarray
    flip: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Motions:
        """The rows that a mask or index array picks."""
        return Motions(*(column[index] for column in vars(self).values()))
