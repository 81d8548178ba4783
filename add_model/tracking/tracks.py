"""What a tracker knows at the moment of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from add_model.detections import Detections


@dataclass(frozen=True, eq=False)
class Tracks:
    """N tracks at the moment of one image, best score first, in the frame of that image's camera.

    Attributes:
        ids: (N,) int64, from 1; a tracker never gives one twice
        names: (N,) class names
        scores: (N,) in [0, 1]
        boxes: (N, 7) as `add_model.geometry.boxes` defines them, in the frame of the camera's P, metres
        boxes2d: (N, 4) left, top, right, bottom in pixels
        position_covariances: (N, 3, 3) m^2
        heading_std: (N,) radians
        velocities: (N, 3) m/s over ground, along the axes of the camera's frame; None where its motion is not known
        velocity_covariances: (N, 3, 3) m^2/s^2; None likewise
        coasting: (N,) seconds since it was detected last: 0 for what is in this image
        sources: (N,) the index of its detection in this image, -1 while it coasts
        up: (3,) unit vector along which the boxes stand; None for -y, which is up under a level camera
        frame_began: whether what is known of the camera's motion began at this image, or was set anew: poses of images
            before it belong to another frame
    """

    ids: np.ndarray
    names: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    boxes2d: np.ndarray
    position_covariances: np.ndarray
    heading_std: np.ndarray
    velocities: np.ndarray | None
    velocity_covariances: np.ndarray | None
    coasting: np.ndarray
    sources: np.ndarray
    up: np.ndarray | None = None
    frame_began: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: np.ndarray | slice) -> Tracks:
        """The tracks that a mask, index array or slice picks."""
        picked: dict[str, Any] = {
            name: None if all_of is None else all_of[index]
            for name, all_of in vars(self).items()
            if name not in ("up", "frame_began")
        }
        return Tracks(**picked, up=self.up, frame_began=self.frame_began)

    @property
    def detections(self) -> Detections:
        """The tracks as detections."""
        depth_std = np.sqrt(self.position_covariances[:, 2, 2])
        return Detections(self.names, self.scores, self.boxes, self.boxes2d, depth_std, up=self.up)
