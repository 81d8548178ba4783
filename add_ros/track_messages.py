"""Tracks -> messages. Where vision_msgs has no field, a standard message with named fields carries it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from add_model.pose_covariance import joined_covariances, rotation_covariances
from add_model.tracking import Tracks
from add_ros.messages import box_array, structured_cloud

_VELOCITY = [(name, "<f4") for name in ("x", "y", "z", "vx", "vy", "vz", "vxx", "vxy", "vxz", "vyy", "vyz", "vzz")]
_FIELDS = np.dtype([*_VELOCITY, ("id", "<u4")])
_UPPER = np.triu_indices(3)


def track_array(
    tracks: Tracks, header: Header, class_ids: Mapping[str, str] | None = None, covariance_scale: float = 1.0
) -> Detection3DArray:
    """Tracks -> Detection3DArray as `add_ros.messages.detection_array` makes it, with each track's id, smoothed.

    Args:
        tracks: in the camera's own optical frame.
        header: of the image.
        class_ids: class name -> class_id; the name itself where it is missing.
        covariance_scale: factor on the standard deviations of the position.
    """
    rotations = rotation_covariances(tracks.heading_std, tracks.up)
    covariances = joined_covariances(covariance_scale**2 * tracks.position_covariances, rotations)
    return box_array(tracks.detections, covariances, header, class_ids, [str(i) for i in tracks.ids])


def velocity_cloud(tracks: Tracks, header: Header) -> PointCloud2:
    """A point at the centre of each track with its velocity.

    Fields: x, y, z (m), vx, vy, vz (m/s over ground, along the axes of the header's frame), the covariance of these as
    vxx, vxy, vxz, vyy, vyz, vzz, all float32, and id (uint32).

    Raises:
        ValueError: where the camera's motion is not known: then there is no velocity.
    """
    if tracks.velocities is None or tracks.velocity_covariances is None:
        raise ValueError("tracks without the camera's motion have no velocities")
    points = np.zeros(len(tracks), _FIELDS)
    columns = [*tracks.boxes[:, :3].T, *tracks.velocities.T, *tracks.velocity_covariances[:, _UPPER[0], _UPPER[1]].T]
    for (name, _), column in zip(_VELOCITY, columns, strict=True):
        points[name] = column
    points["id"] = tracks.ids % 2**32
    return structured_cloud(points, header)
