"""A level camera in the place of one that looks down or rolls.

Networks see boxes that stand upright in the camera's frame. What the camera of a robot sees that leans is turned into
the view of a virtual one in the same place that is level: a homography, since nothing moves. Boxes found there are
upright on the floor, and turned back behind the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera

LEVEL_UP = np.array([0.0, -1.0, 0.0])  # up in the frame of a level camera
LEVEL_UP.setflags(write=False)
_ROUNDING = 1e-6  # pixels
_LARGEST = 2.0  # times the original's sides: where the view would grow beyond, its rim is cut


@dataclass(frozen=True, eq=False)
class LevelView:
    """What turns a camera's image into a level one's.

    camera:   the level camera, with points in its own frame
    rotation: (3, 3), points of the original camera's own frame to the level one's
    homography: (3, 3), pixels of the original image to those of the level one
    """

    camera: Camera
    rotation: np.ndarray
    homography: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """The rotation as (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        return matrix

    @property
    def up(self) -> np.ndarray:
        """(3,) unit vector in the original camera's own frame that points up."""
        up: np.ndarray = self.rotation.T @ LEVEL_UP
        return up

    def warp(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) as the level camera sees it; what the original does not show is black."""
        size = (self.camera.width, self.camera.height)
        return cv2.warpPerspective(image, self.homography, size, flags=cv2.INTER_LINEAR)


def camera_up(pitch: float, roll: float) -> np.ndarray:
    """(3,) unit vector in the frame of a camera that points up.

    Args:
        pitch: degrees by which the camera looks down.
        roll: degrees by which it is turned clockwise about its own axis, seen from behind: its right side is lower.
    """
    p, r = np.radians(pitch), np.radians(roll)
    return np.array([-np.sin(r) * np.cos(p), -np.cos(r) * np.cos(p), -np.sin(p)])


def level_rotation(up: np.ndarray) -> np.ndarray:
    """The smallest turn (3, 3) that takes the direction `up` (3,) of a camera's frame to -y, which is up when level.

    Raises ValueError where the camera looks straight up or down, or lies on its head.
    """
    length = np.linalg.norm(up)
    if not np.isfinite(length) or length < 1e-6:
        raise ValueError(f"up {up} is no direction")
    x, y, z = up / length
    if -y < 0.3:
        angle = np.degrees(np.arccos(np.clip(-y, -1, 1)))
        raise ValueError(f"the camera is tilted by {angle:.0f} degrees, too far for a level view")
    # Rodrigues' formula about the axis up x (0, -1, 0) = (z, 0, -x).
    cross = np.array([[0, x, 0], [-x, 0, -z], [0, z, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1 - y)


def level_view(camera: Camera, up: np.ndarray) -> LevelView:
    """The level view of a camera.

    It has the same focal lengths. Its image holds the whole original one, up to twice its size.

    Args:
        camera: with points in its own frame or another; the view is of its own.
        up: (3,) direction in the camera's own frame that points up.

    Raises:
        ValueError: where there is no such view.
    """
    rotation = level_rotation(np.asarray(up, float))
    K = camera.P[:, :3]
    turned = K @ rotation @ np.linalg.inv(K)
    right, bottom = camera.width - 0.5, camera.height - 0.5
    corners = np.array([(-0.5, -0.5), (right, -0.5), (-0.5, bottom), (right, bottom)])
    rays = np.c_[corners, np.ones(4)] @ turned.T
    centre = turned @ np.array([(right - 0.5) / 2, (bottom - 0.5) / 2, 1.0])
    middle = centre[:2] / centre[2]
    reach = _LARGEST / 2 * np.array([camera.width, camera.height])
    ahead = rays[:, 2] > 0.05
    pixels = np.where(ahead[:, None], rays[:, :2] / np.where(ahead, rays[:, 2], 1)[:, None], np.nan)
    low, high = middle - reach, middle + reach
    if ahead.all():
        low, high = np.maximum(low, pixels.min(axis=0)), np.minimum(high, pixels.max(axis=0))
    # Whole pixels; what sticks out by rounding errors alone is none.
    origin = np.floor(low + 0.5 + _ROUNDING)
    width, height = np.maximum(1, np.ceil(high - 0.5 - _ROUNDING) - origin + 1).astype(int)
    shift = np.array([[1, 0, -origin[0]], [0, 1, -origin[1]], [0, 0, 1.0]])
    return LevelView(Camera.of_intrinsics(shift @ K, int(width), int(height)), rotation, shift @ turned)


def turned_back(found: Detections, view: LevelView, camera: Camera) -> Detections:
    """Detections in the image of a level view, in that of the camera that it was made of.

    Args:
        found: with boxes in the level camera's own frame.
        view: of the camera.
        camera: of the original image.

    Returns:
        Detections with boxes in the frame of the camera's P and `up` set, and `depth_std` along its z. 2D boxes enclose
        the corners of those in the level image, clipped; detections that the original image does not show are left out.
    """
    boxes2d, shown = rectangles_turned_back(found.boxes2d, view, camera)
    std = found.depth_std * depth_ratio(found.boxes, view)
    boxes = boxes_turned_back(found.boxes, view, camera)
    return replace(found, boxes=boxes, boxes2d=boxes2d, depth_std=std, up=view.up)[shown]


def depth_ratio(boxes: np.ndarray, view: LevelView) -> np.ndarray:
    """(N,) by how much larger depths of boxes (N, 7) in the level camera's frame are as the original camera has them.

    An error along the viewing ray is so much larger along its z, too.
    """
    own = boxes[:, :3] @ view.rotation[:, 2]
    ratio: np.ndarray = np.maximum(np.abs(own), 1e-3) / np.maximum(np.abs(boxes[:, 2]), 1e-3)
    return ratio


def boxes_turned_back(boxes: np.ndarray, view: LevelView, camera: Camera) -> np.ndarray:
    """The boxes (N, 7) of `turned_back`."""
    turned = boxes.copy()
    turned[:, :3] = boxes[:, :3] @ view.rotation - camera.translation
    turned[:, 6] = box3d.headings_between(boxes[:, 6], view.rotation.T)
    return turned


def rectangles_turned_back(rectangles: np.ndarray, view: LevelView, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The 2D boxes (N, 4) of `turned_back`, and which of them (N,) the original image shows."""
    left, top, right, bottom = rectangles.T
    corners = np.array([(left, top), (right, top), (left, bottom), (right, bottom)]).reshape(4, 2, len(rectangles))
    rays = np.moveaxis(np.concatenate([corners, np.ones((4, 1, len(rectangles)))], axis=1), 2, 0)
    rays = rays @ np.linalg.inv(view.homography).T
    ahead = (rays[..., 2] > 0).all(axis=1)
    pixels = rays[..., :2] / np.where(rays[..., 2:] > 0, rays[..., 2:], 1)
    clipped = box3d.clip_to_image(np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1), camera)
    return clipped, ahead & box3d.has_area(clipped)


def levelled_boxes(boxes: np.ndarray, view: LevelView, camera: Camera) -> np.ndarray:
    """Boxes (N, 7) that stand along the view's `up`, in the level camera's own frame: `boxes_turned_back`, inverted."""
    level = boxes.copy()
    level[:, :3] = (boxes[:, :3] + camera.translation) @ view.rotation.T
    level[:, 6] = box3d.heading_of(box3d.axes(boxes, view.up)[:, 0] @ view.rotation.T)
    return level
