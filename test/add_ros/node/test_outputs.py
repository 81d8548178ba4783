"""What the node publishes beside detections and markers, and when it works: a process over DDS."""

import time

import numpy as np
import psutil
import pytest
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import SetBool
from support.detector_bench import HEIGHT, MODEL, WIDTH, Bench, DetectorProcess, P, camera_info, image_message, street
from vision_msgs.msg import Detection2DArray, Detection3DArray
from visualization_msgs.msg import Marker

from add_model.drawing import draw_detections
from add_model.geometry.camera import Camera
from add_model.predictor import Predictor

pytestmark = pytest.mark.slow

CAMERA = Camera(P, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def detector():
    with DetectorProcess(model=MODEL, device="cpu", score_threshold=0.0) as process:
        process.wait_for_log("ready: /image")
        yield process
        assert process.stop() == 0, process.log
        assert "Traceback" not in process.log


@pytest.fixture
def bench(detector):
    bench = Bench()
    bench.wait_for_subscriber()
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def expected():
    return Predictor(MODEL, "cpu").predict(street(), CAMERA)


def listen(bench, kind, topic, profile=10):
    got = []
    subscription = bench.node.create_subscription(kind, topic, got.append, profile)
    bench.spin_until(lambda: bench.node.count_publishers(topic), f"for {topic}")
    bench.spin_for(0.3)
    return got, subscription


def test_two_dimensional_boxes_are_the_predictors(bench, expected):
    got, _ = listen(bench, Detection2DArray, "detections_2d")
    solid = bench.detect(image_message(street()), camera_info())
    bench.spin_until(lambda: got, "for detections_2d")
    assert got[0].header == solid.header and len(got[0].detections) == len(solid.detections) == len(expected)
    for flat, other, box in zip(got[0].detections, solid.detections, expected.boxes2d, strict=True):
        assert flat.results[0].hypothesis == other.results[0].hypothesis
        centre, half = flat.bbox.center.position, np.array([flat.bbox.size_x, flat.bbox.size_y]) / 2
        at = np.array([centre.x, centre.y])
        np.testing.assert_allclose(np.r_[at - half, at + half], box, atol=1e-2)


def test_the_debug_image_has_the_boxes_drawn(bench, expected):
    got, _ = listen(bench, Image, "debug_image")
    solid = bench.detect(image_message(street()), camera_info())
    bench.spin_until(lambda: got, "for debug_image")
    assert got[0].header == solid.header and (got[0].encoding, got[0].step) == ("rgb8", 3 * WIDTH)
    pixels = np.frombuffer(got[0].data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    drawn = draw_detections(street(), CAMERA, expected)
    assert np.mean(np.abs(pixels.astype(int) - drawn) > 8) < 0.01
    assert np.mean(pixels != street()) > 0.02


def test_obstacles_are_points_in_the_cameras_frame(bench, expected):
    got, _ = listen(bench, PointCloud2, "obstacles", qos_profile_sensor_data)  # as Nav2's costmaps subscribe
    solid = bench.detect(image_message(street()), camera_info())
    bench.spin_until(lambda: got, "for obstacles")
    assert got[0].header == solid.header
    points = np.frombuffer(bytes(got[0].data), np.float32).reshape(-1, 3)
    for box in expected.boxes:
        assert np.linalg.norm(points - box[:3], axis=1).min() < np.linalg.norm(box[3:6]) / 2 + 1e-3


@pytest.mark.parametrize(
    ("name", "value", "default", "keep"),
    [
        ("classes", ["Car"], [""], lambda e: e.names == "Car"),
        ("max_range", 10.5, 1000.0, lambda e: np.linalg.norm(e.boxes[:, :3], axis=1) <= 10.5),
        ("min_range", 10.5, 0.0, lambda e: np.linalg.norm(e.boxes[:, :3], axis=1) >= 10.5),
        (
            "region",
            [0.0, 0.0, 0.5, 1.0],
            [0.0, 0.0, 1.0, 1.0],
            lambda e: (e.boxes2d[:, 0] + e.boxes2d[:, 2] + 1) / 2 <= WIDTH / 2,
        ),
    ],
)
def test_filters_are_live(bench, expected, name, value, default, keep):
    wanted = keep(expected)
    assert 0 < wanted.sum() < len(wanted), "a picture on which all or none pass proves nothing"
    assert bench.set_parameter(name, value).successful
    found = bench.detect(image_message(street()), camera_info())
    assert bench.set_parameter(name, default).successful
    scores = [d.results[0].hypothesis.score for d in found.detections]
    np.testing.assert_allclose(scores, expected.scores[wanted], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("region", [0.5, 0.0, 0.2, 1.0], "left, top, right, bottom"), ("max_rate", -1.0, "")],
)
def test_refused_values_are_told(bench, name, value, words):
    answer = bench.set_parameter(name, value)
    assert not answer.successful and words in answer.reason


def test_covariances_scale(bench):
    before = bench.detect(image_message(street()), camera_info()).detections[0].results[0].pose.covariance
    assert bench.set_parameter("covariance_scale", 2.0).successful
    after = bench.detect(image_message(street()), camera_info()).detections[0].results[0].pose.covariance
    bench.set_parameter("covariance_scale", 1.0)
    scale = np.ones((6, 6))
    scale[:3, :3] = 4
    np.testing.assert_allclose(np.reshape(after, (6, 6)), scale * np.reshape(before, (6, 6)), rtol=1e-6)


def test_the_rate_is_limited(bench):
    assert bench.set_parameter("max_rate", 2.0).successful
    sent = []
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        sent.append(bench.send(image_message(street()), camera_info()))
        bench.spin_for(0.1)
    answered = [stamp for stamp in sent if stamp in bench.received]
    assert bench.set_parameter("max_rate", 0.0).successful
    assert 4 <= len(answered) <= 8 < len(sent)
    assert int(bench.status()["frames_dropped (over max_rate)"]) > 0


def test_disabled_it_receives_nothing_and_clears_its_markers(bench):
    def enable(on):
        client = bench.node.create_client(SetBool, "detector/set_enabled")
        bench.spin_until(client.service_is_ready, "for the service")
        future = client.call_async(SetBool.Request(data=on))
        bench.spin_until(future.done, "for the answer")
        return future.result()

    assert bench.detect(image_message(street()), camera_info()).detections
    bench.markers.clear()
    answer = enable(False)
    assert (answer.success, answer.message) == (True, "disabled")
    bench.spin_until(lambda: bench.markers, "for cleared markers")
    assert bench.markers[-1].markers[0].action == Marker.DELETEALL
    bench.spin_until(lambda: not bench.images.get_subscription_count(), "until it lets go of the images")
    late = bench.send(image_message(street()), camera_info())
    status = bench.status()
    assert (status["message"], status["level"]) == ("idle: disabled", b"\x00") and late not in bench.received
    answer = enable(True)
    assert (answer.success, answer.message) == (True, "enabled")
    bench.wait_for_subscriber()
    assert bench.detect(image_message(street()), camera_info()).detections


def cpu_seconds(detector):
    times = psutil.Process(detector._process.pid).cpu_times()
    return times.user + times.system


def test_without_a_subscriber_it_does_nothing(detector):
    """Images keep coming; whoever subscribes then gets the next one."""
    bench = Bench()
    bench.wait_for_subscriber()
    outputs = [s for s in bench.node.subscriptions if s.topic_name in ("/detections", "/markers")]
    assert len(outputs) == 2
    for subscription in outputs:
        bench.node.destroy_subscription(subscription)
    bench.spin_until(lambda: not bench.images.get_subscription_count(), "until it lets go of the images")
    assert bench.status()["message"] == "idle: nobody subscribes to what is published"
    bench.spin_for(1.0)
    before, began = cpu_seconds(detector), time.monotonic()
    while time.monotonic() < began + 3.0:
        bench.send(image_message(street()), camera_info())
        bench.spin_for(0.03)
    idle = (cpu_seconds(detector) - before) / (time.monotonic() - began)
    assert idle < 0.1, f"{idle:.2f} cores while nobody listens"
    late = []
    bench.node.create_subscription(Detection3DArray, "detections", late.append, 10)
    bench.wait_for_subscriber()
    bench.send(image_message(street()), camera_info())
    bench.spin_until(lambda: late, "for detections")
    bench.close()
