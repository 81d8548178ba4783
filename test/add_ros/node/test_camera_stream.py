"""One camera of the node: what it counts and reports, without a process of its own."""

import itertools
from types import SimpleNamespace

import pytest
import rclpy
from rclpy.signals import SignalHandlerOptions
from support.detector_bench import camera_info, image_message, picture

from add_ros.node import camera_input, parameters
from add_ros.node.detector_core import DetectorCore
from add_ros.node.stream_diagnostics import LogThrottle


@pytest.fixture
def stream():
    if not rclpy.ok():
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    given = {"lazy": False, "reliability": "reliable", "max_rate": 1e-3}
    overrides = [rclpy.Parameter(name, value=value) for name, value in given.items()]
    node = rclpy.create_node("camera_stream", parameter_overrides=overrides)
    core = DetectorCore(node, parameters.declare(node))
    yield core._streams[0]
    core.stop()
    core.destroy()
    node.destroy_node()


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
