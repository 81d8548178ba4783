"""Play a rosbag2 over DDS: `add-ros bag play BAG`, without a ROS installation.

Messages are published as the CDR bytes in the bag, at their own pace times --rate and with the QoS that was recorded.
Message types that are not installed are skipped and counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Connection, Qos, QosDurability, QosReliability
from rosgraph_msgs.msg import Clock

from add_model.signals import interrupt
from add_ros.bags import types
from add_ros.bags.errors import BagError
from add_ros.bags.process import message_class, resolve, split_arguments, start_rclpy
from add_ros.bags.reading import BagReader, open_bag, raw_messages
from training.arguments import command_parser, positive
from training.progress_bar import progress
from training.reported_errors import failed, print_notes

_SETTLED = 0.5  # seconds without a new subscriber after which all are assumed to be there


_DEEPEST = 1000  # messages that a publisher keeps


def playing_qos(recorded: list[Qos], transforms: int = 0) -> QoSProfile:
    """The QoS to offer for what was recorded: reliable unless every publisher was best effort, latched if all were.

    As many messages are kept as all publishers together kept, and all of so many static transforms: each of their
    publishers had one of its own, of which a recorder need not have known, and who subscribes late needs all.
    """
    best_effort = bool(recorded) and all(qos.reliability is QosReliability.BEST_EFFORT for qos in recorded)
    latched = bool(recorded) and all(qos.durability is QosDurability.TRANSIENT_LOCAL for qos in recorded)
    kept = sum(min(qos.depth, _DEEPEST) for qos in recorded)
    return QoSProfile(
        depth=min(max(10, kept, transforms if latched else 0), _DEEPEST),
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class Player:
    """Publishers for the playable topics of an open bag. `published` counts messages by topic, `skipped` by reason.

    Args:
        node: has the publishers.
        reader: the bag.
        topics: those to play, None for all.
        remap: recorded topic -> published topic.
        rate: times the recorded pace.
        clock: Hz of /clock, 0 for none.

    Raises:
        BagError: for topics that the bag does not have, or that ROS refuses, and for two types under one name.
    """

    def __init__(
        self, node: Node, reader: BagReader, topics: list[str] | None, remap: dict[str, str], rate: float, clock: float
    ) -> None:
        there = {connection.topic for connection in reader.connections}
        if absent := sorted({*(topics or []), *remap} - there):
            raise BagError(
                f"{reader.path} has no topic {', '.join(absent)}; it has {', '.join(sorted(there)) or 'none'}"
            )
        self._node, self._reader, self._rate, self._clock_period = node, reader, rate, clock and 1 / clock
        self._clock = node.create_publisher(Clock, "/clock", 10) if clock else None
        self.published: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.max_delay = 0.0
        self._publishers: dict[str, Any] = {}
        published = {"/clock": ("--clock", "rosgraph_msgs/msg/Clock")} if clock else {}
        self.playable: list[Connection] = []
        for connection in reader.connections:
            if topics is not None and connection.topic not in topics:
                continue
            if reason := _unplayable(connection):
                self.skipped[f"{connection.topic}: {reason}"] += connection.msgcount
                continue
            self.playable.append(connection)
            name = remap.get(connection.topic, connection.topic)
            other, msgtype = published.setdefault(resolve(node, name), (connection.topic, connection.msgtype))
            if other == connection.topic and msgtype != connection.msgtype:
                raise BagError(
                    f"{other} has messages of two types in {reader.path}, {msgtype} and {connection.msgtype}, and can "
                    "be played as one alone: leave it out with --topics"
                )
            if msgtype != connection.msgtype:
                raise BagError(
                    f"{other} ({msgtype}) and {connection.topic} ({connection.msgtype}) would both be published "
                    f"as {name}, which has one type: give them different names with --remap"
                )
            if connection.topic not in self._publishers:
                same = [c for c in reader.connections if c.topic == connection.topic]
                recorded = [qos for c in same for qos in c.ext.offered_qos_profiles]
                qos = playing_qos(recorded, connection.msgcount if msgtype == types.TRANSFORMS else 0)
                self._publishers[connection.topic] = node.create_publisher(message_class(msgtype), name, qos)

    def wait_for_subscribers(self, timeout: float, nodes: list[str]) -> None:
        """Return once every played topic has a subscriber, each of `nodes` subscribes, and half a second has passed.

        Args:
            timeout: seconds.
            nodes: names of nodes that have to subscribe.

        Raises:
            BagError: with the topics and nodes still missing after the timeout.
        """
        deadline = time.monotonic() + timeout
        counts, since = None, time.monotonic()
        while True:
            now = {p.topic_name: p.get_subscription_count() for p in self._publishers.values()}
            if now != counts:
                counts, since = now, time.monotonic()
            unsubscribed = [topic for topic, count in counts.items() if not count]
            absent = set(nodes) - self._subscribing() if nodes else set()
            if not unsubscribed and not absent and time.monotonic() - since >= _SETTLED:
                return
            if time.monotonic() >= deadline and (unsubscribed or absent):
                missing = [f"no subscriber to {', '.join(unsubscribed)}"] if unsubscribed else []
                missing += [f"no subscription of node {', '.join(sorted(absent))}"] if absent else []
                raise BagError(
                    f"{' and '.join(missing)} after {timeout:g} s; "
                    "choose the topics to play with --topics, or play without --wait-for-subscribers"
                )
            time.sleep(0.02)

    def _subscribing(self) -> set[str]:
        """The names of the nodes that subscribe to a played topic."""
        topics = [publisher.topic_name for publisher in self._publishers.values()]
        return {info.node_name for topic in topics for info in self._node.get_subscriptions_info_by_topic(topic)}

    def play(self) -> None:
        """Publish the bag once."""
        began, first = time.monotonic(), None
        with progress(sum(c.msgcount for c in self.playable), "messages", "play") as bar:
            for connection, stamp, data in raw_messages(self._reader, self.playable):
                first = stamp if first is None else first
                self._wait_until(began + (stamp - first) / 1e9 / self._rate, stamp)
                self._publishers[connection.topic].publish(bytes(data))
                self.published[connection.topic] += 1
                bar.update()

    def flush(self) -> None:
        """Wait until reliable subscribers have confirmed everything, at most two seconds."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=2))

    def _wait_until(self, moment: float, stamp: int) -> None:
        """Sleep until a moment of the monotonic clock, at which the bag's clock is at `stamp`, and publish /clock."""
        while (left := moment - time.monotonic()) > 0:
            if self._clock:
                self._tick(stamp - round(left * 1e9 * self._rate))
            time.sleep(min(left, self._clock_period or left))
        self.max_delay = max(self.max_delay, -left)
        if self._clock:
            self._tick(stamp)

    def _tick(self, nanoseconds: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(max(0, nanoseconds), 10**9)
        self._clock.publish(message)


def _unplayable(connection: Connection) -> str | None:
    if message_class(connection.msgtype) is None:
        return f"message type {connection.msgtype} is not installed"
    installed = types.installed_hash(connection.msgtype)
    if installed and connection.digest.startswith("RIHS01_") and connection.digest != installed:
        return f"the installed {connection.msgtype} has other fields than the recorded one"
    return None


def _remap(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(":=")
    if not (separator and old and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD:=NEW")
    return old, new


def parser() -> argparse.ArgumentParser:
    """The options; those of ROS follow --ros-args."""
    options = command_parser(
        "bag play",
        "Play a rosbag2 over DDS, at its own pace and with the QoS that was recorded. What follows --ros-args is for "
        "ROS.",
        "bag --clock --rate 0.5",
    )
    options.add_argument("bag", metavar="BAG", help="a rosbag2 folder, or a .mcap or .db3 file")
    pace = options.add_argument_group("time")
    pace.add_argument("--rate", type=positive, default=1.0, metavar="X", help="times the recorded pace (default 1)")
    pace.add_argument("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    pace.add_argument(
        "--clock", type=positive, nargs="?", const=40.0, default=0.0, metavar="HZ",
        help="publish the bag's time on /clock, 40 times a second or HZ, for nodes with use_sim_time",
    )  # fmt: skip
    topics = options.add_argument_group("topics")
    topics.add_argument("--topics", nargs="+", metavar="TOPIC", help="play these only")
    topics.add_argument(
        "--remap",
        type=_remap,
        nargs="+",
        default=[],
        metavar="OLD:=NEW",
        help="publish a recorded topic by another name",
    )
    start = options.add_argument_group("start")
    start.add_argument(
        "--wait-for-subscribers", type=positive, metavar="SECONDS",
        help="hold the first message until every played topic has a subscriber, so that none is lost; "
        "fail after so many seconds",
    )  # fmt: skip
    start.add_argument(
        "--wait-for-nodes", nargs="+", default=[], metavar="NODE",
        help="with --wait-for-subscribers: nodes, by name, that must be among them",
    )  # fmt: skip
    return options


def _arguments(argv: list[str]) -> argparse.Namespace:
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.wait_for_nodes and not arguments.wait_for_subscribers:
        command.error("--wait-for-nodes needs --wait-for-subscribers SECONDS")
    remapped = [old for old, _ in arguments.remap]
    if twice := [old for old, count in Counter(remapped).items() if count > 1]:
        command.error(f"--remap gives {', '.join(twice)} several names: give one")
    if arguments.topics and (idle := sorted({*remapped} - {*arguments.topics})):
        command.error(f"--remap of {', '.join(idle)} would do nothing: --topics leaves it out")
    return arguments


def _summary(player: Player) -> None:
    for topic, count in sorted(player.published.items()):
        print(f"{topic}: {count} messages published")
    for reason, count in sorted(player.skipped.items()):
        print(f"skipped {count} messages of {reason}", file=sys.stderr)
    if player.max_delay > 0.1:
        print(f"publishing fell behind by up to {player.max_delay:.1f} s: lower --rate", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """The command; returns 0 when the bag was played or stopped by Ctrl-C, 1 on a bag that cannot be played."""
    argv = sys.argv[1:] if argv is None else argv
    own, ros = split_arguments(argv)
    arguments = _arguments(own)
    player = None
    try:
        start_rclpy(ros, on_stop=interrupt)
        with open_bag(arguments.bag) as reader:
            print_notes(reader.notes)
            node = rclpy.create_node("bag_player")
            player = Player(node, reader, arguments.topics, dict(arguments.remap), arguments.rate, arguments.clock)
            if not player.playable:
                raise BagError(f"nothing in {arguments.bag} can be played")
            if arguments.wait_for_subscribers:
                player.wait_for_subscribers(arguments.wait_for_subscribers, arguments.wait_for_nodes)
            player.play()
            while arguments.loop:
                player.play()
            player.flush()
        _summary(player)
    except BagError as error:
        if player:
            _summary(player)
        return failed(error)
    except KeyboardInterrupt:
        if player:
            _summary(player)
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
