"""Record topics from DDS into a rosbag2: `add-ros bag record BAG TOPIC...`, without a ROS installation.

Messages are written as the CDR bytes that arrived, stamped with the time of their arrival. Each subscription takes
the QoS that its publishers offer. Ctrl-C closes the bag; of one that is killed, all but the last second can be read.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Connection

from add_ros.bags import types
from add_ros.bags.errors import BagError
from add_ros.bags.process import message_class, resolve, split_arguments, start_rclpy
from add_ros.bags.writing import STORAGES, BagWriter, offered_qos, open_writer
from add_ros.offered_qos import Choice, most_offered
from training.arguments import command_parser
from training.reported_errors import failed, print_notes

_DISCOVERY_PERIOD, _COMMIT_PERIOD = 0.05, 1.0  # seconds
_DEPTH = 50


class Recorder:
    """Subscribes to each topic as soon as it has a publisher, and again where a later one offers less.

    `counts` has the number of messages by topic, `refused` the topics that cannot be recorded and why.
    """

    def __init__(self, node: Node, writer: BagWriter, topics: list[str]) -> None:
        self.node, self._writer, self._types = node, writer, types.typestore()
        self.topics = [resolve(node, topic) for topic in topics]
        self.counts: Counter[str] = Counter(dict.fromkeys(self.topics, 0))
        self.refused: dict[str, str] = {}
        self._subscriptions: dict[str, tuple] = {}
        self._connections: dict[str, Connection] = {}
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        node.create_timer(_DISCOVERY_PERIOD, self._discover, clock=steady)
        node.create_timer(_COMMIT_PERIOD, self._writer.commit, clock=steady)

    def _discover(self) -> None:
        for topic in self.topics:
            if topic in self.refused:
                continue
            publishers = self.node.get_publishers_info_by_topic(topic)
            if choice := most_offered(publishers):
                self._subscribe(topic, publishers[0].topic_type, choice)

    def _subscribe(self, topic: str, msgtype: str, choice: Choice) -> None:
        reliability, durability = choice
        subscription, current = self._subscriptions.get(topic, (None, None))
        if choice == current:
            return
        if subscription:
            self.node.destroy_subscription(subscription)
        else:
            try:
                cls = message_class(msgtype)
                if cls is None:
                    raise types.UnknownTypeError(f"message type {msgtype} is not installed")
                types.register(self._types, msgtype)
            except types.UnknownTypeError as error:
                self.refused[topic] = str(error)
                print_notes([f"{topic} is not recorded: {error}"])
                return
            offered = offered_qos(
                reliability == ReliabilityPolicy.RELIABLE, durability == DurabilityPolicy.TRANSIENT_LOCAL
            )
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._types, offered_qos_profiles=[offered]
            )
        cls = message_class(self._connections[topic].msgtype)
        qos = QoSProfile(depth=_DEPTH, reliability=reliability, durability=durability)
        subscription = self.node.create_subscription(cls, topic, partial(self._write, topic), qos, raw=True)
        self._subscriptions[topic] = subscription, choice
        print(f"recording {topic} ({self._connections[topic].msgtype}, {reliability.name.lower()})", flush=True)

    def _write(self, topic: str, data: bytes) -> None:
        self._writer.write(self._connections[topic], time.time_ns(), data)
        self.counts[topic] += 1


def parser() -> argparse.ArgumentParser:
    """The options; those of ROS follow --ros-args."""
    options = command_parser(
        "bag record",
        "Record topics from DDS into a rosbag2, until Ctrl-C. What follows --ros-args is for ROS.",
        "bag /camera/image_raw /camera/camera_info",
    )
    options.add_argument("bag", type=Path, metavar="BAG", help="the bag folder to create")
    options.add_argument("topics", nargs="+", metavar="TOPIC", help="topics to record")
    storage = options.add_argument_group("storage")
    storage.add_argument("--storage", choices=sorted(STORAGES), default="mcap", help="default mcap")
    storage.add_argument("--compress", action="store_true", help="compress with zstd")
    return options


def main(argv: list[str] | None = None) -> int:
    """The command; returns 0 when stopped by Ctrl-C or SIGTERM, 1 where a topic or the bag is unusable."""
    argv = sys.argv[1:] if argv is None else argv
    own, ros = split_arguments(argv)
    arguments = parser().parse_args(own)
    stop = threading.Event()
    try:
        start_rclpy(ros, on_stop=stop.set)
        node = rclpy.create_node("bag_recorder")
        for topic in arguments.topics:
            resolve(node, topic)
        writer = open_writer(arguments.bag, arguments.storage, arguments.compress)
    except BagError as error:
        rclpy.try_shutdown()
        return failed(error)
    try:
        recorder = Recorder(node, writer, arguments.topics)
        executor = SingleThreadedExecutor()
        executor.add_node(recorder.node)
        # A flag, not an exception: a partly written message would damage the bag.
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
        writer.close()
    except (OSError, sqlite3.Error) as error:
        writer.abort()
        return failed(f"cannot write to {arguments.bag}: {error}; the bag is incomplete")
    finally:
        rclpy.try_shutdown()
    for topic, count in sorted(recorder.counts.items()):
        print(f"{topic}: {count} messages recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
