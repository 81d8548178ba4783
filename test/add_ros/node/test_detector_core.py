"""What the node says of all its cameras together."""

from types import SimpleNamespace

import pytest
import rclpy
from support.detector_bench import core_in_this_process

from add_model.classes import KITTI_CLASSES


@pytest.fixture
def core():
    given = {"cameras": ["front", "rear"], "score_threshold": 0.5, "rear.score_threshold": 0.25}
    with core_in_this_process(given) as core:
        yield core


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
