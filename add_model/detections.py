"""What a detector finds in one image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SCORE_THRESHOLD = 0.4  # what is published by default: precise enough to look at, see the model card


@dataclass(frozen=True, eq=False)
class Detections:
    """N detections of one image, best score first.

    Attributes:
        names: (N,) class names, such as 'Car'
        scores: (N,) in [0, 1]
        boxes: (N, 7) 3D boxes as `add_model.geometry.boxes` defines them, in the frame of the camera's P, metres
        boxes2d: (N, 4) left, top, right, bottom in pixels of the image that was given
        depth_std: (N,) standard deviation of the predicted depth, metres
        impossible: how many more the network gave that cannot be, such as with a size below 0; they are left out
        up: (3,) unit vector in the frame of the boxes along which they stand; None for -y, where the camera is level.
            Their rotation_y is then that of their forward axis' projection on the camera's x and z.
    """

    names: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    boxes2d: np.ndarray
    depth_std: np.ndarray
    impossible: int = 0
    up: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: np.ndarray | slice) -> Detections:
        """The detections that a mask, index array or slice picks."""
        rows = {name: getattr(self, name)[index] for name in ("names", "scores", "boxes", "boxes2d", "depth_std")}
        return replace(self, **rows)

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(np.empty(0, dtype="U1"), np.empty(0), np.empty((0, 7)), np.empty((0, 4)), np.empty(0))
