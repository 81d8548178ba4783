"""Counters and diagnostics of a stream, on a clock that the test turns."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from add_ros.node.log_throttle import LogThrottle
from add_ros.node.stream_diagnostics import MISSED, NEWER_FRAME, OVER_MAX_RATE, StreamDiagnostics


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def diagnostics(clock):
    return StreamDiagnostics(clock)


def status(diagnostics, budget=100.0):
    message = diagnostics.status("/detector", {"device": "cpu", "model": "m.onnx"}, budget)
    return message.level, message.message, {value.key: value.value for value in message.values}


def test_waits_for_images_first(diagnostics):
    level, text, values = status(diagnostics)
    assert (level, text) == (DiagnosticStatus.WARN, "waiting for images")
    assert (values["frames_in"], values["device"], values["processing_time_ms"]) == ("0", "cpu", "")


def test_counts_since_the_start_and_times_since_the_last_report(diagnostics, clock):
    for processing, latency in ((10, 30), (30, 50)):
        diagnostics.received()
        diagnostics.published(processing, latency, 3)
    clock.now += 0.5
    level, text, values = status(diagnostics)
    assert (level, text) == (DiagnosticStatus.OK, "detecting")
    assert values["processing_time_ms"] == "20.0" and values["processing_time_max_ms"] == "30.0"
    assert values["pipeline_latency_ms"] == "40.0" and values["output_rate_hz"] == "4.0"
    assert values["detections_last_frame"] == "3"
    diagnostics.received()
    diagnostics.published(5, 5, 0)
    values = status(diagnostics)[2]
    assert (values["frames_in"], values["frames_out"], values["processing_time_ms"]) == ("3", "3", "5.0")


def test_images_without_tracks_are_counted_by_reason_and_warned_of(diagnostics):
    for reason in ("late for tracks", "no transform", "late for tracks"):
        diagnostics.received()
        diagnostics.published(10, 30, 3)
        diagnostics.dropped_tracks(reason)
    level, text, values = status(diagnostics)
    assert (level, text) == (DiagnosticStatus.WARN, "images without tracks: 2 x late for tracks, 1 x no transform")
    assert values["tracks_dropped"] == "3" and values["tracks_dropped (late for tracks)"] == "2"
    assert values["frames_dropped"] == "0"
    diagnostics.received()
    diagnostics.published(10, 30, 3)
    level, text, values = status(diagnostics)
    assert (level, text, values["tracks_dropped"]) == (DiagnosticStatus.OK, "detecting", "3")


def test_images_without_known_ground_are_answered_counted_and_warned_of(diagnostics):
    for reason in ("no transform", "no ground", "no transform"):
        diagnostics.received()
        diagnostics.without_ground(reason)
        diagnostics.published(10, 30, 3)
    level, text, values = status(diagnostics)
    assert (level, text) == (DiagnosticStatus.WARN, "images without known ground: 2 x no transform, 1 x no ground")
    assert values["frames_without_ground (no transform)"] == "2" and values["frames_dropped"] == "0"
    diagnostics.received()
    diagnostics.published(10, 30, 3)
    assert status(diagnostics)[:2] == (DiagnosticStatus.OK, "detecting")


@pytest.mark.parametrize(("processing", "latency", "word"), [(150, 50, "processing"), (50, 150, "pipeline latency")])
def test_warns_over_budget(diagnostics, processing, latency, word):
    diagnostics.received()
    diagnostics.published(processing, latency, 0)
    level, text, _ = status(diagnostics)
    assert level == DiagnosticStatus.WARN and text == f"{word} 150 ms is over the budget of 100 ms"


def test_names_the_clock_where_stamps_are_from_another_time(diagnostics):
    diagnostics.received()
    diagnostics.published(10, 4e11, 0)
    level, text, _ = status(diagnostics)
    assert level == DiagnosticStatus.WARN and "use_sim_time" in text and "budget" not in text


@pytest.mark.parametrize(("latency", "level"), [(-99, DiagnosticStatus.OK), (-101, DiagnosticStatus.WARN)])
def test_warns_of_stamps_from_the_future(diagnostics, latency, level):
    diagnostics.received()
    diagnostics.published(10, latency, 0)
    found, text, _ = status(diagnostics)
    assert found == level and ("101 ms ahead of this node's clock" in text) == (level == DiagnosticStatus.WARN)


def test_newer_frames_are_normal_and_bad_frames_are_not(diagnostics, clock):
    diagnostics.received()
    diagnostics.published(1, 1, 0)
    diagnostics.dropped(NEWER_FRAME)
    assert status(diagnostics)[0] == DiagnosticStatus.OK
    diagnostics.received()
    diagnostics.published(1, 1, 0)
    assert diagnostics.dropped("uncalibrated") == 1
    assert diagnostics.dropped("uncalibrated") == 2
    level, text, values = status(diagnostics)
    assert level == DiagnosticStatus.WARN and text == "dropped 2 x uncalibrated"
    assert values["frames_dropped"] == "3" and values["frames_dropped (uncalibrated)"] == "2"
    clock.now += 2.5
    diagnostics.received()
    diagnostics.dropped("uncalibrated")
    level, text, _ = status(diagnostics)
    assert level == DiagnosticStatus.ERROR and text == "no image was usable: 1 x uncalibrated"


def test_warns_while_images_come_in_and_nothing_is_made_of_them(diagnostics, clock):
    diagnostics.received()
    diagnostics.published(50, 60, 0)
    for tenth in range(1, 41):
        clock.now += 0.1
        diagnostics.received()
        diagnostics.dropped(NEWER_FRAME)
        level, text, _ = status(diagnostics)
        assert level == (DiagnosticStatus.WARN if tenth > 21 else DiagnosticStatus.OK), (tenth, text)
    assert text == "images come in, but no answer for 4 s"
    diagnostics.published(50, 60, 0)
    assert status(diagnostics)[:2] == (DiagnosticStatus.OK, "detecting")


def test_a_slow_network_is_over_the_budget_between_its_answers_too(diagnostics, clock):
    """Three seconds an image, ten images a second: neither silence nor a single bad image is taken for more."""
    diagnostics.received()
    clock.now += 3
    diagnostics.published(3000, 3050, 0)
    for tenth in range(29):
        clock.now += 0.1
        diagnostics.received()
        if tenth == 20:
            diagnostics.dropped("uncalibrated")
        level, text, _ = status(diagnostics)
        assert level == DiagnosticStatus.WARN and "processing 3000 ms is over the budget of 100 ms" in text


def test_warns_when_the_stream_stops(diagnostics, clock):
    diagnostics.received()
    diagnostics.published(1, 1, 0)
    clock.now += 12
    status(diagnostics)
    assert status(diagnostics)[:2] == (DiagnosticStatus.WARN, "no image for 12 s")


def test_warns_where_the_transport_loses_most_images(diagnostics):
    diagnostics.received()
    diagnostics.published(1, 1, 0)
    diagnostics.dropped(MISSED, 9)
    level, text, _ = status(diagnostics)
    assert level == DiagnosticStatus.WARN and text.startswith("9 of 10 images did not get here")


def test_throttle_is_per_key(clock):
    throttle = LogThrottle(5, clock)
    assert [throttle.ready("a"), throttle.ready("a"), throttle.ready("b")] == [True, False, True]
    clock.now += 5
    assert throttle.ready("a")


def test_images_without_a_stamp_are_not_taken_for_a_replay(diagnostics):
    diagnostics.received()
    diagnostics.published(10, None, 0)
    level, text, values = status(diagnostics)
    assert level == DiagnosticStatus.WARN and text.startswith("images have the stamp 0")
    assert "replaying" not in text and values["pipeline_latency_ms"] == ""
    diagnostics.received()
    diagnostics.published(10, 12, 0)
    assert status(diagnostics)[:2] == (DiagnosticStatus.OK, "detecting")


def test_frames_over_the_maximum_rate_need_no_answer(diagnostics, clock):
    for _ in range(8):
        diagnostics.received()
        diagnostics.dropped(OVER_MAX_RATE)
        clock.now += 0.5
    assert "no answer" not in status(diagnostics)[1]
    diagnostics.received()  # this one is to be answered, and is not
    clock.now += 2.5
    diagnostics.received()
    diagnostics.dropped(OVER_MAX_RATE)
    assert "no answer" in status(diagnostics)[1]


def test_an_idle_stream_needs_no_images_and_waits_for_them_again_afterwards(diagnostics, clock):
    diagnostics.received()
    diagnostics.published(10, 30, 0)
    diagnostics.idle("")  # it is not, as before
    assert status(diagnostics)[:2] == (DiagnosticStatus.OK, "detecting")
    diagnostics.idle("nobody listens")
    clock.now += 60
    assert status(diagnostics)[:2] == (DiagnosticStatus.OK, "idle: nobody listens")
    diagnostics.idle("")
    assert status(diagnostics)[:2] == (DiagnosticStatus.WARN, "waiting for images")


def test_failed_callbacks_and_impossible_detections_are_counted_and_warned_of_once(diagnostics):
    diagnostics.received()
    diagnostics.published(10, 30, 0)
    values = status(diagnostics)[2]
    assert (values["callback_errors"], values["detections_impossible"]) == ("0", "0")
    diagnostics.callback_failed()
    diagnostics.impossible(3)
    level, text, values = status(diagnostics)
    assert level == DiagnosticStatus.WARN and (values["callback_errors"], values["detections_impossible"]) == ("1", "3")
    assert "; 1 callback(s) failed, see the log" in text and text.startswith("3 detections had impossible values")
    level, text, values = status(diagnostics)
    assert (level, text) == (DiagnosticStatus.OK, "detecting")
    assert (values["callback_errors"], values["detections_impossible"]) == ("1", "3")


def test_images_that_the_network_sees_together_are_averaged(diagnostics):
    diagnostics.published(10, 30, 0)
    diagnostics.published(10, 30, 0, together=4)
    assert status(diagnostics)[2]["batch_size"] == "2.5"


def test_between_answers_the_last_one_counts(diagnostics):
    for latencies, last in (((150,), "pipeline latency 150 ms is over the budget of 100 ms"), ((400, 30), "detecting")):
        for latency in latencies:
            diagnostics.received()
            diagnostics.published(20, latency, 0)
        assert "pipeline latency" in status(diagnostics)[1]
        assert status(diagnostics)[1] == last


@pytest.mark.parametrize(("seconds", "patient"), [(4.998, True), (5.003, False)])
def test_a_budget_of_seconds_is_waited_for(diagnostics, clock, seconds, patient):
    diagnostics.received()
    diagnostics.published(20, 30, 0)
    diagnostics.received()
    clock.now += seconds
    diagnostics.received()
    assert ("no answer for 5 s" in status(diagnostics, budget=5000.0)[1]) == (not patient)


def test_twice_the_last_processing_time_is_waited_for(diagnostics, clock):
    diagnostics.received()
    diagnostics.published(3000, 30, 0)
    diagnostics.received()
    for waited, patient in ((5.9, True), (0.2, False)):
        clock.now += waited
        diagnostics.received()
        assert ("no answer" in status(diagnostics)[1]) == (not patient)


def test_what_is_exactly_within_a_limit_is_no_warning(diagnostics, clock):
    diagnostics.received()
    assert status(diagnostics, budget=0.5)[:2] == (DiagnosticStatus.OK, "detecting")  # nothing is measured yet
    diagnostics.published(100, 100, 0)
    clock.now += 2.0
    assert status(diagnostics)[:2] == (DiagnosticStatus.OK, "detecting")
    clock.now += 0.1
    assert status(diagnostics)[1] == "no image for 2 s"
    diagnostics.received()
    diagnostics.published(10, 60e3, 0)
    assert status(diagnostics)[1] == "pipeline latency 60000 ms is over the budget of 100 ms"
