"""message_filters against exhaustive search over what has arrived."""

import itertools
import threading
from types import SimpleNamespace

import message_filters
import pytest
import rclpy
from builtin_interfaces.msg import Time as Stamp
from hypothesis import given
from hypothesis import strategies as st
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String

MS = 1_000_000


def message(ms, source=0):
    return SimpleNamespace(
        header=SimpleNamespace(stamp=Stamp(sec=ms // 1000, nanosec=ms % 1000 * MS)), ms=ms, source=source
    )


def play(make, inputs, arrivals):
    """What a synchronizer passes on after each arrival (input, ms): a list of lists of sets of ms."""
    sources = [message_filters.SimpleFilter() for _ in range(inputs)]
    sync, out = make(sources), []
    sync.registerCallback(lambda *msgs: out[-1].append(msgs))
    for index, ms in arrivals:
        out.append([])
        sources[index].signalMessage(message(ms, index))
    return out


def arrivals(inputs, span):
    return st.lists(st.tuples(st.integers(0, inputs - 1), st.integers(0, span)), max_size=40)


@given(arrivals=arrivals(3, 12), size=st.integers(1, 6))
def test_exact_pairs_as_exhaustive_search_does(arrivals, size):
    waiting = [set() for _ in range(3)]
    for (index, ms), got in zip(
        arrivals, play(lambda fs: message_filters.TimeSynchronizer(fs, size), 3, arrivals), strict=True
    ):
        waiting[index] = set(sorted(waiting[index] | {ms})[-size:])
        common = set.intersection(*waiting)
        for queue in waiting:
            queue -= common
        assert [[m.ms for m in msgs] for msgs in got] == [[t] * 3 for t in sorted(common)]
        assert all(m.source == i for msgs in got for i, m in enumerate(msgs))


@given(arrivals=arrivals(3, 200), size=st.integers(1, 6), slop=st.integers(1, 60))
def test_approximate_takes_a_set_whenever_there_is_one(arrivals, size, slop):
    def make(fs):
        return message_filters.ApproximateTimeSynchronizer(fs, size, slop / 1000)

    waiting = [set() for _ in range(3)]
    for (index, ms), got in zip(arrivals, play(make, 3, arrivals), strict=True):
        waiting[index] = set(sorted(waiting[index] | {ms})[-size:])
        possible = [s for s in itertools.product(*waiting) if s[index] == ms and max(s) - min(s) < slop]
        assert len(got) == bool(possible)
        for msgs in got:
            chosen = tuple(m.ms for m in msgs)
            assert chosen in possible
            # The first inputs get their nearest message as long as a set can still be completed.
            distances = [[abs(t - ms) for i, t in enumerate(s) if i != index] for s in possible]
            assert [abs(t - ms) for i, t in enumerate(chosen) if i != index] == min(distances)
            for queue, t in zip(waiting, chosen, strict=True):
                queue.discard(t)


def test_approximate_excludes_a_difference_of_exactly_the_slop():
    def out(ms):
        return play(lambda fs: message_filters.ApproximateTimeSynchronizer(fs, 5, 0.05), 2, [(0, 0), (1, ms)])[-1]

    assert not out(50)
    assert len(out(49)) == 1


def test_headerless_messages_need_permission():
    for allowed in (False, True):
        sources = [message_filters.SimpleFilter() for _ in range(2)]
        sync, got = message_filters.ApproximateTimeSynchronizer(sources, 5, 5.0, allow_headerless=allowed), []
        sync.registerCallback(lambda *msgs, got=got: got.append(msgs))
        first, second = String(data="a"), String(data="b")
        sources[0].signalMessage(first)
        sources[1].signalMessage(second)
        assert got == ([(first, second)] if allowed else [])


def test_arrival_time_overrides_stamps():
    out = play(
        lambda fs: message_filters.ApproximateTimeSynchronizer(fs, 5, 5.0, sync_arrival_time=True),
        2,
        [(0, 0), (1, 900_000)],
    )
    assert [m.ms for m in out[-1][0]] == [0, 900_000]


def test_a_raising_callback_does_not_block_the_filter():
    sources = [message_filters.SimpleFilter() for _ in range(2)]
    sync, got = message_filters.TimeSynchronizer(sources, 5), []

    def callback(*msgs):
        got.append(msgs[0].ms)
        if msgs[0].ms == 1:
            raise ValueError("the user's own error")

    sync.registerCallback(callback)
    sources[0].signalMessage(message(1))
    with pytest.raises(ValueError, match="own error"):
        sources[1].signalMessage(message(1))
    done = threading.Thread(target=lambda: [s.signalMessage(message(2)) for s in sources], daemon=True)
    done.start()
    done.join(5)
    assert got == [1, 2]


def test_callbacks_run_in_order_with_their_arguments():
    source, got = message_filters.SimpleFilter(), []
    assert source.registerCallback(lambda *a: got.append(a), "x", 1) == 0
    assert source.registerCallback(lambda *a: got.append(a)) == 1
    source.signalMessage("m", "n")
    assert got == [("m", "n", "x", 1), ("m", "n")]


@given(
    stamps=st.lists(st.integers(0, 50), max_size=20), size=st.integers(1, 8), a=st.integers(0, 50), b=st.integers(0, 50)
)
def test_cache_answers_as_a_list_would(stamps, size, a, b):
    source = message_filters.SimpleFilter()
    cache, passed = message_filters.Cache(source, size), []
    cache.registerCallback(passed.append)
    messages = [message(ms) for ms in stamps]
    for msg in messages:
        source.signalMessage(msg)
    kept, (low, high) = messages[-size:], sorted((a, b))
    at = [Time(nanoseconds=ms * MS, clock_type=rclpy.clock.ClockType.ROS_TIME) for ms in (low, high)]
    assert passed == messages
    assert cache.getInterval(*at) == [m for m in kept if low <= m.ms <= high]
    assert cache.getElemAfterTime(at[0]) is next((m for m in kept if m.ms >= low), None)
    assert cache.getElemBeforeTime(at[1]) is next((m for m in reversed(kept) if m.ms <= high), None)
    if kept:
        assert cache.getOldestTime().nanoseconds == kept[0].ms * MS
        assert cache.getLastestTime().nanoseconds == kept[-1].ms * MS
        assert cache.getLast() is next(m for m in kept if m.ms >= kept[-1].ms)
    else:
        assert cache.getOldestTime() is cache.getLastestTime() is cache.getLast() is None


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("filters", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_subscriber_pairs_real_topics(node):
    best_effort = QoSProfile(depth=3, reliability=ReliabilityPolicy.BEST_EFFORT)
    first = message_filters.Subscriber(node, CameraInfo, "first")
    second = message_filters.Subscriber(node, CameraInfo, "second", qos_profile=best_effort)
    assert (first.getTopic(), first.qos_profile.depth) == ("first", 10)
    assert second.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert second.topic_name == "/second"
    sync, got = message_filters.TimeSynchronizer([first, second], 5), []
    sync.registerCallback(lambda *msgs: got.append([m.width for m in msgs]))
    publishers = [node.create_publisher(CameraInfo, topic, 10) for topic in ("first", "second")]
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    for width in range(1, 60):
        for offset, publisher in enumerate(publishers):
            msg = CameraInfo(width=width + 100 * offset)
            msg.header.stamp = Stamp(sec=width)
            publisher.publish(msg)
        for _ in range(6):
            executor.spin_once(timeout_sec=0.05)
        if len(got) >= 3:
            break
    executor.shutdown()
    assert len(got) >= 3
    assert all(b == a + 100 for a, b in got)
