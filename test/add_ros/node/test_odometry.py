"""Where the camera is over ground by nav_msgs/Odometry: closed forms, and the node with it over DDS."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from support.detector_bench import MODEL, Bench, DetectorProcess, camera_info, image_message, street
from support.detector_bench import PATIENCE as BENCH_PATIENCE
from vision_msgs.msg import Detection3DArray

from add_ros.errors import FrameRejectedError
from add_ros.node.odometry import Odometry

SECOND = 10**9
PATIENCE = 0.3


def stamp(nanoseconds):
    return Time(sec=nanoseconds // SECOND, nanosec=nanoseconds % SECOND)


def message(nanoseconds, x=0.0, y=0.0, yaw=0.0, child="lens"):
    turn = Quaternion(z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))
    made = OdometryMessage(header=Header(stamp=stamp(nanoseconds), frame_id="odom"), child_frame_id=child)
    made.pose.pose = Pose(position=Point(x=x, y=y), orientation=turn)
    return made


def header(nanoseconds, frame="lens"):
    return Header(stamp=stamp(nanoseconds), frame_id=frame)


class Robot:
    """Publishes odometry to an `Odometry`, over DDS."""

    def __init__(self):
        if not rclpy.ok():
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("robot")
        self.odometry = Odometry(self.node, "wheels/odom", PATIENCE)
        self._publisher = self.node.create_publisher(OdometryMessage, "wheels/odom", 50)
        self._heard = []
        self.node.create_subscription(OdometryMessage, "wheels/odom", self._heard.append, 50)
        while self._publisher.get_subscription_count() < 2:
            time.sleep(0.01)

    def send(self, *messages):
        """Publish, and spin until all is heard, by another subscription than the one that is tested."""
        wanted = len(self._heard) + len(messages)
        for made in messages:
            self._publisher.publish(made)
        end = time.monotonic() + BENCH_PATIENCE
        while len(self._heard) < wanted:
            assert time.monotonic() < end
            rclpy.spin_once(self.node, timeout_sec=0.01)
        for _ in range(10):
            rclpy.spin_once(self.node, timeout_sec=0.01)


@pytest.fixture
def robot():
    made = Robot()
    yield made
    made.odometry.destroy()
    made.node.destroy_node()


def test_a_pose_lies_between_those_around_it(robot):
    start = 10_000 * SECOND
    robot.send(message(start), message(start + SECOND // 10, x=1.0, y=0.4, yaw=0.6))
    pose = robot.odometry.of_camera([0.0] * 6).pose(header(start + SECOND // 40))
    turned = 0.15
    np.testing.assert_allclose(pose[:3, 3], [0.25, 0.1, 0], atol=1e-9)
    np.testing.assert_allclose(pose[0, :2], [np.cos(turned), -np.sin(turned)], atol=1e-9)


COS_30 = np.sqrt(3) / 2


@pytest.mark.parametrize(
    ("angles", "ahead", "right"),
    [
        ((0, 0, 0), (10, 0, 0), (0, -10, 0)),
        ((0, 0, 90), (0, 10, 0), (10, 0, 0)),  # looks to the left
        ((0, 30, 0), (10 * COS_30, 0, -5), (0, -10, 0)),  # looks down
        ((30, 0, 0), (10, 0, 0), (0, -10 * COS_30, -5)),  # turned clockwise, seen from behind
    ],
)
def test_the_mounting_says_where_the_camera_is_on_the_robot(robot, angles, ahead, right):
    robot.send(message(SECOND, x=100.0, yaw=np.pi / 2, child="base_link"))
    pose = robot.odometry.of_camera([1.5, 0.2, 1.2, *map(float, angles)]).pose(header(SECOND))
    robot_to_odom = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    for point, expected in (((0, 0, 10), ahead), ((10, 0, 0), right)):
        on_robot = np.array([1.5, 0.2, 1.2]) + expected
        np.testing.assert_allclose(
            pose[:3, :3] @ point + pose[:3, 3], robot_to_odom @ on_robot + [100, 0, 0], atol=1e-9
        )


def test_what_is_not_known_is_said(robot):
    camera = robot.odometry.of_camera([0.0] * 6)
    with pytest.raises(FrameRejectedError, match="/wheels/odom: no odometry has arrived"):
        camera.pose(header(SECOND))
    robot.send(message(20 * SECOND), message(21 * SECOND))
    with pytest.raises(FrameRejectedError, match=r"known from 20.000 to 21.000 s only, not at 19.000 s"):
        camera.pose(header(19 * SECOND))
    with pytest.raises(FrameRejectedError, match=r"the newest odometry is 1.500 s older than the image"):
        camera.pose(header(22 * SECOND + SECOND // 2))
    with pytest.raises(
        FrameRejectedError, match="is of 'lens', the images are of 'other': the parameter camera_mounting"
    ):
        camera.pose(header(20 * SECOND, "other"))


def test_an_image_waits_for_its_odometry(robot):
    robot.send(message(SECOND))
    got = []
    waiting = threading.Thread(
        target=lambda: got.append(robot.odometry.of_camera([0.0] * 6).pose(header(SECOND + SECOND // 20)))
    )
    waiting.start()
    robot.send(message(SECOND + SECOND // 10, x=1.0))
    waiting.join()
    np.testing.assert_allclose(got[0][:3, 3], [0.5, 0, 0])


def test_impossible_values_are_left_out_and_another_time_begins_anew(robot):
    camera = robot.odometry.of_camera([0.0] * 6)
    robot.send(message(1000 * SECOND), message(1001 * SECOND, x=float("nan")), message(1002 * SECOND, x=2.0))
    np.testing.assert_allclose(camera.pose(header(1001 * SECOND))[:3, 3], [1, 0, 0])
    robot.send(message(5000 * SECOND))  # a single message from elsewhere in time
    assert camera.pose(header(1001 * SECOND))[0, 3] == 1.0
    robot.send(*(message(k * SECOND // 10, x=-5.0) for k in range(8)))  # the recording begins again
    assert camera.pose(header(SECOND * 6 // 10))[0, 3] == -5.0
    with pytest.raises(FrameRejectedError, match="older than the image"):
        camera.pose(header(1001 * SECOND))


def test_tracks_over_dds_have_velocities_by_odometry():
    with DetectorProcess(model=MODEL, score_threshold=0.02, odom_topic="odom") as detector:
        detector.wait_for_log("ready: /image")
        bench = Bench()
        bench.wait_for_subscriber()
        odometry = bench.node.create_publisher(OdometryMessage, "odom", 10)
        tracks, velocities = [], []
        bench.node.create_subscription(Detection3DArray, "tracks", tracks.append, 10)
        bench.node.create_subscription(PointCloud2, "track_velocities", velocities.append, 10)
        bench.spin_until(lambda: odometry.get_subscription_count(), "for the node to listen to odometry")
        bench.spin_for(0.3)
        start = time.time_ns()
        for k in range(6):
            at = start + k * SECOND // 10
            image, info = image_message(street()), camera_info()
            image.header = info.header = header(at)
            odometry.publish(message(at))
            bench.infos.publish(info)
            bench.images.publish(image)
            bench.spin_until(lambda k=k: len(velocities) > k, f"for velocities at image {k}")
        assert len(tracks) == 6 and velocities[-1].width == len(tracks[-1].detections) >= 3
        assert velocities[-1].header.stamp == tracks[-1].header.stamp == stamp(at)
        image.header = info.header = header(at + SECOND)  # odometry of this stamp never comes
        bench.infos.publish(info)
        bench.images.publish(image)
        detector.wait_for_log("no tracks for an image: /odom: the newest odometry is 1.000 s older than the image")
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
        bench.close()
