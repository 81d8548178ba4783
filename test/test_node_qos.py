"""What a subscription asks for, given what publishers offer."""

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from add_ros.matched_subscription import choose, similar, type_name

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


@pytest.mark.parametrize(
    ("offers", "choice"),
    [
        ([(RELIABLE, VOLATILE)], (RELIABLE, VOLATILE)),
        ([(BEST_EFFORT, VOLATILE)], (BEST_EFFORT, VOLATILE)),
        ([(RELIABLE, VOLATILE), (BEST_EFFORT, VOLATILE)], (BEST_EFFORT, VOLATILE)),
        ([(RELIABLE, LATCHED)], (RELIABLE, LATCHED)),
        ([(RELIABLE, LATCHED), (RELIABLE, VOLATILE)], (RELIABLE, VOLATILE)),
    ],
)
def test_the_most_that_all_publishers_offer(offers, choice):
    assert choose(QoSProfile(depth=1, reliability=r, durability=d) for r, d in offers) == choice


def test_no_publishers_no_choice():
    assert choose([]) is None


def test_similar_topics_are_of_the_same_type_and_ordered_by_likeness():
    kind = "sensor_msgs/msg/Image"
    topics = [("/depth", [kind]), ("/camera/image_raw", [kind]), ("/image", [kind]), ("/camera/info", ["other"])]
    assert similar("/image", kind, topics) == ["/camera/image_raw", "/depth"]


def test_type_names():
    assert type_name(Image) == "sensor_msgs/msg/Image"
    assert type_name(CompressedImage) == "sensor_msgs/msg/CompressedImage"
