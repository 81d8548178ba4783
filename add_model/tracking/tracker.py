"""The tracker: detections of one image after the other in, tracks out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.nms import same_place
from add_model.pose_covariance import position_covariances
from add_model.tracking import heading
from add_model.tracking.anchor import Anchor
from add_model.tracking.association import assign, pair_costs
from add_model.tracking.settings import Motions, TrackerSettings
from add_model.tracking.sight import NEAREST, Sight
from add_model.tracking.table import TrackTable
from add_model.tracking.tracks import Tracks
from add_model.tracking.transitions import Measurements, begun, corrected, first_velocity, predicted

_INSTANT = 1e-6  # seconds, of rounding
_DEPTH_RATIO = 1.5  # what is farther apart may hide one another and is not one, however alike in the image
_MOST_DOUBT = 10.0  # metres, standard deviation: a track whose place is less certain is lost


class Tracker:
    """Follows the objects in the images of one camera.

    It is deterministic, keeps no more than the tracks that live, and works per second: 5 and 30 Hz behave alike, pauses
    end tracks, and a stamp that lies farther back than a track lives begins anew.

    Args:
        settings: what it takes for granted.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._next = 1
        self._names: list[str] = []  # of all classes that were detected, in the order of votes
        self.reset()

    def reset(self) -> None:
        """Forget all tracks; their ids are not given again."""
        self._stamp: int | None = None
        self._table, self._anchor = TrackTable.empty(), Anchor()

    def update(self, found: Detections, camera: Camera, stamp: int, pose: np.ndarray | None = None) -> Tracks | None:
        """The tracks at the moment of one image.

        Args:
            found: what was detected in it, in the frame of the camera's P, scores in [0, 1]. Rows that are not finite
                are passed over. With `up`, objects are followed as a level camera in the same place sees them.
            camera: that of the image.
            stamp: nanoseconds.
            pose: (4, 4) from the frame of the camera's P to any frame that is fixed to the ground; None where it is not
                known. Then tracks live in the camera's frame, have no velocities, and follow the camera's turns worse.

        Returns:
            The tracks, or None for an image that is not newer than the last one, of which nothing can be said.

        Raises:
            ValueError: where `pose` is no rigid transform, or the camera leans too far.
        """
        if pose is not None:
            _require_rigid(pose)
        sight = Sight.of(camera, found.up)
        tracks = self._update(sight.levelled(found), sight, stamp, sight.level_pose(pose))
        return None if tracks is None else sight.turned_back(tracks)

    def _update(self, found: Detections, sight: Sight, stamp: int, pose: np.ndarray | None) -> Tracks | None:
        """Of upright boxes in the frame in which they are followed, to which the pose belongs too."""
        longest, time = self.settings.confirmed_coast, 0.0
        if self._stamp is not None and (stamp - self._stamp) / 1e9 < -longest:
            self.reset()
        if self._stamp is not None:
            time = (stamp - self._stamp) / 1e9
            if time <= 0:
                return None
            if time > longest:
                self._table = TrackTable.empty()
        self._stamp = stamp
        if len(self._table):
            motions = self._motions(self._table)
            self._table = predicted(self._table, motions, self.settings, self._anchor.fixed, time)
        began = self._follow(pose, time)
        usable = (found.scores >= self.settings.low_score) & np.isfinite(found.boxes).all(axis=1)
        chosen = np.flatnonzero(usable & (found.boxes[:, 2] > NEAREST))
        source = self._correct(self._measured(found[chosen]), sight, stamp, time)
        source[source >= 0] = chosen[source[source >= 0]]
        return replace(self._publish(found, source, sight, stamp), frame_began=began)

    def _follow(self, pose: np.ndarray | None, time: float) -> bool:
        """Move on with the camera; returns whether a new frame began.

        In a new frame places are known, but velocities are as unknown as at first.
        """
        if not self._anchor.follow(pose, time):
            return False
        table, back = self._table, np.linalg.inv(self._anchor.camera)
        self._anchor.renew(pose)
        if not len(table):
            return True
        rotation, mean, covariance = back[:3, :3], np.zeros((len(table), 6)), np.zeros((len(table), 6, 6))
        mean[:, :3] = table.mean[:, :3] @ rotation.T + back[:3, 3]
        headings = replace(table.headings, angle=box3d.headings_between(table.headings.angle, rotation))
        covariance[:, :3, :3] = rotation @ table.covariance[:, :3, :3] @ rotation.T
        covariance[:, 3:, 3:] = first_velocity(headings.angle, self._motions(table), self.settings, self._anchor.fixed)
        noise = rotation @ table.noise @ rotation.T
        self._table = replace(table, mean=mean, covariance=covariance, noise=noise, headings=headings)
        return True

    def _measured(self, found: Detections) -> Measurements:
        rotation, origin = self._anchor.camera[:3, :3], self._anchor.camera[:3, 3]
        names = [str(name) for name in found.names]
        self._names += sorted(set(names) - set(self._names))
        self._table = self._table.of_classes(len(self._names))
        labels = np.array([self._names.index(name) for name in names], dtype=int)
        return Measurements(
            found.boxes[:, :3] @ rotation.T + origin,
            rotation @ position_covariances(found) @ rotation.T,
            box3d.headings_between(found.boxes[:, 6], rotation),
            found.boxes[:, 3:6],
            found.boxes2d,
            found.boxes[:, 2],
            found.scores,
            labels,
            self.settings.motions(self._names)[labels],
        )

    def _correct(self, measured: Measurements, sight: Sight, stamp: int, time: float) -> np.ndarray:
        """Continue and begin tracks; returns the (N,) measurement of each of them, -1 for none."""
        settings, fixed = self.settings, self._anchor.fixed
        rows, columns = self._pairs(measured, sight)
        source = np.full(len(self._table), -1)
        source[rows] = columns
        if len(self._table):
            self._table = corrected(self._table, rows, measured[columns], settings, stamp, time)
        free = measured.scores >= settings.high_score
        free[columns] = False
        new = np.flatnonzero(free)[: max(0, settings.max_tracks - len(self._table))]
        if len(new):
            ids = np.arange(self._next, self._next + len(new))
            self._next += len(new)
            self._table = self._table.joined(begun(measured[new], ids, len(self._names), settings, fixed, stamp))
        return np.concatenate([source, new])

    def _pairs(self, measured: Measurements, sight: Sight) -> tuple[np.ndarray, np.ndarray]:
        """Tracks and their measurements: the sure ones in space, then in the image, then the others in space."""
        table, settings = self._table, self.settings
        none = np.empty(0, int)
        if not len(table) or not len(measured):
            return none, none
        costs = pair_costs(
            (table.mean[:, :3], table.covariance[:, :3, :3]),
            (measured.positions, (1 - settings.bias_share) * measured.noise),
            settings.gate,
        )
        same = table.labels[:, None] == measured.labels
        sure = measured.scores >= settings.high_score
        costs += np.where(same, 0.0, settings.class_cost)
        rows, columns = assign(np.where(sure, costs, np.inf))
        in_image = self._image_costs(measured, sight, same & sure, rows, columns)
        for again in (in_image, np.where(same & ~sure, costs, np.inf)):
            again[rows], again[:, columns] = np.inf, np.inf
            if not np.isfinite(again).any():
                continue
            more_rows, more_columns = assign(again)
            rows, columns = np.concatenate([rows, more_rows]), np.concatenate([columns, more_columns])
        return rows, columns

    def _image_costs(
        self, measured: Measurements, sight: Sight, allowed: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> np.ndarray:
        """(T, D): how little the boxes of a track and a detection overlap in the image, for those that are left.

        A detector that is too sure of its depths would else begin a second track of an object at every jump.
        """
        table, costs = self._table, np.full(allowed.shape, np.inf)
        free_rows = np.setdiff1d(np.flatnonzero(table.confirmed), rows)
        free_columns = np.setdiff1d(np.arange(len(measured)), columns)
        if not len(free_rows) or not len(free_columns):
            return costs
        boxes = self._in_camera(table[free_rows], table.headings.angle[free_rows])
        overlap = box3d.image_iou(sight.boxes2d(boxes), measured.boxes2d[free_columns])
        ratio = boxes[:, 2, None] / measured.depths[free_columns]
        near = (ratio < _DEPTH_RATIO) & (ratio > 1 / _DEPTH_RATIO)
        one = near & (overlap >= self.settings.image_overlap)
        costs[np.ix_(free_rows, free_columns)] = np.where(one, 1 - overlap, np.inf)
        costs[~allowed] = np.inf
        return costs

    def _publish(self, found: Detections, source: np.ndarray, sight: Sight, stamp: int) -> Tracks:
        """What is known of the tracks now; those that have ended are dropped."""
        tracks, visible = self._seen_from(sight, found, source, stamp)
        table, settings, coasting = self._table, self.settings, tracks.coasting
        limit = np.where(table.confirmed, settings.confirmed_coast, settings.tentative_coast)
        doubt = np.sqrt(np.trace(tracks.position_covariances, axis1=1, axis2=2))
        alive = (coasting <= limit) & (visible | (coasting <= settings.tentative_coast)) & (doubt < _MOST_DOUBT)
        alive &= ~_superseded(tracks, source >= 0)
        likely = table.scores >= settings.keep_share * settings.publish_score
        shown = alive & visible & table.confirmed & likely & (coasting <= settings.publish_coast + _INSTANT)
        order = np.lexsort((table.ids, -table.scores))
        self._table = table[alive]
        return tracks[order[shown[order]]]

    def _seen_from(self, sight: Sight, found: Detections, source: np.ndarray, stamp: int) -> tuple[Tracks, np.ndarray]:
        """All tracks in the frame in which they are followed, and which (N,) of them are in the image."""
        table, motion = self._table, self._anchor.camera
        back, ground = motion[:3, :3].T, np.ix_([0, 2], [0, 2])
        velocities, spread = table.mean[:, 3:], table.covariance[:, 3:, 3:]
        fixed = self._anchor.fixed
        angles, heading_std = heading.resolved(
            table.headings,
            velocities[:, [0, 2]] * fixed,
            spread[:, ground[0], ground[1]],
        )
        boxes = self._in_camera(table, angles)
        boxes2d, now = np.empty((len(table), 4)), source >= 0
        boxes2d[now] = found.boxes2d[source[now]]
        if not now.all():
            boxes2d[~now] = sight.boxes2d(boxes[~now])
        visible = np.isfinite(boxes2d).all(axis=1) | now
        names = np.array(self._names, dtype=str)[table.labels]
        return Tracks(
            table.ids, names, np.clip(table.scores, 0, 1), boxes, boxes2d,
            back @ (table.covariance[:, :3, :3] + self.settings.bias_share * table.noise) @ back.T, heading_std,
            velocities @ back.T if fixed else None, back @ spread @ back.T if fixed else None,
            (stamp - table.last) / 1e9, source,
        ), visible  # fmt: skip

    def _in_camera(self, table: TrackTable, angles: np.ndarray) -> np.ndarray:
        """The boxes (N, 7) of tracks with headings (N,), in the frame of the camera's P."""
        motion = self._anchor.camera
        centres = (table.mean[:, :3] - motion[:3, 3]) @ motion[:3, :3]
        return np.column_stack([centres, table.sizes, box3d.headings_between(angles, motion[:3, :3].T)])

    def _motions(self, table: TrackTable) -> Motions:
        return self.settings.motions(self._names)[table.labels]


def _superseded(tracks: Tracks, now: np.ndarray) -> np.ndarray:
    """Tracks (N,) that are not detected now, with one of their class in their place that is, or that is older."""
    lost = np.flatnonzero(~now)
    superseded = np.zeros(len(tracks), bool)
    if len(lost):
        same = same_place(tracks.boxes)
        same = (same | same.T)[lost] & (tracks.names[lost, None] == tracks.names)
        superseded[lost] = (same & (now | (tracks.ids < tracks.ids[lost, None]))).any(axis=1)
    return superseded


def _require_rigid(pose: np.ndarray) -> None:
    rotation = np.asarray(pose)[:3, :3] if np.shape(pose) == (4, 4) else np.full((3, 3), np.nan)
    if not (np.abs(rotation @ rotation.T - np.eye(3)) < 1e-3).all() or not np.isfinite(pose).all():
        raise ValueError(f"pose must be a rigid transform (4, 4), got {np.array(pose).tolist()}")
