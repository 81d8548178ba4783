"""Four cameras that share a model, with parameters of their own: a process over DDS."""

import contextlib

import numpy as np
import pytest
import rclpy
from support.detector_bench import HEIGHT, MODEL, WIDTH, Bench, DetectorProcess, P, camera_info, image_message, picture

from add_model.geometry.camera import Camera
from add_model.predictor import Predictor

pytestmark = pytest.mark.slow

NAMES = ("front", "left", "rear", "rig/right")
CAMERA = Camera(P, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def detector():
    parameters = {
        "cameras": f"[{','.join(NAMES)}]",
        "score_threshold": 0.0,
        "class_id": "number",
        "rear.score_threshold": 0.3,
        "rig/right.max_range": 10.0,
        "left.max_rat": 1.0,
    }
    with DetectorProcess(model=MODEL, device="cpu", **parameters) as process:
        process.wait_for_log("ready: /front/image")
        yield process
        assert process.stop() == 0, process.log
        assert "Traceback" not in process.log


@pytest.fixture
def benches(detector):
    with contextlib.ExitStack() as stack:
        made = {name: Bench(prefix=f"{name}/") for name in NAMES}
        for bench in made.values():
            stack.callback(bench.close)
            bench.wait_for_subscriber()
        yield made


@pytest.fixture(scope="module")
def expected():
    predictor = Predictor(MODEL, "cpu")
    return {name: predictor.predict(picture(seed), CAMERA) for seed, name in enumerate(NAMES)}


def scores(message):
    return [detection.results[0].hypothesis.score for detection in message.detections]


def answers(benches, seeds):
    """One picture to each camera at the same time, and what the node says to each."""
    stamps = {name: bench.send(image_message(picture(seeds[name])), camera_info()) for name, bench in benches.items()}

    def all_there():
        for bench in benches.values():
            rclpy.spin_once(bench.node, timeout_sec=0.005)
        return all(stamps[name] in bench.received for name, bench in benches.items())

    next(iter(benches.values())).spin_until(all_there, "for four answers")
    return {name: bench.received[stamps[name]] for name, bench in benches.items()}


def test_each_tick_of_four_cameras_is_answered_by_the_parameters_of_each(detector, benches, expected):
    near = np.linalg.norm(expected["rig/right"].boxes[:, :3], axis=1) <= 10
    wanted = {name: found.scores for name, found in expected.items()}
    wanted["rear"] = wanted["rear"][wanted["rear"] >= 0.3]
    wanted["rig/right"] = wanted["rig/right"][near]
    assert len(wanted["rear"]) < len(expected["rear"]) and 0 < near.sum() < len(near)
    for _ in range(3):
        told = answers(benches, {name: seed for seed, name in enumerate(NAMES)})
        for name in NAMES:
            np.testing.assert_allclose(scores(told[name]), wanted[name], atol=1e-5)
            assert all(d.results[0].hypothesis.class_id in "012" for d in told[name].detections)
    assert "parameter left.max_rat is given, but this node has no such parameter" in detector.log


def test_class_numbers_are_those_of_label_info(benches, expected):
    bench = benches["front"]
    bench.spin_until(lambda: bench.labels, "for label_info")
    names = {str(entry.class_id): entry.class_name for entry in bench.labels[-1].class_map}
    found = bench.detect(image_message(picture(0)), camera_info())
    assert [names[d.results[0].hypothesis.class_id] for d in found.detections] == list(expected["front"].names)


def test_what_is_a_cameras_own_changes_for_it_alone(benches, expected):
    front, rear = benches["front"], benches["rear"]
    assert front.set_parameter("rear.score_threshold", 1.0).successful
    assert not front.set_parameter("rear.score_threshold", 1.5).successful
    assert scores(rear.detect(image_message(picture(2)), camera_info())) == []
    np.testing.assert_allclose(
        scores(front.detect(image_message(picture(0)), camera_info())), expected["front"].scores, atol=1e-5
    )
    assert front.set_parameter("rear.score_threshold", 0.3).successful


def test_a_camera_that_nobody_listens_to_rests(benches):
    left = benches.pop("left")
    for subscription in [s for s in left.node.subscriptions if s.topic_name.startswith("/left/")]:
        left.node.destroy_subscription(subscription)
    left.spin_until(lambda: not left.images.get_subscription_count(), "until it lets go of the images")
    assert answers(benches, dict.fromkeys(benches, 0))
    front = benches["front"]
    front.diagnostics.clear()
    front.spin_until(lambda: front.diagnostics, "for diagnostics")
    statuses = {status.name: status.message for status in front.diagnostics[-1].status}
    assert statuses["/detector: left"] == "idle: nobody subscribes to what is published"
    assert not statuses["/detector: front"].startswith("idle")


@pytest.fixture(scope="module")
def together():
    """All four answered as one batch, with time for their frames to come on a busy machine."""
    parameters = {"cameras": f"[{','.join(NAMES)}]", "score_threshold": 0.0, "batch_size": 4, "batch_wait": 2.0}
    with DetectorProcess("-r", "__ns:=/rig", model=MODEL, device="cpu", **parameters) as process:
        process.wait_for_log("ready: /rig/front/image")
        yield process
        assert process.stop() == 0, process.log
        assert "Traceback" not in process.log


def test_synchronised_cameras_are_answered_as_one_batch(together, expected):
    with contextlib.ExitStack() as stack:
        made = {name: Bench(prefix=f"/rig/{name}/") for name in NAMES}
        for bench in made.values():
            stack.callback(bench.close)
            bench.wait_for_subscriber()
        front = made["front"]
        front.diagnostics.clear()
        for _ in range(3):
            told = answers(made, {name: seed for seed, name in enumerate(NAMES)})
            for name in NAMES:
                np.testing.assert_allclose(scores(told[name]), expected[name].scores, atol=1e-5)
        assert front.status_after_work()["batch_size"] == "4.0"
        made.pop("left")  # and where one of them is silent, the others wait for no longer than batch_wait
        assert answers(made, dict.fromkeys(made, 0)).keys() == made.keys()
