"""One training sample: an image with its camera, labelled objects and, where known, its depth map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from add_model.geometry.camera import Camera

NOT_GIVEN = -1  # what KITTI writes for a truncation or an occlusion that is not known
UNKNOWN = 3  # KITTI's code of an occlusion that cannot be told: such objects are left out of training and scores


@dataclass(frozen=True, eq=False)
class Objects:
    """The N labelled objects of one frame.

    names:     (N,) KITTI type names; 'DontCare' rows have a 2D box only and NaN elsewhere
    boxes:     (N, 7) as `add_model.geometry.boxes` defines them, in the frame of the camera's P, metres
    boxes2d:   (N, 4) left, top, right, bottom in pixels
    truncated: (N,) share of the object outside the image, 0 to 1; NOT_GIVEN, -1, where it is not known
    occluded:  (N,) 0 fully visible, 1 partly, 2 largely occluded, 3 unknown; NOT_GIVEN, -1, where no code is given
    """

    names: np.ndarray
    boxes: np.ndarray
    boxes2d: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: np.ndarray | slice) -> Objects:
        """The objects that a mask, index array or slice picks."""
        return Objects(*(column[index] for column in vars(self).values()))

    @classmethod
    def empty(cls) -> Objects:
        """No objects."""
        return cls(np.empty(0, dtype="U1"), np.empty((0, 7)), np.empty((0, 4)), np.empty(0), np.empty(0, dtype=int))


@dataclass(frozen=True, eq=False)
class Sample:
    """An image (H, W, 3) uint8 RGB with its camera, its objects and optionally depth (H, W) float32.

    Depth is the camera's projective depth in metres (see `add_model.geometry.camera`), 0 where unknown. trains_3d says
    whether depth, 3D size and 3D offset of its objects are trained on.
    """

    id: str
    image: np.ndarray
    camera: Camera
    objects: Objects = field(default_factory=Objects.empty)
    depth: np.ndarray | None = None
    trains_3d: bool = True
