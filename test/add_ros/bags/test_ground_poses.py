"""How the camera moves, by transforms of which some cannot be decoded."""

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from support.bag_bench import STORE
from support.robot_bench import PERIOD, START, base_pose, stamped

from add_ros.bags.ground_poses import GroundPoses

KIND = "tf2_msgs/msg/TFMessage"


def test_poses_do_not_jump_where_the_robot_is_localised_anew(tmp_path):
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/tf", KIND, typestore=STORE)
        for i in range(10):
            stamp, correction = START + i * PERIOD, np.eye(4)
            correction[0, 3] = 0.0 if i < 5 else 1.0
            chain = [("map", "odom", correction), ("odom", "base_link", base_pose(i * PERIOD / 1e9))]
            message = STORE.types[KIND]([stamped(*edge, stamp) for edge in chain])
            writer.write(connection, stamp, STORE.serialize_cdr(message, KIND))
    poses = GroundPoses(tmp_path / "bag")
    for i in range(10):
        np.testing.assert_allclose(poses("base_link", START + i * PERIOD), base_pose(i * PERIOD / 1e9), atol=1e-6)


@pytest.mark.parametrize("bad", [(), (0,), (3, 4)])
def test_malformed_transforms_are_counted_and_lose_no_later_ones(tmp_path, bad):
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/tf", KIND, typestore=STORE)
        for i in range(10):
            stamp = START + i * PERIOD
            pose = base_pose(i * PERIOD / 1e9)
            data = STORE.serialize_cdr(STORE.types[KIND]([stamped("odom", "base_link", pose, stamp)]), KIND)
            writer.write(connection, stamp, data[:40] if i in bad else data)
    poses = GroundPoses(tmp_path / "bag")
    assert poses.malformed == len(bad)
    for i in set(range(10)) - set(bad):
        found = poses("base_link", START + i * PERIOD)
        np.testing.assert_allclose(found, base_pose(i * PERIOD / 1e9), atol=1e-6)
