"""What suits all publishers of a topic."""

from types import SimpleNamespace

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from add_ros.offered_qos import most_offered

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


def publishers(offers):
    return [SimpleNamespace(qos_profile=QoSProfile(depth=1, reliability=r, durability=d)) for r, d in offers]


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
    assert most_offered(publishers(offers)) == choice


def test_no_publishers_no_choice():
    assert most_offered([]) is None
