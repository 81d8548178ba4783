"""The quality of service that suits all publishers of a topic, as rosbag2's recorder chooses it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

Choice = tuple[ReliabilityPolicy, DurabilityPolicy]


def most_offered(publishers: Iterable[Any]) -> Choice | None:
    """The most that every publisher offers: reliable if all are, latched if all are; None where there are none.

    Args:
        publishers: what `Node.get_publishers_info_by_topic` gives.
    """
    offers = [publisher.qos_profile for publisher in publishers]
    if not offers:
        return None
    reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
    latched = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return (
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
