"""How a tracker's camera sees: objects are followed as a level one in its place would see them, where it leans."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.geometry.level import (
    LevelView,
    boxes_turned_back,
    depth_ratio,
    level_view,
    levelled_boxes,
    rectangles_turned_back,
)
from add_model.tracking.tracks import Tracks

NEAREST = 0.1  # metres before the camera


@dataclass(frozen=True, eq=False)
class Sight:
    """A camera, and the level view in whose frame objects are followed; None of a camera that is level itself.

    2D boxes are those of the camera's own image always.
    """

    camera: Camera
    view: LevelView | None

    @classmethod
    def of(cls, camera: Camera, up: np.ndarray | None) -> Sight:
        """Of a camera in whose frame boxes stand along `up` (3,), None for -y.

        Raises:
            ValueError: where it leans too far.
        """
        return cls(camera, None if up is None else level_view(camera, up))

    def levelled(self, found: Detections) -> Detections:
        """Detections with upright boxes in the frame in which objects are followed."""
        if self.view is None:
            return found
        with np.errstate(invalid="ignore"):  # of rows that are not finite
            boxes = levelled_boxes(found.boxes, self.view, self.camera)
            return replace(found, boxes=boxes, depth_std=found.depth_std / depth_ratio(boxes, self.view), up=None)

    def level_pose(self, pose: np.ndarray | None) -> np.ndarray | None:
        """A pose (4, 4) of the frame of the camera's P as that of the frame in which objects are followed."""
        if self.view is None or pose is None:
            return pose
        back = self.view.matrix.T
        back[:3, 3] = -self.camera.translation
        level: np.ndarray = pose @ back
        return level

    def boxes2d(self, boxes: np.ndarray) -> np.ndarray:
        """The 2D boxes (N, 4) of followed boxes (N, 7), clipped to the image; NaN where nothing of one is in it."""
        if self.view is None:
            clipped = box3d.clip_to_image(box3d.project_boxes(boxes, self.camera), self.camera)
            shown = box3d.has_area(clipped)
        else:
            level = box3d.project_boxes(boxes, self.view.camera)
            clipped, shown = rectangles_turned_back(level, self.view, self.camera)
        clipped[~shown | (boxes[:, 2] < NEAREST)] = np.nan
        return clipped

    def turned_back(self, tracks: Tracks) -> Tracks:
        """Tracks in the frame of the camera's P."""
        if self.view is None:
            return tracks
        rotation, velocities, spread = self.view.rotation, tracks.velocities, tracks.velocity_covariances
        return replace(
            tracks,
            boxes=boxes_turned_back(tracks.boxes, self.view, self.camera),
            position_covariances=rotation.T @ tracks.position_covariances @ rotation,
            velocities=None if velocities is None else velocities @ rotation,
            velocity_covariances=None if spread is None else rotation.T @ spread @ rotation,
            up=self.view.up,
        )
