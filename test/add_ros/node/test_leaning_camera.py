"""A camera that looks down and rolls: what the node publishes stands on the floor."""

from types import SimpleNamespace as Of

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from support.detector_bench import (
    HEIGHT,
    MODEL,
    WIDTH,
    Bench,
    DetectorProcess,
    P,
    camera_info,
    image_message,
    picture,
    street,
)
from vision_msgs.msg import Detection3DArray

from add_model.geometry.camera import Camera
from add_model.geometry.level import camera_up
from add_model.ground import Ground
from add_model.predictor import Predictor
from add_ros.errors import FrameRejectedError
from add_ros.node.camera_attitude import CameraAttitude
from add_ros.node.camera_ground import CameraGround
from add_ros.node.camera_stream import CameraStream
from add_ros.node.log_throttle import LogThrottle
from add_ros.node.stream_diagnostics import StreamDiagnostics

PITCH, ROLL = 12.0, 5.0
UP = camera_up(PITCH, ROLL)


def answers(image, kind, topic, **parameters):
    """The detections of an image by a detector with these parameters, and its message on another topic."""
    with DetectorProcess(model=MODEL, device="cpu", **parameters) as process:
        process.wait_for_log("ready: /image")
        bench, heard = Bench(), []
        bench.node.create_subscription(kind, topic, heard.append, 10)
        bench.wait_for_subscriber()
        bench.spin_until(lambda: bench.node.count_publishers(topic), f"for {topic}")
        bench.spin_for(0.3)
        message = bench.detect(image_message(image), camera_info())
        bench.spin_until(lambda: heard, f"for {topic}")
        bench.close()
        assert process.stop() == 0 and "Traceback" not in process.log, process.log
    return message, heard[0]


def test_detections_are_the_predictors_in_the_level_view_turned_back_and_on_the_ground():
    lean = {"camera_pitch": PITCH, "camera_roll": ROLL, "camera_height": 1.5, "ground_slope_std": 0.2}
    message, cloud = answers(picture(3), PointCloud2, "obstacles", score_threshold=0.0, **lean)
    camera, predictor = Camera(P, WIDTH, HEIGHT), Predictor(MODEL, "cpu")
    expected = predictor.predict(picture(3), camera, up=UP, ground=Ground(UP, 1.5, 0.2))
    assert np.abs(expected.boxes - predictor.predict(picture(3), camera, up=UP).boxes).max() > 0.01
    assert len(message.detections) == len(expected) > 0
    for found, box in zip(message.detections, expected.boxes, strict=True):
        p, q = found.bbox.center.position, found.bbox.center.orientation
        np.testing.assert_allclose([p.x, p.y, p.z], box[:3], atol=1e-4)
        axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        np.testing.assert_allclose(axes[:, 2], UP, atol=1e-6)  # an object's z axis
        forward = axes[:, 0]
        assert np.arctan2(-forward[2], forward[0]) == pytest.approx(box[6], abs=1e-5)
    points = np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, 3).astype(float)
    on_a_side = np.zeros(len(points), bool)
    for found in message.detections:  # by the boxes of the message alone
        p, q, size = found.bbox.center.position, found.bbox.center.orientation, found.bbox.size
        axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        shares = np.abs((points - [p.x, p.y, p.z]) @ axes) / (np.array([size.x, size.y, size.z]) / 2)
        on_a_side |= (shares.max(axis=1) < 1.001) & (shares[:, :2].max(axis=1) > 0.999)
    assert on_a_side.all() and len(points) > 10 * len(message.detections)


def test_tf_says_how_a_camera_leans():
    level = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # a level optical frame in one with z up
    turn = Rotation.from_euler("x", -PITCH, degrees=True) * Rotation.from_euler("z", ROLL, degrees=True)
    pose = np.eye(4)
    pose[:3, :3] = level @ turn.as_matrix()
    attitude = CameraAttitude(0.0, 0.0, Of(pose=lambda header: pose))
    np.testing.assert_allclose(attitude.up(None), UP, atol=1e-12)
    with pytest.raises(FrameRejectedError, match="is level_frame one with z up"):
        CameraAttitude(0.0, 0.0, Of(pose=lambda header: np.eye(4))).up(None)


def test_tf_or_the_height_say_where_the_ground_is():
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    pose[:3, 3] = [0.3, 0.1, 1.2]
    by_tf = CameraGround(0.0, 0.5, Of(pose=lambda header: pose)).at(None, None, 1.0)
    by_height = CameraGround(1.2, 0.5, None).at(None, None, 1.0)
    for ground in (by_tf, by_height):
        np.testing.assert_array_equal(ground.up, [0, -1, 0])
        assert (ground.height, ground.slope_std) == (1.2, 0.5)
    np.testing.assert_array_equal(CameraGround(1.2, 0.5, None).at(None, UP, 1.0).up, UP)
    assert CameraGround(0.0, 0.5, None).at(None, UP, 1.0) is None
    pose[2, 3] = -0.1
    with pytest.raises(FrameRejectedError, match="is ground_frame one whose x-y plane it is"):
        CameraGround(0.0, 0.5, Of(pose=lambda header: pose)).at(None, None, 1.0)


def test_images_are_answered_where_the_ground_is_not_known():
    def fails(header):
        raise FrameRejectedError("no transform", "no transform from 'lens' to 'floor'")

    stream = object.__new__(CameraStream)
    stream._frames = Of(ground=CameraGround(0.0, 0.5, Of(pose=fails)))
    stream.diagnostics, logged = StreamDiagnostics(), []
    stream._throttle, stream._log = LogThrottle(60.0), Of(warning=logged.append)
    assert stream._known_ground(None, None, 1.0) is stream._known_ground(None, None, 1.0) is None
    values = {pair.key: pair.value for pair in stream.diagnostics.status("", {"device": "cpu"}, 100).values}
    assert values["frames_without_ground (no transform)"] == "2"
    assert logged == ["detections are published without regard to the ground: no transform from 'lens' to 'floor'"]


def test_an_impossible_lean_is_refused_at_the_start():
    with pytest.raises(ValueError, match="camera_pitch 60 and camera_roll -60: the camera is tilted by 76 degrees"):
        CameraAttitude(60.0, -60.0, None)
    CameraAttitude(60.0, 0.0, None)
    CameraAttitude(60.0, -60.0, Of())  # tf says it


def test_what_a_leaning_camera_cannot_have_is_one_line():
    with DetectorProcess(model=MODEL, camera_pitch=60.0, camera_roll=60.0) as process:
        assert process.wait() == 1
        fatal = [line for line in process.lines if "FATAL" in line]
        assert len(fatal) == 1 and "too far for a level view" in fatal[0] and "Traceback" not in process.log, (
            process.log
        )


def test_tracks_of_a_leaning_camera_stand_on_the_floor():
    lean = {"camera_pitch": PITCH, "camera_roll": ROLL, "tracking": "true"}
    message, tracks = answers(street(), Detection3DArray, "tracks", score_threshold=0.05, **lean)
    centres = np.array([[getattr(d.bbox.center.position, axis) for axis in "xyz"] for d in message.detections])
    assert tracks.detections and all(one.id for one in tracks.detections)
    for one in tracks.detections:
        q, p = one.bbox.center.orientation, one.bbox.center.position
        np.testing.assert_allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()[:, 2], UP, atol=1e-6)
        assert np.linalg.norm(centres - [p.x, p.y, p.z], axis=1).min() < 1e-4  # of one image


def test_a_level_camera_is_left_as_it_is():
    assert CameraAttitude(0.0, 0.0, None).up(None) is None
