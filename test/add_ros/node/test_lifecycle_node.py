"""The managed node as a process of its own, led through its states as a lifecycle manager does."""

import time

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from support.detector_bench import MODEL, Bench, DetectorProcess, camera_info, image_message, picture
from visualization_msgs.msg import Marker

pytestmark = pytest.mark.slow


class LifecycleProcess(DetectorProcess):
    START = ("-m", "add_ros.node.lifecycle_node")


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def call(bench, kind, name, request):
    client = bench.node.create_client(kind, f"detector/{name}")
    bench.spin_until(client.service_is_ready, f"for {name}")
    future = client.call_async(request)
    bench.spin_until(future.done, f"for the answer to {name}")
    bench.node.destroy_client(client)
    return future.result()


def change(bench, transition):
    return call(bench, ChangeState, "change_state", ChangeState.Request(transition=Transition(id=transition))).success


def state(bench):
    # A server that hasn't matched this client yet loses its answer; asking again changes nothing.
    client = bench.node.create_client(GetState, "detector/get_state")
    bench.spin_until(client.service_is_ready, "for get_state")
    asked = []

    def answer():
        if not asked or time.monotonic() > asked[-1][0] + 1.0:
            asked.append((time.monotonic(), client.call_async(GetState.Request())))
        return next((f.result() for _, f in asked if f.done()), None)

    bench.spin_until(answer, "for the answer to get_state")
    bench.node.destroy_client(client)
    return answer().current_state.id


def test_it_detects_while_it_is_active_and_can_be_configured_again(bench):
    with LifecycleProcess(model=MODEL, score_threshold=0.0) as detector:
        assert state(bench) == State.PRIMARY_STATE_UNCONFIGURED
        bench.spin_for(0.5)
        assert bench.images.get_subscription_count() == 0 and not bench.labels
        for _ in range(2):
            assert change(bench, Transition.TRANSITION_CONFIGURE)
            assert state(bench) == State.PRIMARY_STATE_INACTIVE
            bench.spin_until(lambda: bench.labels, "for label_info")
            assert bench.status()["message"] == "idle: disabled" and bench.images.get_subscription_count() == 0
            assert change(bench, Transition.TRANSITION_ACTIVATE)
            bench.wait_for_subscriber()
            assert len(bench.detect(image_message(picture()), camera_info()).detections) > 0
            bench.markers.clear()
            assert change(bench, Transition.TRANSITION_DEACTIVATE)
            bench.spin_until(lambda: not bench.images.get_subscription_count(), "until nobody subscribes")
            bench.spin_until(lambda: bench.markers, "for cleared markers")
            assert bench.markers[-1].markers[0].action == Marker.DELETEALL
            assert change(bench, Transition.TRANSITION_CLEANUP)
            bench.spin_until(lambda: not bench.node.count_publishers("detections"), "until the topics are gone")
            bench.labels.clear()
        assert detector.stop() == 0, detector.log
        assert "Traceback" not in detector.log, detector.log


def test_a_model_that_cannot_be_used_leaves_it_unconfigured(bench):
    with LifecycleProcess(model="/nowhere/at.onnx") as detector:
        assert not change(bench, Transition.TRANSITION_CONFIGURE)
        assert state(bench) == State.PRIMARY_STATE_UNCONFIGURED
        detector.wait_for_log("/nowhere/at.onnx")
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log


def test_it_stops_in_any_state(bench):
    configure, activate = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
    for transitions in ([], [configure], [configure, activate]):
        with LifecycleProcess(model=MODEL) as detector:
            assert state(bench) == State.PRIMARY_STATE_UNCONFIGURED
            assert all(change(bench, transition) for transition in transitions)
            assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log


def test_shutdown_finalises(bench):
    with LifecycleProcess(model=MODEL) as detector:
        assert change(bench, Transition.TRANSITION_CONFIGURE)
        assert change(bench, Transition.TRANSITION_INACTIVE_SHUTDOWN)
        assert state(bench) == State.PRIMARY_STATE_FINALIZED
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log


def test_a_configuration_that_fails_half_way_leaves_no_topics(bench):
    """The second topic of the name is refused when some publishers are there already."""
    with LifecycleProcess("-r", "detections:=/one", "-r", "markers:=/one", model=MODEL) as detector:
        for _ in range(2):
            assert not change(bench, Transition.TRANSITION_CONFIGURE)
            assert state(bench) == State.PRIMARY_STATE_UNCONFIGURED
        own = ("detector", "/")
        bench.spin_until(lambda: own in bench.node.get_node_names_and_namespaces(), "for the node")
        kept = {"/rosout", "/parameter_events", "/detector/transition_event"}
        bench.spin_until(
            lambda: {name for name, _ in bench.node.get_publisher_names_and_types_by_node(*own)} <= kept,
            "until the topics are gone",
        )
        assert detector.stop() == 0 and "Traceback" not in detector.log, detector.log
