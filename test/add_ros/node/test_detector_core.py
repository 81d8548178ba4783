"""What the node says of all its cameras together."""

from types import SimpleNamespace

import pytest
import rclpy
from rclpy.signals import SignalHandlerOptions

from add_model.classes import KITTI_CLASSES
from add_ros.node import parameters
from add_ros.node.detector_core import DetectorCore


@pytest.fixture
def core():
    if not rclpy.ok():
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    given = {"cameras": ["front", "rear"], "score_threshold": 0.5, "rear.score_threshold": 0.25}
    overrides = [rclpy.Parameter(name, value=value) for name, value in given.items()]
    node = rclpy.create_node("cameras", parameter_overrides=overrides)
    core = DetectorCore(node, parameters.declare(node))
    yield core
    core.stop()
    core.destroy()
    node.destroy_node()


def test_label_info_has_the_lowest_threshold_of_all_cameras(core):
    said = []
    core._predictor, core._label_info = SimpleNamespace(class_spec=KITTI_CLASSES), SimpleNamespace(publish=said.append)
    for front, rear in ((0.5, 0.25), (0.5, 0.75), (0.5, 0.875), (0.125, 0.875)):
        core._node.set_parameters(
            [
                rclpy.Parameter("score_threshold", value=front),
                rclpy.Parameter("rear.score_threshold", value=rear),
            ]
        )
        core._publish_labels()
    assert [message.threshold for message in said] == [0.25, 0.5, 0.125]  # and once for each value
