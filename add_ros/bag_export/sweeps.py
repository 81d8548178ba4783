"""Scans brought to the time of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from add_ros.bag_export.clouds import Cloud, cloud_of
from add_ros.bags import messages
from add_ros.transforms import TransformTree

_STEP = 500_000  # ns: points are moved by the transform of their half millisecond


@dataclass(frozen=True, eq=False)
class Sweep:
    """A scan beside an image.

    cloud: its points, brought to the image's stamp where the scanner moves by tf
    stamp: of the scan, nanoseconds
    to_camera: (3, 4) metres, the scanner's frame to the camera's
    """

    cloud: Cloud
    stamp: int
    to_camera: np.ndarray


def sweep_of(message: Any, tree: TransformTree, frame_id: str, stamp: int) -> Sweep:
    """A PointCloud2 beside an image.

    Args:
        message: of the scan.
        tree: tf around both.
        frame_id: of the camera.
        stamp: of the image, nanoseconds.

    Raises:
        FrameRejectedError: where the scan is malformed, or tf does not say where it is.
    """
    scanner, measured, cloud = message.header.frame_id, messages.stamp_of(message), cloud_of(message)
    ground = tree.ground(scanner)
    if ground is None or ground != tree.ground(frame_id):
        return Sweep(cloud, measured, tree.lookup(frame_id, scanner, stamp)[:3])
    points = _moved(tree, ground, scanner, cloud, measured, stamp)
    return Sweep(replace(cloud, points=points), measured, tree.lookup(frame_id, scanner, stamp)[:3])


def _moved(tree: TransformTree, ground: str, scanner: str, cloud: Cloud, stamp: int, to: int) -> np.ndarray:
    """Points in the scanner's frame at the time `to`, each from where the scanner was when it was measured."""
    if cloud.stamps is None and stamp == to:
        return cloud.points
    if cloud.stamps is None:
        times, which = np.array([stamp]), np.zeros(len(cloud.points), dtype=int)
    else:
        steps, which = np.unique(cloud.stamps // _STEP, return_inverse=True)
        times = steps * _STEP + _STEP // 2
    back = np.linalg.inv(tree.lookup(ground, scanner, to))
    matrices = (back @ tree.lookup(ground, scanner, times)).astype(np.float32)
    points = cloud.points.copy()
    chosen = matrices[which]
    points[:, :3] = np.einsum("nij,nj->ni", chosen[:, :3, :3], cloud.points[:, :3]) + chosen[:, :3, 3]
    return points
