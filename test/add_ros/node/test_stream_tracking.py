"""Tracks of the node: over DDS from images, and with the camera's pose from tf."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from support.detector_bench import MODEL, Bench, DetectorProcess, camera_info, image_message, street
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from add_model.detections import Detections
from add_model.geometry.boxes import project_boxes
from add_model.geometry.camera import Camera
from add_ros.errors import FrameRejectedError
from add_ros.node.stream_tracking import StreamTracking

CAMERA = Camera.pinhole(360, 360, 320, 96, 640, 192)


def listen(bench, kind, topic):
    got = []
    bench.node.create_subscription(kind, topic, got.append, 10)
    bench.spin_until(lambda: bench.node.count_publishers(topic), f"for {topic}")
    bench.spin_for(0.3)
    return got


def test_tracks_over_dds_keep_their_ids_and_leave_detections_alone():
    with DetectorProcess(model=MODEL, score_threshold=0.02, tracking="true") as detector:
        detector.wait_for_log("ready: /image")
        bench = Bench()
        bench.wait_for_subscriber()
        tracks, markers = listen(bench, Detection3DArray, "tracks"), listen(bench, MarkerArray, "track_markers")
        assert not bench.node.count_publishers("track_velocities")
        stamp = time.time_ns() // 10**9
        for k in range(8):
            image, info = image_message(street()), camera_info()
            image.header.stamp = info.header.stamp = Time(sec=stamp, nanosec=k * 10**8)
            image.header.frame_id = info.header.frame_id = "lens"
            bench.infos.publish(info)
            bench.images.publish(image)
            bench.spin_until(lambda k=k: len(tracks) > k, f"for tracks of image {k}")
        assert [t.header.stamp.nanosec for t in tracks] == [k * 10**8 for k in range(8)]
        ids = [{d.id for d in message.detections} for message in tracks]
        assert all(found.id == "" for found in bench.received[stamp].detections)
        assert len(ids[-1]) >= 3 and ids[-1] == ids[-2] == ids[-3] and "" not in ids[-1]
        shown = {m.id for m in markers[-1].markers if m.action == Marker.ADD and m.ns == "tracks"}
        assert {str(i) for i in shown} == ids[-1]
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
        bench.close()


@pytest.mark.skipif(importlib.util.find_spec("tf2_ros") is not None, reason="tf2_ros is installed here")
def test_without_tf2_the_node_says_what_to_install():
    with DetectorProcess(model=MODEL, tracking_frame="odom") as detector:
        assert detector.wait() == 1
        (fatal,) = [line for line in detector.lines if "FATAL" in line]
        assert "parameter tracking_frame needs tf2_ros" in fatal


class Odometry:
    """Where the camera is at a stamp: 5 m/s forward, from 10,000 s on."""

    def pose(self, header: Header) -> np.ndarray:
        passed = header.stamp.sec - 10_000 + header.stamp.nanosec / 1e9
        if passed < 0:
            raise FrameRejectedError("no transform", "extrapolation into the past")
        pose = np.eye(4)
        pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # odom's axes: x forward, z up
        pose[0, 3] = 5 * passed
        return pose


def header(seconds: float) -> Header:
    return Header(stamp=Time(sec=int(seconds), nanosec=round(seconds % 1 * 1e9)), frame_id="lens")


def detections(z: float, score: float = 0.97) -> Detections:
    boxes = np.array([[2.0, 1.0, z, 4.0, 1.7, 1.5, -1.5]])
    return Detections(np.array(["Car"]), np.array([score]), boxes, project_boxes(boxes, CAMERA), np.array([0.02 * z]))


def test_with_odometry_a_parked_car_stands():
    tracking = StreamTracking(Odometry())
    for k in range(30):
        tracks, pose = tracking.update(detections(40 - 0.5 * k), CAMERA, header(10_000 + k / 10), 0.15)
    assert tracks.ids.tolist() == [1] and np.linalg.norm(tracks.velocities[0]) < 0.5
    np.testing.assert_allclose(pose[0, 3], 5 * 2.9)


def test_images_without_pose_or_out_of_order_are_told():
    tracking = StreamTracking(Odometry())
    with pytest.raises(FrameRejectedError, match="extrapolation"):
        tracking.update(detections(40), CAMERA, header(9_999.5), 0.15)
    tracking.update(detections(40), CAMERA, header(10_000.5), 0.15)
    with pytest.raises(FrameRejectedError, match=r"stamp 10000\.400000000 is not newer"):
        tracking.update(detections(40), CAMERA, header(10_000.4), 0.15)
    tracks, _ = tracking.update(detections(39.5), CAMERA, header(10_000.6), 0.15)
    assert tracks.ids.tolist() == [1]


def test_a_higher_threshold_holds_from_the_next_image_on():
    tracking = StreamTracking(None)
    assert tracking.least_score(0.6) == pytest.approx(0.27, abs=0.01)  # log odds of 0.41 - 1.4
    assert not len(tracking.update(detections(40, 0.5), CAMERA, header(1.0), 0.6)[0])
    assert len(tracking.update(detections(40, 0.5), CAMERA, header(1.2), 0.01)[0])
