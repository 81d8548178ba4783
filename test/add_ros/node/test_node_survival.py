"""What must not end the node: requests that can't be read, callbacks that fail, a namesake."""

import struct
import zlib

import cv2
import psutil
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from support.detector_bench import MODEL, Bench, DetectorProcess, camera_info, image_message, picture

from add_ros.node.detector_core import describe, kind

pytestmark = pytest.mark.slow

FAILING = """
import sys
from add_ros.node.detector_node import DetectorNode, run

class Failing(DetectorNode):
    def __init__(self):
        super().__init__()
        self.create_timer(0.2, self.fail)

    def fail(self):
        raise LookupError("of a test")

sys.exit(run(Failing))
"""


class FailingProcess(DetectorProcess):
    START = ("-c", FAILING)


# A middleware that refuses what the node asks of it: label_info before it is ready, or so many subscriptions.
REFUSING = """
import sys
from rclpy.node import Node
from add_ros.node.camera_stream import CameraStream
from add_ros.node.detector_core import DetectorCore
from add_ros.node.detector_node import main

def fail(*_):
    raise RuntimeError("of a test")

match, left = CameraStream.match, [COUNT]
def fail_at_first(self, enabled):
    left[0] -= 1
    return fail() if left[0] >= 0 else match(self, enabled)

if COUNT:
    CameraStream.match = fail_at_first
else:
    DetectorCore._publish_labels = fail
sys.exit(main())
"""


class RefusingProcess(DetectorProcess):
    def __init__(self, count, **parameters):
        self.START = ("-c", REFUSING.replace("COUNT", str(count)))
        super().__init__(**parameters)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def ask(bench, kind, name, parameters):
    client = bench.node.create_client(kind, f"detector/{name}")
    bench.spin_until(client.service_is_ready, f"for {name}")
    future = client.call_async(kind.Request(parameters=parameters))
    bench.spin_until(future.done, f"for the answer to {name}")
    bench.node.destroy_client(client)
    return future.result()


def test_a_request_of_an_unknown_type_is_refused_and_the_node_lives(bench):
    strange = Parameter(name="score_threshold", value=ParameterValue(type=99))
    good = Parameter(name="score_threshold", value=ParameterValue(type=3, double_value=0.0))
    with DetectorProcess(model=MODEL, device="cpu", min_range=30.0) as detector:
        detector.wait_for_log("ready:")
        first, second = ask(bench, SetParameters, "set_parameters", [strange, good]).results
        assert not first.successful and "99" in first.reason and second.successful
        answer = ask(bench, SetParametersAtomically, "set_parameters_atomically", [good, strange]).result
        assert not answer.successful and "99" in answer.reason
        bench.wait_for_subscriber()
        bench.detect(image_message(picture()), camera_info())
        assert bench.status()["callback_errors"] == "0"
        assert bench.set_parameter("max_range", 20.0).successful and bench.set_parameter("classes", ["Tram"]).successful
        detector.wait_for_log("parameter min_range 30 is above max_range 20")
        detector.wait_for_log("parameter classes: the model has no Tram")
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log


def test_a_callback_that_fails_is_counted_and_a_namesake_named(bench):
    with FailingProcess(model=MODEL, device="cpu", score_threshold=0.0) as detector:
        detector.wait_for_log("ready:")
        bench.wait_for_subscriber()
        assert bench.detect(image_message(picture()), camera_info()).detections
        status = bench.status()
        assert int(status["callback_errors"]) > 2 and status["level"] == DiagnosticStatus.WARN
        assert "callback(s) failed" in status["message"]
        with DetectorProcess(model=MODEL, device="cpu") as other:
            detector.wait_for_log("2 nodes are named /detector")
            assert other.stop() == 0
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
        assert detector.log.count("LookupError at <string>:11: of a test") < int(status["callback_errors"])


def test_a_worker_that_fails_before_it_serves_ends_the_node_so_that_it_is_started_again():
    with RefusingProcess(0, model=MODEL, device="cpu") as detector:
        assert detector.wait() == 3, detector.log
        assert "the node can't go on: RuntimeError: of a test" in detector.log and "Traceback" not in detector.log


def test_a_subscription_that_fails_is_tried_again_but_not_for_ever(bench):
    with RefusingProcess(3, model=MODEL, device="cpu") as detector:
        detector.wait_for_log("a callback failed, and the node goes on: RuntimeError")
        bench.wait_for_subscriber()
        assert bench.status()["callback_errors"] == "3"
        assert detector.stop() == 0, detector.log
    with RefusingProcess(10**6, model=MODEL, device="cpu") as detector:
        assert detector.wait() == 3 and "the node can't subscribe: of a test" in detector.log, detector.log


def test_an_error_of_a_callback_is_throttled_by_its_place_not_by_its_text():
    def raised(text):
        try:
            raise LookupError(text)
        except LookupError as error:
            return error

    def elsewhere():
        try:
            raise LookupError("0")
        except LookupError as error:
            return error

    assert len({kind(raised(str(n))) for n in range(5)}) == 1 and kind(elsewhere()) != kind(raised("0"))
    assert describe(raised("17")).endswith(f"{kind(raised('18'))}: 17")


def test_a_range_in_which_nothing_can_lie_is_refused_at_the_start():
    with DetectorProcess(model=MODEL, min_range=30.0, max_range=20.0) as detector:
        assert detector.wait() == 1 and "min_range 30 is above max_range 20" in detector.log


def test_images_and_texts_without_measure_are_refused_before_they_cost_memory(bench):
    good = cv2.imencode(".png", picture())[1].tobytes()
    huge = bytearray(good)
    huge[16:24] = struct.pack(">II", 32000, 32000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    bench.offer(ReliabilityPolicy.RELIABLE, CompressedImage, "image/compressed")
    with DetectorProcess(model=MODEL, device="cpu", image_transport="compressed") as detector:
        detector.wait_for_log("ready:")
        bench.wait_for_subscriber()
        bench.detect(CompressedImage(format="png", data=good), camera_info())
        before = psutil.Process(detector.pid).memory_info().rss
        bench.send(CompressedImage(format="png", data=bytes(huge)), camera_info(width=32000, height=32000))
        detector.wait_for_log("its header says 32000x32000 pixels")
        bench.send(CompressedImage(format="png", data=bytes(huge)), camera_info())
        detector.wait_for_log("the image is 32000x32000 but its camera_info describes 640x192")
        message = CompressedImage(format="png", data=good)
        message.header.frame_id = "x" * 10_000_000
        bench.images.publish(message)
        detector.wait_for_log("the frame_id has 10000000 characters")
        bench.detect(CompressedImage(format="png", data=good), camera_info())
        assert psutil.Process(detector.pid).memory_info().rss - before < 100 << 20
        status = bench.status()
        for reason in ("oversized image", "size mismatch", "oversized text"):
            assert status[f"frames_dropped ({reason})"] == "1"
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log


def test_a_log_folder_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("ROS_LOG_DIR", "/proc/nowhere")
    with DetectorProcess(model=MODEL) as detector:
        assert detector.wait() == 1 and "ROS can't write its log to /proc/nowhere: set ROS_LOG_DIR" in detector.log
