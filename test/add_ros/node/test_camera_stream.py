"""One camera of the node: what it counts and reports, without a process of its own."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from support.detector_bench import camera_info, core_in_this_process, image_message, picture

from add_ros.node import camera_input
from add_ros.node.log_throttle import LogThrottle


@pytest.fixture
def given():
    """Parameters of the stream beside its usual ones."""
    return {}


@pytest.fixture
def stream(given):
    with core_in_this_process({"lazy": False, "reliability": "reliable", "max_rate": 1e-3} | given) as core:
        yield core._streams[0]


def counted(stream):
    values = {pair.key: pair.value for pair in stream.diagnostics.status("", {"device": "cpu"}, 100).values}
    return {key: int(value) for key, value in values.items() if key.startswith(("frames_in", "frames_dropped"))}


def test_images_count_from_the_moment_that_the_model_is_loaded(stream):
    """Those that come in and those that are dropped alike."""
    seconds = itertools.count(1)

    def stamped(message, sec=None):
        message.header.stamp.sec = next(seconds) if sec is None else sec
        return message

    def send():
        stream.input._on_missed(2)
        for _ in range(2):
            stream.input._on_image(stamped(image_message(picture())))  # for which no camera_info comes
        stream.input._synchronizer.flush()
        bad = stamped(image_message(picture()))
        bad.header.frame_id = "x" * 300
        stream.input._on_image(bad)

    send()
    stream.input._on_info(stamped(camera_info(), 0))
    for _ in range(3):
        stream.input._ready(image_message(picture()), camera_info())  # only the first is not over max_rate
    stream.input._synchronizer.forget()
    assert counted(stream) == {"frames_in": 0, "frames_dropped": 0}
    stream.input.serve()
    send()
    assert counted(stream) == {
        "frames_in": 4,  # the one that waits, too
        "frames_dropped": 5,
        "frames_dropped (missed)": 2,
        "frames_dropped (no camera_info)": 2,
        "frames_dropped (oversized text)": 1,
    }


def test_a_camera_info_that_is_refused_is_logged_and_is_no_frame(stream):
    """With its image that would be two that are dropped, of one that came in."""
    said = []
    stream.input._log = SimpleNamespace(error=said.append)
    stream.input.serve()
    for _ in range(3):
        for message, receive in (
            (camera_info(), stream.input._on_info),
            (image_message(picture()), stream.input._on_image),
        ):
            message.header.frame_id = "x" * 300
            receive(message)
    assert counted(stream) == {"frames_in": 3, "frames_dropped": 3, "frames_dropped (oversized text)": 3}
    assert [line.split(":")[0] for line in said] == ["/camera_info", "/image"] and stream.input.latest_info is None


def test_a_camera_that_is_silent_after_a_rest_is_reported_again(stream, monkeypatch):
    monkeypatch.setattr(camera_input, "SILENCE", -1.0)
    said = []
    stream.input._log, stream.input._reminder = SimpleNamespace(warning=said.append), LogThrottle(0.0)

    def silent():
        said.clear()
        stream.match(True)
        stream.input.watch()
        return [line.split()[4] for line in said]

    assert silent() == ["/image", "/camera_info"]
    (choice,) = stream.input.image._subscriptions
    stream.input.image._on_message(image_message(picture()), {}, choice)
    assert silent() == ["/camera_info"]
    stream.match(False)
    assert silent() == ["/image", "/camera_info"]


def shown(stream, k, width, height):
    """What the diagnostics say after an image of this size with this K: level, message and doubt."""
    image = np.zeros((height, width, 3), np.uint8)
    info = camera_info(np.pad(k, ((0, 0), (0, 1))), width, height)
    stream.input._newest = image_message(image), info
    stream.diagnostics.received()
    assert stream.take(lambda _: False) is not None
    stream.diagnostics.published(1.0, 1.0, 0)
    status = stream.diagnostics.status("", {"device": "cpu"}, 100)
    return status.level, status.message, {pair.key: pair.value for pair in status.values}["calibration_doubt"]


K = np.array([[720.0, 0, 610], [0, 720, 180], [0, 0, 1]])
HALF, TRIPLE, NUDGE = np.diag([0.5, 0.5, 1]), np.diag([3, 3, 1]), np.diag([1.0001, 1, 1])


def test_each_doubt_about_the_calibration_is_warned_of_and_shown_while_it_holds(stream):
    said = []
    stream._log = SimpleNamespace(warning=said.append, info=lambda _: None)
    for matrix, size, factor in ((K, (621, 188), "0.5 times"), (HALF @ K, (1242, 375), "2 times")):
        for nudged in (matrix, NUDGE @ matrix):  # an autofocus changes K with each image
            level, message, doubt = shown(stream, nudged, *size)
            assert level == DiagnosticStatus.WARN and message == f"distances may be wrong: {doubt}" and factor in doubt
    assert shown(stream, K, 1242, 375) == (DiagnosticStatus.OK, "detecting", "")
    assert "0.3333" in shown(stream, TRIPLE @ K, 1242, 375)[2]
    assert ["0.5 times" in said[0], "2 times" in said[1], "0.3333" in said[2]] == [True] * 3
    shown(stream, K, 621, 188)
    assert len(said) == 3, "the same within seconds"
    stream._throttle = LogThrottle(0.0)
    shown(stream, HALF @ K, 1242, 375)
    shown(stream, HALF @ K, 1242, 375)
    assert len(said) == 4


@pytest.mark.parametrize("given", [{"trust_calibration": True}])
def test_a_trusted_calibration_is_not_doubted(stream):
    said = []
    stream._log = SimpleNamespace(warning=said.append, info=lambda _: None)
    assert shown(stream, HALF @ K, 1242, 375) == (DiagnosticStatus.OK, "detecting", "")
    assert not said
