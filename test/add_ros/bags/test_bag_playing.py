"""Bags as they pass over DDS between real processes: the player and the recorder."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg
from support.bag_bench import PERIOD, START, drive, others_read, pixels
from support.paths import ROOT

from add_ros.bags import play, types
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages

pytestmark = pytest.mark.slow


def offered(reliability, durability, depth=1, history=QosHistory.KEEP_LAST):
    forever = QosTime(0, 0)
    return Qos(history, depth, reliability, durability, forever, forever, QosLiveliness.AUTOMATIC, forever, False)


def test_player_offers_what_was_recorded():
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

    reliable, best = QosReliability.RELIABLE, QosReliability.BEST_EFFORT
    latched, volatile = QosDurability.TRANSIENT_LOCAL, QosDurability.VOLATILE

    def policies(*recorded):
        qos = play.playing_qos(list(recorded))
        return qos.reliability, qos.durability

    default = ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE
    assert policies() == default
    assert policies(offered(best, volatile)) == (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
    assert policies(offered(reliable, latched)) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    assert policies(offered(reliable, latched), offered(best, volatile)) == default
    assert policies(offered(QosReliability.UNKNOWN, QosDurability.UNKNOWN, 0, QosHistory.UNKNOWN)) == default


def test_player_keeps_what_all_recorded_publishers_kept():
    static = offered(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)
    moving = offered(QosReliability.RELIABLE, QosDurability.VOLATILE)
    assert play.playing_qos([static] * 15).depth == 15
    assert play.playing_qos([static], transforms=15).depth == 15  # of a recorder that knew one of the publishers
    assert play.playing_qos([moving], transforms=5000).depth == play.playing_qos([static]).depth == 10
    assert play.playing_qos([static], transforms=5000).depth == play.playing_qos([static] * 5000).depth == 1000


class Process:
    """A command of the bag tools as a real process, which never outlives the test."""

    def __init__(self, module, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", f"add_ros.bags.{module}", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.finish()

    def finish(self):
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@pytest.mark.parametrize(("storage", "other"), [("mcap", "sqlite3"), ("sqlite3", "mcap")])
def test_every_message_passes_over_dds(tmp_path, storage, other):
    drive(tmp_path / "in", 30, storage=storage, compress=storage == "sqlite3")
    topics = ["/camera/image_rect", "/camera/camera_info", "/camera/ground_truth", "/camera/ground_truth_2d"]
    heard = ["/renamed", *topics[1:], "/clock"]
    with Process("record", tmp_path / "out", *heard, "--storage", other) as recorder:
        with Process(
            "play", tmp_path / "in", "--rate", 5, "--clock", 50, "--wait-for-subscribers", 30,
            "--remap", "/camera/image_rect:=/renamed",
        ) as player:  # fmt: skip
            code, said = player.finish()
        assert code == 0, said
        time.sleep(0.3)
        code, said = recorder.interrupt()
        assert code == 0, said
    sent = sorted((topic, START + i * PERIOD) for topic in topics for i in range(30))
    found = others_read(tmp_path / "out")
    stamps = [
        (topic.replace("/renamed", topics[0]), m.header.stamp.sec * 10**9 + m.header.stamp.nanosec)
        for topic, _, m in found
        if topic != "/clock"
    ]
    assert sorted(stamps) == sent
    images = [m for topic, _, m in found if topic == "/renamed"]
    assert [bytes(m.data) for m in images] == [pixels(i).tobytes() for i in range(30)]
    arrivals = [arrival for _, arrival, _ in found]
    assert abs(time.time_ns() - arrivals[0]) < 120e9
    clock = [m.clock.sec * 10**9 + m.clock.nanosec for topic, _, m in found if topic == "/clock"]
    assert clock == sorted(clock)
    assert clock[-1] == START + 29 * PERIOD
    assert len(clock) > 30


@pytest.mark.parametrize(
    ("tool", "options", "said"),
    [
        ("play", ["--remap", "/camera/image_rect:=bad name"], "'bad name' can't be a topic"),
        (
            "play",
            ["--remap", "/camera/image_rect:=/camera/camera_info"],
            "(sensor_msgs/msg/Image) and /camera/camera_info (sensor_msgs/msg/CameraInfo) would both be published as",
        ),
        (
            "play",
            ["--clock", "--remap", "/camera/image_rect:=/clock"],
            "--clock (rosgraph_msgs/msg/Clock) and /camera/im",
        ),
        ("play", ["--remap", "/x:=/a", "/x:=/b"], "--remap gives /x several names"),
        ("play", ["--remap", "/x:=/a", "--topics", "/y"], "--remap of /x would do nothing: --topics leaves it out"),
        ("play", ["--wait-for-nodes", "somebody"], "needs --wait-for-subscribers"),
        ("play", ["--ros-args", "-r", "nonsense"], "--ros-args"),
        ("record", ["bad name"], "'bad name' can't be a topic"),
    ],
)
def test_names_that_ros_refuses_are_told_in_one_line(tmp_path, tool, options, said):
    bag = tmp_path / "bag"
    if tool == "play":
        drive(bag)
    with Process(tool, bag, *options) as process:
        code, log = process.finish()
    assert code in (1, 2)
    assert said in log and "Traceback" not in log
    assert bag.exists() == (tool == "play")


def test_player_plays_a_damaged_bag_up_to_the_break_and_fails(tmp_path):
    drive(tmp_path / "bag", 400)
    file = tmp_path / "bag" / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with Process("play", tmp_path / "bag", "--rate", 500) as player:
        code, said = player.finish()
    assert code == 1
    published = int(said.split("/camera/image_rect: ")[1].split()[0])
    assert 150 < published < 280
    assert "damaged" in said and "Traceback" not in said


def test_player_fails_when_nobody_listens(tmp_path):
    drive(tmp_path / "bag")
    with Process("play", tmp_path / "bag", "--wait-for-subscribers", 0.5) as player:
        code, said = player.finish()
    assert code == 1
    assert "no subscriber to /camera" in said


def test_player_waits_for_the_nodes_it_was_told(tmp_path):
    drive(tmp_path / "bag", 5)
    with Process("record", tmp_path / "early", "/camera/camera_info"):
        play = [tmp_path / "bag", "--topics", "/camera/camera_info", "--wait-for-subscribers"]
        with Process("play", *play, 15, "--wait-for-nodes", "bag_recorder", "late_comer") as player:
            code, said = player.finish()
        assert code == 1
        assert "no subscription of node late_comer after" in said
        with Process("play", *play, 30, "--wait-for-nodes", "bag_recorder") as player:
            code, said = player.finish()
        assert code == 0, said


@contextmanager
def listening(topic, heard):
    """Collects the strings of a topic in `heard` while what it gives is called."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import String

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    node.create_subscription(String, topic, lambda message: heard.append(message.data), 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield lambda: executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_looping_player_stops_cleanly_and_counts_what_it_cannot_play(tmp_path):
    store = types.typestore()
    store.register(get_types_from_msg("int32 value", "strange_msgs/msg/Odd"))
    odd, plain = store.types["strange_msgs/msg/Odd"], store.types["std_msgs/msg/String"]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for kind, topic, message in (
            ("strange_msgs/msg/Odd", "/odd", odd(3)),
            ("std_msgs/msg/String", "/s", plain("x")),
        ):
            connection = writer.add_connection(topic, kind, typestore=store)
            for i in range(5):
                writer.write(connection, START + i * PERIOD // 10, store.serialize_cdr(message, kind))
    heard: list[str] = []
    with listening("/s", heard) as spin, Process("play", tmp_path / "bag", "--loop") as player:
        end = time.monotonic() + 60
        while len(heard) < 6 and time.monotonic() < end:
            spin()
        code, said = player.interrupt()
    assert code == 0, said
    assert "skipped 5 messages of /odd: message type strange_msgs/msg/Odd is not installed" in said
    published = int(said.split("/s: ")[1].split()[0])
    assert published > 5


def test_recorder_follows_a_best_effort_latched_publisher(tmp_path):
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from std_msgs.msg import String

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("speaker", context=context)
    quick = node.create_publisher(String, "/quick", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(String, "/once", latched).publish(String(data="early"))
    try:
        with Process("record", tmp_path / "bag", "/quick", "/once") as recorder:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not quick.get_subscription_count():
                time.sleep(0.05)
            for _ in range(10):
                quick.publish(String(data="now"))
                time.sleep(0.05)
            code, said = recorder.interrupt()
            assert code == 0, said
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    heard = [(topic, m.data) for topic, _, m in others_read(tmp_path / "bag")]
    assert heard.count(("/once", "early")) == 1
    assert ("/quick", "now") in heard


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_of_a_recorder_that_is_killed_all_but_the_last_second_can_be_read(tmp_path, storage):
    """Small messages: a chunk of mcap would hold them back for hours, a transaction of sqlite3 to the end."""
    drive(tmp_path / "in", 8)
    topic = "/camera/camera_info"
    with Process("record", tmp_path / "out", topic, "--storage", storage) as recorder:
        with Process("play", tmp_path / "in", "--topics", topic, "--rate", 10, "--wait-for-subscribers", 60) as player:
            assert player.finish()[0] == 0
        time.sleep(2.5)
        recorder.process.kill()
        recorder.process.wait()
    found = []
    with open_bag(tmp_path / "out") as reader, suppress(BagError):  # its end is missing
        found.extend(raw_messages(reader))
    assert len(found) == 8


def test_recorder_refuses_an_existing_bag(tmp_path):
    with Process("record", tmp_path, "/x") as recorder:
        code, said = recorder.finish()
    assert code == 1
    assert "exists already" in said
