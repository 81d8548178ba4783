"""The node as a process of its own, over DDS: one process serves all tests of this file."""

import cv2
import numpy as np
import pytest
import yaml
from rclpy.qos import ReliabilityPolicy
from support.detector_bench import HEIGHT, MODEL, WIDTH, Bench, DetectorProcess, P, camera_info, image_message, picture
from support.paths import ROOT
from visualization_msgs.msg import Marker

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_model.pose_covariance import depth_std
from add_model.predictor import Predictor

BLANK = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def detector():
    with DetectorProcess(model=MODEL, device="cpu", score_threshold=0.0) as process:
        process.wait_for_log("ready: /image")
        yield process
        assert process.stop() == 0, process.log
        assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def shared_bench(detector):
    bench = Bench()
    bench.wait_for_subscriber()
    yield bench
    bench.close()


@pytest.fixture
def bench(shared_bench):
    shared_bench.set_parameter("score_threshold", 0.0)
    return shared_bench


@pytest.fixture(scope="module")
def predictor():
    return Predictor(MODEL, "cpu")


def rows(message) -> np.ndarray:
    """Boxes (N, 7) as a receiver reads them."""
    centres = [d.bbox.center for d in message.detections]
    turns = np.array([[c.orientation.x, c.orientation.y, c.orientation.z, c.orientation.w] for c in centres])
    values = [
        [c.position.x, c.position.y, c.position.z, d.bbox.size.x, d.bbox.size.y, d.bbox.size.z, heading]
        for d, c, heading in zip(message.detections, centres, box3d.rotation_y(turns), strict=True)
    ]
    return np.array(values).reshape(-1, 7)


@pytest.mark.parametrize("seed", [0, 1])
def test_detections_equal_the_predictors(bench, predictor, seed):
    expected = predictor.predict(picture(seed), Camera(P, WIDTH, HEIGHT))
    assert len(expected) > 0, "a picture on which nothing is found proves nothing"
    message = bench.detect(image_message(picture(seed)), camera_info())
    assert (message.header.stamp.nanosec, message.header.frame_id) == (7, "lens")
    results = [detection.results[0] for detection in message.detections]
    assert [result.hypothesis.class_id for result in results] == list(expected.names)
    np.testing.assert_allclose([result.hypothesis.score for result in results], expected.scores, atol=1e-5)
    difference = rows(message) - expected.boxes
    difference[:, 6] = box3d.wrap(difference[:, 6])
    np.testing.assert_allclose(difference, 0, atol=1e-3)
    variances = [result.pose.covariance[14] for result in results]  # of z, which is the depth
    np.testing.assert_allclose(depth_std(np.array(variances)), expected.depth_std, rtol=1e-3)


def test_the_fourth_column_changes_nothing(bench):
    plain = bench.detect(image_message(picture()), camera_info())
    shifted = P + np.array([[0, 0, 0, 44.9], [0, 0, 0, 0.2], [0, 0, 0, 0.003]])
    moved = bench.detect(image_message(picture()), camera_info(shifted))
    np.testing.assert_allclose(rows(moved), rows(plain), atol=1e-9)


def test_twice_the_focal_length_in_twice_the_pixels_is_the_same_world(bench, predictor):
    big = cv2.resize(picture(), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    camera = Camera(P, WIDTH, HEIGHT).resize(2 * WIDTH, 2 * HEIGHT)
    message = bench.detect(image_message(big), camera_info(camera.P, 2 * WIDTH, 2 * HEIGHT))
    expected = predictor.predict(big, camera)
    np.testing.assert_allclose(rows(message)[:, :6], expected.boxes[:, :6], atol=1e-3)


def test_other_encodings_give_the_same(bench):
    expected = rows(bench.detect(image_message(picture()), camera_info()))
    bgr = image_message(np.ascontiguousarray(picture()[..., ::-1]), "bgr8")
    np.testing.assert_allclose(rows(bench.detect(bgr, camera_info())), expected, atol=1e-9)


def test_nothing_there_is_an_empty_array(bench):
    bench.set_parameter("score_threshold", 0.5)
    message = bench.detect(image_message(BLANK), camera_info())
    assert len(message.detections) == 0 and message.header.frame_id == "lens"


def test_the_threshold_is_dynamic_and_checked(bench):
    everything = bench.detect(image_message(picture()), camera_info()).detections
    scores = [detection.results[0].hypothesis.score for detection in everything]
    between = (max(scores) + min(scores)) / 2 if len(scores) > 1 else min(scores)
    assert bench.set_parameter("score_threshold", between).successful
    left = bench.detect(image_message(picture()), camera_info()).detections
    assert len(left) == sum(score >= between for score in scores)
    for value in (1.5, -0.1, float("nan")):
        assert not bench.set_parameter("score_threshold", value).successful
    for name in ("model", "device"):
        refused = bench.set_parameter(name, "cpu")
        assert not refused.successful and "read-only" in refused.reason


def test_label_info_reaches_late_joiners_and_follows_the_threshold(bench, predictor):
    bench.spin_until(lambda: bench.labels, "for label_info")
    assert [entry.class_name for entry in bench.labels[-1].class_map] == list(predictor.classes)
    bench.set_parameter("score_threshold", 0.25)
    bench.spin_until(lambda: bench.labels[-1].threshold == 0.25, "for the new threshold")
    bench.labels.clear()
    bench.listen_to_labels()
    bench.spin_until(lambda: bench.labels, "for label_info as a late joiner")


def test_markers_are_deleted_when_objects_are_gone(bench):
    found = len(bench.detect(image_message(picture()), camera_info()).detections)
    bench.spin_for(0.2)
    bench.markers.clear()
    bench.set_parameter("score_threshold", 1.0)
    stamp = bench.send(image_message(picture()), camera_info())
    bench.spin_until(lambda: bench.markers, "for markers")
    markers = bench.markers[-1].markers
    assert {(m.ns, m.id) for m in markers} == {(ns, i) for ns in ("boxes", "labels") for i in range(found)}
    for marker in markers:
        assert marker.action == Marker.DELETE
        assert (marker.header.stamp.sec, marker.header.frame_id) == (stamp, "lens")


def changed(message, **fields):
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def good():
    return image_message(picture())


MALFORMED = {
    "unsupported encoding": lambda: (changed(good(), encoding="rgb7"), camera_info(), "'rgb7'"),
    "truncated image": lambda: (changed(good(), data=bytes(1000)), camera_info(), "1000 bytes"),
    "malformed image": lambda: (changed(good(), step=3), camera_info(), "step 3"),
    "uncalibrated": lambda: (good(), changed(camera_info(), k=np.zeros(9), p=np.zeros(12)), "not calibrated"),
    "size mismatch": lambda: (good(), camera_info(width=WIDTH + 8), f"{WIDTH + 8}x{HEIGHT}"),
    "invalid camera_info": lambda: (good(), changed(camera_info(), d=[0.1]), "D"),
    "unsupported distortion": lambda: (
        good(),
        changed(camera_info(), d=[0.1] * 4, distortion_model="odd"),
        "'odd'",
    ),
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_malformed_frames_are_reported_counted_and_survived(detector, bench, reason):
    image, info, words = MALFORMED[reason]()
    stamp = bench.send(image, info)
    detector.wait_for_log(f"({reason}: 1 frame(s)")
    (line,) = [line for line in detector.lines if f"({reason}:" in line]
    assert words in line and "/image" in line
    bench.spin_until(lambda: bench.status().get(f"frames_dropped ({reason})") == "1", "for the count of drops")
    assert len(bench.detect(good(), camera_info()).detections) > 0
    assert stamp not in bench.received


def test_repeated_faults_are_throttled(detector, bench):
    def logged():
        return sum("often wrong" in line for line in detector.lines)

    def send():
        bench.send(changed(good(), encoding="often wrong" * 100), camera_info())  # of a kind that no other test makes
        return logged()

    bench.spin_until(lambda: send() or bench.spin_for(0.2), "for the fault's line")
    for _ in range(5):
        send()
        bench.spin_for(0.05)
    bench.detect(good(), camera_info())
    assert logged() == 1


def test_stamps_that_no_clock_gives_are_survived(bench):
    for sec, nanosec in ((-5, 0), (2**31 - 1, 2**32 - 1), (0, 0)):
        image, info = good(), camera_info()
        for message in (image, info):
            message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
        bench.received.clear()
        bench.infos.publish(info)
        bench.images.publish(image)
        bench.spin_until(lambda sec=sec: sec in bench.received, f"for the detections of {sec}")
        assert bench.received[sec].header.stamp.nanosec == nanosec
    assert len(bench.detect(good(), camera_info()).detections) > 0


def test_under_load_the_newest_frame_wins(bench):
    before = int(bench.status()["frames_dropped"])
    for _ in range(20):
        last = bench.send(good(), camera_info())
    bench.spin_until(lambda: last in bench.received, "for the newest frame")
    bench.spin_for(0.5)
    out = [stamp for stamp in bench.received if stamp > last - 20]
    assert out == sorted(out) and len(out) < 20
    assert int(bench.status()["frames_dropped"]) - before == 20 - len(out)


def test_diagnostics_tell_times_and_device(bench):
    bench.diagnostics.clear()
    bench.detect(good(), camera_info())
    values = bench.status_after_work()
    assert values["device"] == "cpu" and float(values["processing_time_ms"]) > 0
    assert float(values["pipeline_latency_ms"]) > 1e9, "the stamps of this test are from 1970"
    assert "use_sim_time" in values["message"]


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE])
def test_follows_the_reliability_of_the_publishers(bench, reliability):
    bench.offer(reliability)
    bench.wait_for_subscriber()

    def requested():
        infos = bench.node.get_subscriptions_info_by_topic("/image")
        return [info.qos_profile.reliability for info in infos if info.node_name == "detector"]

    bench.spin_until(lambda: reliability in requested(), "for the subscription to follow")
    bench.detect(good(), camera_info())
    assert requested() == [reliability]


def test_pairs_by_stamp_and_else_takes_the_latest_with_one_warning(detector, bench):
    assert "using the latest one" not in detector.log
    other = P * [[2.0], [1.0], [1.0]]
    exact = bench.detect(good(), camera_info())
    stamp = bench.stamp + 1
    bench.infos.publish(stamped(camera_info(), stamp))
    bench.infos.publish(stamped(camera_info(other), stamp + 50))
    np.testing.assert_allclose(rows(bench.detect(good(), None)), rows(exact), atol=1e-9)
    assert "using the latest one" not in detector.log
    for _ in range(2):
        latest = bench.detect(good(), None)
        assert not np.allclose(rows(latest)[0], rows(exact)[0])
    assert detector.log.count("using the latest one") == 1


def test_rviz_displays_what_the_node_has(bench):
    messages = {"Camera": "sensor_msgs/msg/Image", "MarkerArray": "visualization_msgs/msg/MarkerArray"}
    displays = yaml.safe_load((ROOT / "config" / "detector.rviz").read_text())["Visualization Manager"]["Displays"]
    shown = {"/" + d["Topic"]["Value"]: messages[d["Class"].split("/")[1]] for d in displays if "Topic" in d}
    bench.spin_until(lambda: "detector" in bench.node.get_node_names(), "for the node's name")
    listens = bench.node.get_subscriber_names_and_types_by_node("detector", "/")
    says = bench.node.get_publisher_names_and_types_by_node("detector", "/")
    known = {name: kind for name, (kind, *_) in listens + says}
    assert set(shown) == {"/image", "/markers"}
    assert {name: known[name] for name in shown} == shown
    (markers,) = [d for d in displays if d["Class"].endswith("MarkerArray")]
    assert set(markers["Namespaces"]) == {"boxes", "labels"}


def stamped(info, stamp):
    info.header.stamp.sec, info.header.stamp.nanosec = stamp, 7
    return info
