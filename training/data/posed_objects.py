"""Labels that are boxes in the world, of any orientation, as the objects of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from training.data.sample import Objects


@dataclass(frozen=True, eq=False)
class PosedBoxes:
    """N boxes in some frame.

    names:     (N,) types
    centres:   (N, 3) metres
    rotations: (N, 3, 3) from the object's own axes (x forward, y left, z up) to the frame
    sizes:     (N, 3) length, width, height in metres
    """

    names: np.ndarray
    centres: np.ndarray
    rotations: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: np.ndarray) -> PosedBoxes:
        """The boxes that a mask or index array picks."""
        return PosedBoxes(self.names[index], self.centres[index], self.rotations[index], self.sizes[index])

    def moved(self, transform: np.ndarray) -> PosedBoxes:
        """The same boxes in another frame, by the (4, 4) transform from this one to it."""
        turn = transform[:3, :3]
        return PosedBoxes(self.names, self.centres @ turn.T + transform[:3, 3], turn @ self.rotations, self.sizes)

    def corners(self) -> np.ndarray:
        """(N, 8, 3), in the order of `geometry.boxes.EDGES`."""
        forward, left, up = np.moveaxis(self.rotations, 2, 0)
        return box3d.posed_corners(self.centres, self.sizes, np.stack([forward, -up, left], axis=1))

    def upright(self) -> np.ndarray:
        """Boxes (N, 7) as `geometry.boxes` defines them: of the rotation, the heading about the camera's y axis stays.

        The frame is the camera's.
        """
        return np.c_[self.centres, self.sizes, box3d.heading_of(self.rotations[..., 0])]


def objects_in_image(boxes: PosedBoxes, occluded: np.ndarray, camera: Camera) -> tuple[Objects, np.ndarray]:
    """The objects that an image may show, and which of the boxes they are (M,).

    2D boxes enclose the projections of the boxes as they are posed, clipped to the image; what they lose is truncated.
    Boxes whose centre is behind the camera are left out.

    Args:
        boxes: N boxes in the frame of the camera's P.
        occluded: (N,) KITTI's codes.
        camera: that of the image.
    """
    whole = box3d.project_corners(boxes.corners(), camera)
    clipped, share = box3d.visible_part(whole, camera)
    depth = boxes.centres @ camera.P[2, :3] + camera.P[2, 3]
    shown = np.flatnonzero((share > 0) & (depth > 0))
    found = Objects(
        boxes.names[shown], boxes.upright()[shown], clipped[shown], 1 - share[shown], np.asarray(occluded)[shown]
    )
    return found, shown


def matrix(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The (4, 4) transform with a (3, 3) rotation and a (3,) translation."""
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, translation
    return transform


def move(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (N, 3) by a (4, 4) transform."""
    return points @ transform[:3, :3].T + transform[:3, 3]
