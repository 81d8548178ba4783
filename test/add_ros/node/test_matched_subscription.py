"""What a subscription asks for, given what publishers offer, and how many messages it counts as missed."""

import time
from types import SimpleNamespace

import pytest
import rclpy
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from add_ros.node.matched_subscription import OFFER_PATIENCE, MatchedSubscription, similar, type_name

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


def test_similar_topics_are_of_the_same_type_and_ordered_by_likeness():
    kind = "sensor_msgs/msg/Image"
    topics = [("/depth", [kind]), ("/camera/image_raw", [kind]), ("/image", [kind]), ("/camera/info", ["other"])]
    assert similar("/image", kind, topics) == ["/camera/image_raw", "/depth"]


def test_type_names():
    assert type_name(Image) == "sensor_msgs/msg/Image"
    assert type_name(CompressedImage) == "sensor_msgs/msg/CompressedImage"


# --- missed messages: distributions give different information with the messages that arrive --------------------------


def message_info(distribution, publisher, number):
    """What rclpy says of a message: Kilted its publisher and number, Jazzy the number."""
    gid = {"implementation_identifier": "rmw_test", "data": bytes([publisher] * 16)}
    return {"publication_sequence_number": number} | ({"publisher_gid": gid} if distribution == "kilted" else {})


class Topic:
    """As much of a node as a subscription needs, with publishers that are numbers and come and go."""

    def __init__(self, distribution, monkeypatch):
        self.distribution, self.missed, self.now, self.profiles, self.callbacks = distribution, 0, 0.0, [], []
        if distribution == "humble":  # callbacks get the message alone
            monkeypatch.setattr("add_ros.node.matched_subscription.Subscription", object)
        self._subscription = MatchedSubscription(self, Image, "image", 1, "auto", lambda _: None, self._add)
        self.publishers(1)
        self._subscription.match()

    def _add(self, count):
        self.missed += count

    def publishers(self, *numbers):
        offer = QoSProfile(depth=1)
        self._infos = [
            SimpleNamespace(topic_type="sensor_msgs/msg/Image", endpoint_gid=[number] * 16, qos_profile=offer)
            for number in numbers
        ]

    def arrive(self, publisher, *numbers):
        for number in numbers:
            about = [] if self.distribution == "humble" else [message_info(self.distribution, publisher, number)]
            self._callback(Image(), *about)

    def resolve_topic_name(self, name):
        return f"/{name}"

    def get_publishers_info_by_topic(self, _):
        return self._infos

    def create_subscription(self, kind, name, callback, profile, event_callbacks):
        self._callback = callback
        self.callbacks.append(callback)
        self.profiles.append(profile)
        return object()

    def destroy_subscription(self, _):
        pass


class Start:
    """A subscription of a fake node whose publishers are still to be discovered."""

    def __init__(self, reliability, monkeypatch):
        self.topic = Topic("kilted", monkeypatch)
        self.topic.publishers()
        self.topic.profiles.clear()
        self.topic.callbacks.clear()
        ignore = lambda _: None  # noqa: E731
        self.subscription = MatchedSubscription(
            self.topic, Image, "image", 1, reliability, ignore, ignore, lambda: self.topic.now
        )

    def match(self, now):
        """What it has subscribed with by then, in order."""
        self.topic.now = now
        self.subscription.match()
        return [profile.reliability for profile in self.topic.profiles]


def test_it_waits_for_an_offer_before_it_chooses(monkeypatch):
    start = Start("auto", monkeypatch)
    assert start.match(0.1) == [] and not start.subscription.active
    start.topic.publishers(1)
    start.topic._infos[0].qos_profile = QoSProfile(depth=1, reliability=BEST_EFFORT)
    assert start.match(0.2) == [BEST_EFFORT] and start.subscription.active


def test_it_waits_no_longer_than_publishers_that_are_there_take_to_be_found(monkeypatch):
    start = Start("auto", monkeypatch)
    assert start.match(OFFER_PATIENCE - 0.01) == []
    assert start.match(OFFER_PATIENCE) == [RELIABLE, BEST_EFFORT]  # whichever a camera will offer
    start.subscription.release()
    assert start.match(OFFER_PATIENCE + 0.1) == [RELIABLE, BEST_EFFORT] * 2


def test_a_fixed_choice_waits_for_nobody(monkeypatch):
    assert Start("best_effort", monkeypatch).match(0.0) == [BEST_EFFORT]


@pytest.mark.parametrize("reliability", [RELIABLE, BEST_EFFORT])
def test_a_camera_that_comes_late_needs_no_further_subscription(monkeypatch, reliability):
    """Over DDS: each image of either kind of camera arrives once, and one of the two guesses is left."""
    if not rclpy.ok():
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, camera, arrived, made = rclpy.create_node("follower"), rclpy.create_node("late_camera"), [], []
    create = node.create_subscription
    monkeypatch.setattr(node, "create_subscription", lambda *a, **o: made.append(a[3].reliability) or create(*a, **o))
    ticks = iter([0.0])
    subscription = MatchedSubscription(
        node, Image, "late_image", 1, "auto", arrived.append, lambda _: None, lambda: next(ticks, OFFER_PATIENCE)
    )
    subscription.match()
    quiet = PublisherEventCallbacks(use_default_callbacks=False)
    publisher = camera.create_publisher(
        Image, "late_image", QoSProfile(depth=1, reliability=reliability), event_callbacks=quiet
    )
    end = time.monotonic() + 30
    sent = 0
    while len(arrived) < 5:
        assert time.monotonic() < end
        publisher.publish(numbered(sent := sent + 1))
        for _ in range(4):
            subscription.match()
            rclpy.spin_once(node, timeout_sec=0.01)
    stamps = [message.header.stamp.sec for message in arrived]
    assert stamps == sorted(set(stamps)) and set(made) == {RELIABLE, BEST_EFFORT} and len(made) == 2
    assert subscription.silence().count("volatile") == 2  # the publisher's, and what is left
    for one in (node, camera):
        one.destroy_node()


def numbered(number):
    message = Image(width=number)
    message.header.stamp.sec = number
    return message


def test_images_of_a_camera_without_stamps_still_arrive(monkeypatch):
    start = Start("auto", monkeypatch)
    start.match(OFFER_PATIENCE)
    passed, callbacks = [], start.topic.callbacks
    start.subscription._callback = passed.append
    for _ in range(3):  # while the publisher is unknown, both hear it
        for hear in callbacks:
            hear(Image(), {})
    assert len(passed) == 3
    start.topic.publishers(1)
    start.match(OFFER_PATIENCE + 0.1)
    for _ in range(4):
        callbacks[0](Image(), {})
    assert len(passed) == 7


@pytest.mark.parametrize(("distribution", "missed"), [("kilted", 4), ("jazzy", 4), ("humble", 0)])
def test_messages_of_one_publisher_that_did_not_arrive_are_counted(monkeypatch, distribution, missed):
    topic = Topic(distribution, monkeypatch)
    topic.arrive(1, 3, 4, 7, 8, 11)  # of 9 since the first
    assert topic.missed == missed


@pytest.mark.parametrize(("distribution", "missed"), [("kilted", 3), ("jazzy", 0)])
def test_numbers_of_several_publishers_are_not_mixed_up(monkeypatch, distribution, missed):
    topic = Topic(distribution, monkeypatch)
    topic.publishers(1, 2)
    for number in (1, 2, 4):
        topic.arrive(1, number)
        topic.arrive(2, 100 + number)
    topic.arrive(1, 6)
    assert topic.missed == missed


def test_a_publisher_that_comes_or_goes_makes_nothing_missed(monkeypatch):
    topic = Topic("jazzy", monkeypatch)
    topic.arrive(1, 1, 2)
    topic.publishers(1, 2)
    topic.arrive(1, 3, 4, 5)
    topic.publishers(1)
    topic.arrive(1, 6, 7)
    topic.publishers(2)
    topic.arrive(2, 50, 51)
    assert topic.missed == 0
    topic.arrive(2, 53)
    assert topic.missed == 1


@pytest.mark.skipif(not hasattr(Subscription, "CallbackType"), reason="Humble gives no information with messages")
@pytest.mark.parametrize("with_gid", [True, False])
def test_what_was_published_either_arrives_or_is_missed(monkeypatch, with_gid):
    """Over DDS, with and without the part that Jazzy lacks."""
    if not rclpy.ok():
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("listener")
    create, missed, arrived = node.create_subscription, [], []

    def subscribe(kind, name, callback, *rest, **options):
        def hear(message, about):
            callback(message, {key: value for key, value in about.items() if with_gid or key != "publisher_gid"})

        return create(kind, name, hear, *rest, **options)

    monkeypatch.setattr(node, "create_subscription", subscribe)
    subscription = MatchedSubscription(node, Image, "numbers", 1, "auto", arrived.append, missed.append)
    publisher = node.create_publisher(Image, "numbers", 10)
    end = time.monotonic() + 30

    def spin_until(done):
        while not done():
            assert time.monotonic() < end
            subscription.match()
            rclpy.spin_once(node, timeout_sec=0.02)

    def send(numbers):
        for number in numbers:
            publisher.publish(numbered(number))
        time.sleep(0.2)  # nobody reads meanwhile, and a depth of 1 keeps the last
        spin_until(lambda: arrived and arrived[-1].width == numbers[-1])

    spin_until(lambda: subscription.silence().startswith("1 publisher") and publisher.get_subscription_count())
    send([1])
    send([2, 3, 4, 5, 6])
    send([7, 8, 9])
    node.destroy_node()
    assert len(arrived) < 9 and sum(missed) == 9 - len(arrived)
