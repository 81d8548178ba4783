"""How the node starts, what it says, and how it ends: a process for each test."""

import importlib.util
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from support.detector_bench import MODEL, PATIENCE, Bench, DetectorProcess, camera_info, image_message, picture
from support.own_classes import THREE, renamed_model
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from add_model.colours import class_colour
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_ros.transport import PROFILE_VARIABLES

pytestmark = pytest.mark.slow


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def test_importing_the_node_imports_no_network_library():
    code = "import sys, add_ros.detector; print([m for m in ('torch', 'onnxruntime', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"model": "/nowhere/at.onnx"}, "/nowhere/at.onnx"),
        ({"model": __file__}, __file__),
        ({"score_threshold": 2.0}, "score_threshold"),
        ({"score_threshold": 1}, "score_threshold must be of type double"),
        ({"target_frame": "base_link"}, "install ros-$ROS_DISTRO-tf2-ros-py"),
        ({"cameras": "[]"}, "cameras must be a list"),
        ({"use_sim_time": "maybe"}, "use_sim_time"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(parameters, words):
    if "target_frame" in parameters and importlib.util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed here")
    with DetectorProcess(**({"model": MODEL} | parameters)) as detector:
        assert detector.wait() == 1
        fatal = [line for line in detector.lines if "FATAL" in line]
        assert len(fatal) == 1 and words in fatal[0] and "Traceback" not in detector.log, detector.log


def test_a_models_own_classes_are_announced_and_drawn(bench, tmp_path):
    model = renamed_model(SHIPPED_MODEL, tmp_path / "own.onnx", THREE)
    with DetectorProcess(model=model, device="cpu", score_threshold=0.0) as detector:
        detector.wait_for_log("ready: /image")
        bench.wait_for_subscriber()
        message = bench.detect(image_message(picture()), camera_info())
        names = [detection.results[0].hypothesis.class_id for detection in message.detections]
        bench.spin_until(
            lambda: bench.labels and any(len(m.markers) > 1 for m in bench.markers), "for labels and markers"
        )
        assert detector.stop() == 0, detector.log
    assert [entry.class_name for entry in bench.labels[-1].class_map] == list(THREE.names)
    assert names and set(names) <= set(THREE.names)
    markers = next(m.markers for m in bench.markers if len(m.markers) > 1)
    bodies = [marker.color for marker in markers if marker.ns == "boxes" and marker.action == Marker.ADD]
    colours = [tuple(round(255 * channel) for channel in (c.r, c.g, c.b)) for c in bodies]
    assert colours == [class_colour(name, THREE) for name in names]


@pytest.mark.parametrize("remap", ["image:=/camera/2image", "image:=/a//b", "__node:=my-node", "__ns:=rig"])
def test_ros_arguments_that_cannot_be_parsed_are_one_line(remap):
    with DetectorProcess("-r", remap, model=MODEL) as detector:
        assert detector.wait() == 1
        fatal = [line for line in detector.lines if "FATAL" in line]
        assert len(fatal) == 1 and remap in fatal[0] and "Traceback" not in detector.log, detector.log


@pytest.mark.parametrize(
    "remaps", [("image:=/one", "camera_info:=/one"), ("image:=/detections",), ("detections:=/one", "markers:=/one")]
)
def test_topics_of_different_types_under_one_name_are_one_line(remaps):
    with DetectorProcess(*(word for remap in remaps for word in ("-r", remap)), model=MODEL) as detector:
        assert detector.wait() == 1
        fatal = [line for line in detector.lines if "FATAL" in line]
        assert len(fatal) == 1 and "type" in fatal[0] and "Traceback" not in detector.log, detector.log


def test_arguments_that_ros_would_leave_out_are_refused():
    command = [sys.executable, "-m", "add_ros.node.detector_node", "-p", "score_threshold:=0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "-p" in done.stderr.splitlines()[-1] and "--ros-args" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_in_the_middle_of_work_and_clears_its_markers(bench, number):
    with DetectorProcess(model=MODEL, score_threshold=0.0, score_treshold=0.1) as detector:
        detector.wait_for_log("ready:")
        assert "parameter score_treshold is given, but this node has no such parameter" in detector.log
        bench.wait_for_subscriber()
        bench.detect(image_message(picture()), camera_info())
        bench.spin_until(lambda: bench.markers, "for markers")
        assert bench.markers[0].markers[0].action == Marker.DELETEALL
        for _ in range(10):
            bench.send(image_message(picture()), camera_info())
        began = time.monotonic()
        assert detector.stop(number) == 0, detector.log
        assert time.monotonic() - began < 5, "a second is the aim; more means that something was waited for"
        assert "Traceback" not in detector.log
        bench.spin_until(lambda: bench.markers[-1].markers[0].action == Marker.DELETEALL, "for the last DELETEALL")


class SlowDetector(DetectorProcess):
    """Two seconds for each image, in which its thread can't be stopped."""

    START = (
        "-c",
        "import sys, time; from add_model.predictor import Predictor; from add_ros.node.detector_node import main\n"
        "predict = Predictor.predict_batch\n"
        "def slow(self, images, cameras, *rest, **more):\n"
        "    if cameras[0].width < 1000: time.sleep(2)\n"  # the node warms up with a larger one
        "    return predict(self, images, cameras, *rest, **more)\n"
        "Predictor.predict_batch = slow; sys.exit(main())",
    )


def test_signs_off_though_the_network_is_at_work(bench):
    with SlowDetector(model=MODEL) as detector:
        detector.wait_for_log("ready:")
        bench.wait_for_subscriber()
        bench.send(image_message(picture()), camera_info())
        bench.spin_for(0.5)
        began = time.monotonic()
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
        assert not bench.received, "it was to be stopped in the middle"
        bench.spin_until(lambda: "detector" not in bench.node.get_node_names(), "for the node to leave the graph")
        assert time.monotonic() - began < 10, "others were told by its silence: that takes 20 s"


def test_stops_while_the_model_is_loading(bench):
    with DetectorProcess(model=MODEL) as detector:
        bench.spin_until(lambda: "detector" in bench.node.get_node_names(), "for the node")
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log


def test_silence_is_explained(bench):
    bench.offer(ReliabilityPolicy.RELIABLE, topic="camera/image_raw")
    with DetectorProcess(model=MODEL) as detector:
        detector.wait_for_log("nothing has arrived on /image (sensor_msgs/msg/Image)")
        detector.wait_for_log("nothing has arrived on /camera_info")
        assert "nobody publishes there" in detector.log and "/camera/image_raw" in detector.log
        status = bench.status()
        assert status["message"] == "waiting for images"


def test_a_fixed_reliability_that_starves_is_explained(bench):
    bench.offer(ReliabilityPolicy.BEST_EFFORT)
    with DetectorProcess(model=MODEL, reliability="reliable") as detector:
        detector.wait_for_log("/image: incompatible quality of service")
        line = next(line for line in detector.lines if "/image: incompatible" in line)
        assert "bench offers best_effort" in line and "requests reliable" in line


def test_cameras_share_a_model_and_take_compressed_images():
    with DetectorProcess(
        model=MODEL, score_threshold=0.0, cameras="[front, rear]", image_transport="compressed"
    ) as detector:
        benches = [Bench(prefix=f"{name}/") for name in ("front", "rear")]
        detector.wait_for_log("ready:")
        _, data = cv2.imencode(".png", np.ascontiguousarray(picture()[..., ::-1]))
        image = CompressedImage(format="rgb8; png compressed bgr8")
        image.data = data.tobytes()
        results = []
        for bench in benches:
            bench.offer(ReliabilityPolicy.BEST_EFFORT, CompressedImage, "image/compressed")
            bench.wait_for_subscriber()
            results.append(bench.detect(image, camera_info()).detections)
        assert len(results[0]) > 0 and len(results[0]) == len(results[1])
        half_is_enough_for_a_large_jpeg(benches[0])
        bench.spin_until(lambda: bench.diagnostics, "for diagnostics")
        assert [status.name for status in bench.diagnostics[-1].status] == ["/detector: front", "/detector: rear"]
        for bench in benches:
            bench.close()


def half_is_enough_for_a_large_jpeg(bench):
    """Its boxes are those of the image decoded at half its size, until somebody wants the picture with boxes."""
    width, height, focal = 1279, 383, 1000.0
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture(width=width, height=height)[..., ::-1]))
    camera, predictor = Camera.pinhole(focal, focal, 640, 190, width, height), Predictor(MODEL, "cpu")
    whole, half = (cv2.imdecode(data, flag)[..., ::-1] for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2))
    message, info = CompressedImage(format="jpeg", data=data.tobytes()), camera_info(camera.P, width, height)

    def places():
        centres = [one.bbox.center.position for one in bench.detect(message, info).detections]
        return np.array([(centre.x, centre.y, centre.z) for centre in centres])

    expected, other = (predictor.predict(np.ascontiguousarray(image), camera).boxes for image in (half, whole))
    found = places()
    np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=1e-3)
    drawn = []
    bench.node.create_subscription(Image, f"{bench.prefix}debug_image", drawn.append, 1)
    while not drawn:
        found = places()
    assert (drawn[0].width, drawn[0].height) == (width, height)
    np.testing.assert_allclose(found[:, 2], other[:, 2], atol=1e-3)
    assert len(expected) != len(other) or np.abs(expected - other).max() > 0.01


def test_swapped_names_are_swapped_once(bench):
    arguments = [word for pair in ("image:=/rear", "camera_info:=/rear_info", "/rear:=/image") for word in ("-r", pair)]
    with DetectorProcess(*arguments, model=MODEL) as detector:
        detector.wait_for_log("ready: /rear (sensor_msgs/msg/Image) and /rear_info")
        bench.spin_until(lambda: bench.node.count_subscribers("/rear"), "for the subscription")
        assert bench.node.count_subscribers("/image") == 0


def test_remapped_topics_in_a_namespace_and_in_simulated_time(bench):
    arguments = ("-r", "__ns:=/rig", "-r", "image:=/image", "-r", "camera_info:=/camera_info")
    clock = bench.node.create_publisher(Clock, "/clock", 1)
    results = []
    bench.node.create_subscription(Detection3DArray, "/rig/detections", results.append, 10)
    bench.node.create_subscription(MarkerArray, "/rig/markers", bench.markers.append, 10)
    with DetectorProcess(*arguments, model=MODEL, use_sim_time=True) as detector:
        detector.wait_for_log("ready: /image (sensor_msgs/msg/Image) and /camera_info -> /rig/detections")
        bench.wait_for_subscriber()
        now = Clock()
        now.clock.sec, now.clock.nanosec = bench.stamp + 1, 207_000_000
        bench.spin_until(clock.get_subscription_count, "for the clock's subscriber")
        for _ in range(5):
            clock.publish(now)
            bench.spin_for(0.05)
        bench.send(image_message(picture()), camera_info())
        bench.spin_until(lambda: results and bench.markers, "for detections in the namespace")
        values = bench.status_after_work()
        assert values["pipeline_latency_max_ms"] == "207.0", values


# A driver that was started by hand, best effort at 30 Hz.
CAMERA_WITHOUT_A_PROFILE = """
import time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("camera")
images = node.create_publisher(Image, "image", qos_profile_sensor_data)
message = Image(height=384, width=1280, encoding="rgb8", step=3840, data=bytes(384 * 3840))
while rclpy.ok():  # until SIGINT
    message.header.stamp = node.get_clock().now().to_msg()
    images.publish(message)
    time.sleep(0.033)
"""


def test_lost_images_without_a_profile_are_explained(bench, monkeypatch):
    """Once at the start, and when frames are counted as missed; the tests' own processes have the profile."""
    with DetectorProcess(model=MODEL) as detector:
        detector.wait_for_log("ready:")
        assert "FASTDDS_DEFAULT_PROFILES_FILE" not in detector.log
        assert detector.stop() == 0
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with DetectorProcess(model=MODEL) as detector:
        detector.wait_for_log("ready:")
        advised = [line for line in detector.lines if "export FASTDDS_DEFAULT_PROFILES_FILE=" in line]
        assert len(advised) == 1 and "WARN" in advised[0]
        with subprocess.Popen([sys.executable, "-c", CAMERA_WITHOUT_A_PROFILE]) as camera:
            try:
                bench.spin_until(lambda: "did not get here" in detector.log, f"for missed images in {detector.log}")
            finally:
                camera.send_signal(signal.SIGINT)
        assert "/image: " in detector.log and detector.log.count("did not get here") == 1
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
