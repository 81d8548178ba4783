"""Pair messages of several topics by their stamps: the API and semantics of ROS 2's message_filters.

For a ROS 2 runtime from PyPI, which lacks that package. On a machine with a ROS distribution the distribution's own
package is imported instead of this one.
"""

from message_filters.cache import Cache
from message_filters.simple_filter import SimpleFilter
from message_filters.subscriber import Subscriber
from message_filters.synchronizers import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = ["ApproximateTimeSynchronizer", "Cache", "SimpleFilter", "Subscriber", "TimeSynchronizer"]
