"""Boxes as points, for costmaps: on the boxes' sides, without gaps, in the way Nav2 reads them."""

import numpy as np
import pytest
from std_msgs.msg import Header

from add_ros.messages import point_cloud
from add_ros.node.obstacle_points import obstacle_points

BOX = np.array([[2.0, 0.9, 10.0, 4.0, 1.8, 1.5, 0.7]])


def in_box(points, box):
    """Forward, down and side in the box, as shares of its half size."""
    offset = points - box[:3]
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    forward, side = cosine * offset[:, 0] - sine * offset[:, 2], sine * offset[:, 0] + cosine * offset[:, 2]
    return np.stack([forward, offset[:, 1], side], axis=1) / (box[[3, 5, 4]] / 2)


@pytest.mark.parametrize("spacing", [0.05, 0.1, 0.5])
def test_points_lie_on_the_sides_without_gaps(spacing):
    points = obstacle_points(BOX, spacing)
    assert points.dtype == np.float32
    shares = np.abs(in_box(points.astype(float), BOX[0]))
    assert shares.max() < 1 + 1e-5 and np.maximum(shares[:, 0], shares[:, 2]).min() > 1 - 1e-5
    others = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e3 * np.eye(len(points))
    assert others.min(axis=1).max() <= spacing + 1e-5 and others.min() > 0.2 * spacing
    assert points[:, 1].max() == pytest.approx(0.9 + 0.75) and points[:, 1].min() == pytest.approx(0.9 - 0.75)


def test_no_boxes_are_a_cloud_without_points():
    """Which costmaps take as: nothing seen."""
    message = point_cloud(obstacle_points(np.empty((0, 7)), 0.1), Header(frame_id="eye"))
    assert (message.width, message.height, len(message.data)) == (0, 1, 0)


def test_every_cell_of_a_costmap_under_the_sides_is_marked():
    """As Nav2's obstacle layer does: x, y, z by field name, into base_link, by height, into cells of 5 cm."""
    message = point_cloud(obstacle_points(BOX, 0.05), Header(frame_id="eye"))
    fields = {f.name: f for f in message.fields}
    assert all((fields[axis].datatype, fields[axis].count) == (7, 1) for axis in "xyz")  # FLOAT32, as its iterators ask
    assert message.point_step == 12 and message.row_step == 12 * message.width == len(message.data)
    assert not message.is_bigendian
    rows = np.frombuffer(bytes(message.data), "<f4").reshape(-1, 3)
    x, y, z = rows[:, 2], -rows[:, 0], 1.65 - rows[:, 1]  # base_link on the road below the camera
    marked = (z > 0.0) & (z < 2.0)  # min_obstacle_height and max_obstacle_height
    cells = set(zip(np.floor(x[marked] / 0.05), np.floor(y[marked] / 0.05), strict=True))
    cosine, sine = np.cos(0.7), np.sin(0.7)
    for share in np.linspace(-1, 1, 200):
        forward, side = 2.0 * share, 0.9
        at = (10 - sine * forward + cosine * side, -(2 + cosine * forward + sine * side))
        near = {(np.floor(at[0] / 0.05) + i, np.floor(at[1] / 0.05) + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
        assert near & cells
