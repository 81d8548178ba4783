"""A subscription whose reliability and durability follow what the publishers offer, as rosbag2's recorder does.

A reliable subscriber gets nothing from a best-effort camera, and a best-effort one loses large images that a reliable
one would get: neither fixed choice suits all cameras.
"""

from __future__ import annotations

import difflib
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from add_ros.offered_qos import Choice, most_offered

_FIXED = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}
# While there is no publisher, both: a reliable one, since a first message can't get lost then between the two sides'
# discoveries, and a best-effort one, since a best-effort publisher does not match the other. A wrong guess would lose
# messages until the next subscription is discovered in turn, which can take seconds where a datagram gets lost.
_GUESSES = (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
# Seconds from the start in which publishers that are there already are discovered, on a busy machine too. Those that
# offer best effort would log a warning of the reliable guess.
OFFER_PATIENCE = 2.0
_REMEMBERED = 4  # messages that come twice do so within so many


class MatchedSubscription:
    """Subscribes when `match` finds the first offer, and again whenever it finds that the offers have changed.

    `match` is to be called a few times per second, and more often while it is not `active`. Where no publisher is found
    within OFFER_PATIENCE of the start, it subscribes in two ways for one that is still to come. Of several
    subscriptions the others stay until the one that suits has received a message, so nothing is missed; a message that
    several receive is passed on once.

    Args:
        node: has the subscription.
        kind: class of the messages.
        topic: before remapping.
        depth: of the queue.
        reliability: reliable, best_effort, or anything else to follow the publishers.
        callback: called with each message.
        on_missed: called with the number of messages that were sent and did not arrive.
        clock: gives seconds that only go forward.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        topic: str,
        depth: int,
        reliability: str,
        callback: Callable[[Any], None],
        on_missed: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._wait_until = clock, clock() + OFFER_PATIENCE
        self._node, self._kind, self._depth, self._callback, self._on_missed = node, kind, depth, callback, on_missed
        self._fixed = _FIXED.get(reliability)
        self._given = topic  # rclpy remaps each name that it is given: a resolved one would be remapped twice
        self.topic: str = node.resolve_topic_name(topic)
        self.received = 0  # messages since it was subscribed
        self._choice: Choice | None = None  # what suits the publishers, None before there are any
        self._subscriptions: dict[Choice, Any] = {}
        self._starved = False
        self._passed: deque[tuple[tuple[int, int], Choice]] = deque(maxlen=_REMEMBERED)  # stamps, and how they came
        self._sequences: dict[bytes, int] = {}

    @property
    def type_name(self) -> str:
        """Such as 'sensor_msgs/msg/Image'."""
        return type_name(self._kind)

    def match(self) -> None:
        """Subscribe again where another quality of service suits the publishers better."""
        if self._starved:
            self._explain_starving()
        choice = most_offered(self._publishers_of_type())
        if choice is not None:
            self._follow((self._fixed or choice[0], choice[1]))
        elif not self.active and (self._fixed is not None or self._clock() >= self._wait_until):
            for reliability in _GUESSES if self._fixed is None else (self._fixed,):
                self._subscribe((reliability, DurabilityPolicy.VOLATILE))

    def release(self) -> None:
        """Subscribe no more, until `match` is called again."""
        self._keep_only(None)
        self._choice, self.received = None, 0
        self._passed.clear()
        self._sequences.clear()

    @property
    def active(self) -> bool:
        """Whether it is subscribed."""
        return bool(self._subscriptions)

    def silence(self) -> str:
        """Why nothing has arrived, as far as the graph shows: one or two sentences."""
        mine, others = f"this node requests {self._requested()}", self._publishers()
        same = [p for p in others if p.topic_type == self.type_name]
        if same:
            offers = sorted(
                f"{p.node_name} ({_words(p.qos_profile.reliability, p.qos_profile.durability)})" for p in same
            )
            incompatible = any(self._starves(p) for p in same)
            hint = "these do not match: set the parameter reliability to auto" if incompatible else "they send nothing"
            return f"{len(same)} publisher(s): {', '.join(offers)}; {mine}; {hint}"
        if others:
            kinds = ", ".join(sorted({p.topic_type for p in others}))
            hint = " (set the parameter image_transport to compressed)" if "CompressedImage" in kinds else ""
            return f"its publishers send {kinds}, not {self.type_name}{hint}"
        near = similar(self.topic, self.type_name, self._node.get_topic_names_and_types())
        hint = f"topics of this type: {', '.join(near)}" if near else "there is no other topic of this type"
        return f"nobody publishes there ({mine}); {hint}"

    def _publishers(self) -> list[Any]:
        return self._node.get_publishers_info_by_topic(self._given)

    def _publishers_of_type(self) -> list[Any]:
        return [p for p in self._publishers() if p.topic_type == self.type_name]

    def _starves(self, publisher: Any) -> bool:
        """Whether no subscription matches what it offers."""
        return not any(_satisfies(publisher.qos_profile, choice) for choice in self._subscriptions)

    def _requested(self) -> str:
        return " and ".join(_words(*choice) for choice in self._subscriptions)

    def _follow(self, choice: Choice) -> None:
        if choice == self._choice:
            return
        self._choice = choice
        if choice not in self._subscriptions:
            if self._subscriptions:
                self._node.get_logger().info(f"{self.topic}: subscribing {_words(*choice)}, as its publishers offer")
            self._subscribe(choice)

    def _keep_only(self, choice: Choice | None) -> None:
        for other in [other for other in self._subscriptions if other != choice]:
            self._node.destroy_subscription(self._subscriptions.pop(other))

    def _subscribe(self, choice: Choice) -> None:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=self._depth, reliability=choice[0], durability=choice[1]
        )
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._incompatible,
            use_default_callbacks=False,
        )

        def on_message(message: Any, info: Any) -> None:
            self._on_message(message, info, choice)

        # Humble's callbacks get the message alone.
        callback = on_message if hasattr(Subscription, "CallbackType") else lambda message: on_message(message, {})
        self._subscriptions[choice] = self._node.create_subscription(
            self._kind, self._given, callback, profile, event_callbacks=events
        )

    def _on_message(self, message: Any, info: Any, choice: Choice) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        if choice == self._choice:
            self._keep_only(choice)
        for passed in self._passed:
            if passed[0] == stamp and passed[1] != choice:
                self._passed.remove(passed)  # a camera may give all its images the same stamp
                return
        self._passed.append((stamp, choice))
        self.received += 1
        self._count_missed(info)
        self._callback(message)

    def _count_missed(self, info: Any) -> None:
        """Gaps in the sequence numbers of each publisher, which Humble and some middlewares do not give."""
        number = info.get("publication_sequence_number")
        if not number:
            return
        sender = self._sender(info)
        if sender is None:
            self._sequences.clear()  # or messages that arrive meanwhile would count as missed later
            return
        before = self._sequences.get(sender)
        self._sequences[sender] = max(number, before or 0)
        if before is not None and number > before + 1:
            self._on_missed(number - before - 1)

    def _sender(self, info: Any) -> bytes | None:
        """The publisher of a message. Jazzy does not give it, so there it is known only where a topic has just one."""
        if publisher := info.get("publisher_gid"):
            return publisher["data"]
        gids = [bytes(p.endpoint_gid) for p in self._publishers_of_type()]
        return gids[0] if len(gids) == 1 else None

    def _incompatible(self, _: Any) -> None:
        if self._fixed is None:
            self.match()  # at once: until the new subscription is discovered in turn, messages are lost
        else:
            self._starved = True

    def _explain_starving(self) -> None:
        starving = [p for p in self._publishers() if self._starves(p)]
        if any("UNKNOWN" in p.node_name for p in starving):
            return  # the name of a node is discovered a little later than its publishers
        self._starved = False
        offers = ", ".join(
            f"{p.node_name} offers {_words(p.qos_profile.reliability, p.qos_profile.durability)}" for p in starving
        )
        self._node.get_logger().warning(
            f"{self.topic}: incompatible quality of service, nothing will arrive: "
            f"{offers or 'a publisher offers less'}, this node requests {self._requested()}; "
            "set the parameter reliability to auto"
        )


def similar(topic: str, kind: str, topics: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Other topics of this type, the most alike in name first."""
    names = [name for name, kinds in topics if kind in kinds and name != topic]
    return sorted(names, key=lambda name: -difflib.SequenceMatcher(None, name, topic).ratio())[:5]


def type_name(kind: Any) -> str:
    """A message class -> such as 'sensor_msgs/msg/Image'."""
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


def _satisfies(offer: QoSProfile, choice: Choice) -> bool:
    reliable = choice[0] != ReliabilityPolicy.RELIABLE or offer.reliability == ReliabilityPolicy.RELIABLE
    latched = choice[1] != DurabilityPolicy.TRANSIENT_LOCAL or offer.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return reliable and latched


def _words(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> str:
    return f"{reliability.name.lower()} {durability.name.lower()}"
