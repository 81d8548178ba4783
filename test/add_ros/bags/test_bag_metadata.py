"""Bags whose metadata.yaml and files disagree: what the files hold is read as ever, and a note says so."""

import os
import re
import shutil
import sqlite3

import pytest
import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.interfaces import QosReliability
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer
from support.bag_bench import STORE, drive, indices

from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.play import Player
from add_ros.bags.reading import open_bag, raw_messages

TEXT = "std_msgs/msg/String"


def read(bag):
    """(topics and bytes of all messages in their order, notes)."""
    with open_bag(bag) as reader:
        messages = [(c.topic, time, bytes(data)) for c, time, data in raw_messages(reader)]
        return messages, reader.notes


def edit(bag, change):
    path = bag / "metadata.yaml"
    document = yaml.safe_load(path.read_text())
    change(document["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(document))


def of_topics(**values):
    def change(information):
        for topic in information["topics_with_message_count"]:
            topic["topic_metadata"] |= values

    return change


def counts(information):
    information["message_count"] += 4
    information["topics_with_message_count"][0]["message_count"] += 4


def no_topics(information):
    information["topics_with_message_count"] = []


def no_counts(information):
    del information["message_count"], information["topics_with_message_count"][0]["message_count"]


CHANGES = {
    "no QoS": (of_topics(offered_qos_profiles=""), ""),
    "QoS as a list": (of_topics(offered_qos_profiles=[]), ""),
    "another QoS": (of_topics(offered_qos_profiles="- {history: 3, depth: 0, reliability: 2, durability: 2}"), ""),
    "QoS that is none": (of_topics(offered_qos_profiles="/topic:\n  history: keep_last\n  depth: 10"), ""),
    "QoS that is no YAML": (of_topics(offered_qos_profiles="[:"), ""),
    "another serialisation": (of_topics(serialization_format="wrong_format"), ""),
    "another type hash": (of_topics(type_description_hash="RIHS01_" + "0" * 64), ""),
    "another type": (of_topics(type=TEXT), "read as the latter"),
    "an old type name": (of_topics(type="sensor_msgs/Image"), None),
    "counts": (counts, "the number of messages"),
    "no topics": (no_topics, ""),
    "no counts": (no_counts, "the number of messages"),
    "a later version": (lambda information: information.update(version=10), ""),
    "names of Windows": (lambda i: i.update(relative_file_paths=[f"C:\\bags\\{i['relative_file_paths'][0]}"]), ""),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_is_read_as_without_the_change(tmp_path, storage, change):
    bag = drive(tmp_path / "bag", count=6, storage=storage)
    expected, notes = read(bag)
    assert len(expected) == 6 * 4 + 1 and not notes
    apply, words = CHANGES[change]
    edit(bag, apply)
    found, notes = read(bag)
    assert found == expected
    assert words is None or (bool(notes) == bool(words) and words in "".join(notes))
    if change != "another type hash":
        frames = BagFrames(bag)
        assert indices(frames) == list(range(6))
        assert words is None or [line for line in frames.summary() if line in notes] == notes


@pytest.mark.parametrize(("storage", "other"), [("mcap", "sqlite3"), ("sqlite3", "mcap")])
def test_a_storage_that_is_another_than_the_metadata_says_is_read(tmp_path, storage, other):
    bag = drive(tmp_path / "bag", storage=storage)
    expected, _ = read(bag)
    edit(bag, lambda information: information.update(storage_identifier=other))
    found, (note,) = read(bag)
    assert found == expected and f"it is {storage}" in note
    (file,) = (file for file in bag.iterdir() if file.name != "metadata.yaml")
    swapped = file.rename(tmp_path / {"mcap": "x.db3", "sqlite3": "x.mcap"}[storage])
    assert read(swapped) == (expected, [])


@pytest.mark.parametrize("content", [None, "", "\0" * 900])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_whose_metadata_was_never_written_is_read(tmp_path, storage, content):
    bag = drive(tmp_path / "bag", storage=storage)
    expected, _ = read(bag)
    (bag / "metadata.yaml").unlink()
    if content is not None:
        (bag / "metadata.yaml").write_text(content)
    (bag / f"._{next(bag.glob('bag*')).name}").write_bytes(b"\0\5\x16\7 macOS")
    found, (note,) = read(bag)
    assert found == expected and "no readable metadata.yaml" in note


def test_a_renamed_file_is_read_and_a_lost_one_named(tmp_path):
    bag = drive(tmp_path / "bag")
    expected, _ = read(bag)
    (bag / "bag.mcap").rename(bag / "renamed.mcap")
    found, (note,) = read(bag)
    assert found == expected and "lists bag.mcap" in note and "renamed.mcap read instead" in note
    shutil.copy(bag / "renamed.mcap", bag / "bag.mcap")
    found, (note,) = read(bag)
    assert found == expected and "does not list renamed.mcap: not read" in note
    edit(bag, lambda information: information["relative_file_paths"].append("lost.mcap"))
    (bag / "renamed.mcap").unlink()
    with pytest.raises(BagError, match=r"lost\.mcap is missing, which metadata.yaml lists"):
        read(bag)


def test_split_files_without_metadata_come_in_the_order_of_their_numbers(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    for i in (0, 1, 2, 10):
        writer = Writer(tmp_path / f"part_{i}", version=9)
        with writer:
            connection = writer.add_connection("/n", TEXT, typestore=STORE)
            writer.write(connection, i, STORE.serialize_cdr(STORE.types[TEXT](str(i)), TEXT))
        shutil.copy(next((tmp_path / f"part_{i}").glob("*.db3")), bag / f"part_{i}.db3")
    found, _ = read(bag)
    assert [time for _, time, _ in found] == [0, 1, 2, 10]


@pytest.mark.parametrize("name", ["a#b", "50%25", "what?", "a b&mode=rw"])
def test_sqlite3_files_may_have_any_name(tmp_path, name):
    bag = drive(tmp_path / name, storage="sqlite3")
    assert len(read(bag)[0]) == 4 * 4 + 1
    assert len(read(bag / f"{name}.db3")[0]) == 4 * 4 + 1


def packed(tmp_path, mode):
    writer = Writer(tmp_path / "bag", version=8)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/n", TEXT, typestore=STORE)
        for i in range(5):
            writer.write(connection, i, STORE.serialize_cdr(STORE.types[TEXT](str(i)), TEXT))
    return tmp_path / "bag"


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_need_no_metadata_to_be_read(tmp_path, mode):
    bag = packed(tmp_path, mode)
    expected, _ = read(bag)
    assert len(expected) == 5 and all(data.startswith(b"\0\1") for _, _, data in expected)
    (file,) = bag.glob("bag.db3*")
    assert read(file)[0] == expected
    (bag / "metadata.yaml").unlink()
    assert read(bag)[0] == expected


def test_qos_that_a_file_holds_wrongly_costs_no_message(tmp_path):
    """rosbag2's writers take any text for it."""
    bag = drive(tmp_path / "bag", storage="sqlite3")
    expected, _ = read(bag)
    file = sqlite3.connect(bag / "bag.db3")
    file.execute("UPDATE topics SET offered_qos_profiles = '/camera:\n  history: keep_last'")
    file.commit()
    file.close()
    assert read(bag) == (expected, [])
    with open_bag(bag) as reader:  # metadata.yaml's own still hold
        assert reader.connections[0].ext.offered_qos_profiles[0].reliability is QosReliability.RELIABLE
    assert read(bag / "bag.db3") == (expected, [])


# --- mcap files that rosbag2 did not write ------------------------------------------------------------------------


def mcap(path, channels, profile="", order=(0, 1, 2), **options):
    """A file with `order` times on each of channels, (topic, schema, schema's encoding, encoding)."""
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=CompressionType.NONE, **options)
        writer.start(profile=profile, library="test")
        for topic, name, schema_encoding, encoding in channels:
            schema = writer.register_schema(name, schema_encoding, b"string data")
            channel = writer.register_channel(topic, encoding, schema)
            for time in order:
                data = STORE.serialize_cdr(STORE.types[TEXT](str(time)), TEXT)
                writer.add_message(channel, time, bytes(data), time)
        writer.finish()
    return path


ROS2 = ("/text", TEXT, "ros2msg", "cdr")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"profile": "mine"},
        {"use_chunking": False},
        {"use_chunking": False, "use_statistics": False, "repeat_channels": False},
        {"use_statistics": False},
        {"index_types": 0},
    ],
)
def test_mcap_files_of_other_writers_are_read(tmp_path, options):
    options = {key: value for key, value in options.items() if key != "index_types"}
    found, notes = read(mcap(tmp_path / "x.mcap", [ROS2], **options))
    assert [(topic, time) for topic, time, _ in found] == [("/text", i) for i in range(3)] and not notes


def test_an_unindexed_mcap_file_out_of_order_is_read_in_the_order_of_writing(tmp_path):
    found, _ = read(mcap(tmp_path / "x.mcap", [ROS2], "ros2", (2, 0, 1), use_chunking=False))
    assert [time for _, time, _ in found] == [2, 0, 1]


def test_a_type_without_its_folder_is_the_same_type(tmp_path):
    with open_bag(mcap(tmp_path / "x.mcap", [("/text", "std_msgs/String", "ros2msg", "cdr")])) as reader:
        assert [connection.msgtype for connection in reader.connections] == [TEXT]
        assert len(list(raw_messages(reader))) == 3


@pytest.mark.parametrize(
    ("name", "schema", "encoding", "words"),
    [
        ("foxglove.CompressedImage", "protobuf", "protobuf", "are protobuf, not ROS 2's CDR"),
        ("foxglove.CompressedImage", "jsonschema", "json", "are json, not ROS 2's CDR"),
        ("sensor_msgs/Image", "ros1msg", "ros1", "rosbags-convert"),
    ],
)
def test_messages_of_another_kind_are_named_and_cost_no_others(tmp_path, name, schema, encoding, words):
    other = ("/other", name, schema, encoding)
    with pytest.raises(BagError, match=f"cannot read the bag .*{re.escape(words)}"):
        read(mcap(tmp_path / "alone.mcap", [other], profile="ros1" if encoding == "ros1" else ""))
    found, (note,) = read(mcap(tmp_path / "both.mcap", [other, ROS2], profile="ros2"))
    assert [topic for topic, _, _ in found] == ["/text"] * 3
    assert f"1 topics are {encoding}" in note and "/other" in note


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("drive.bag", b"#ROSBAG V2.0\n" + bytes(99), "rosbags-convert"),
        ("drive.mcap", b"#ROSBAG V2.0\n" + bytes(99), "a ROS 1 bag: convert it"),
        ("drive.mcap", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ("drive.db3", b"<!DOCTYPE html>" + bytes(99), "a web page"),
        ("drive.db3", b"\x28\xb5\x2f\xfd" + bytes(99), "ending .zstd"),
        ("drive.mcap.gz", b"\x1f\x8b" + bytes(99), "ends in .mcap or .db3"),
        ("metadata.yaml", b"rosbag2_bagfile_information: {}", "give its folder"),
    ],
)
def test_what_is_no_bag_is_named_with_a_way_out(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BagError, match=words) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


MCAP = b"\x89MCAP0\r\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (MCAP, "cut off or garbage"),
        (MCAP + b"\x01" + (2**63).to_bytes(8, "little") + bytes(99), "cut off or garbage"),
        (MCAP + b"\xff" * 200, "Unexpected record"),
        (MCAP + b"\xff" * 200 + MCAP, "Unexpected record"),
        (MCAP + bytes(200), "Unexpected record"),
        (b"", "seems to be empty"),
    ],
)
def test_garbage_in_an_mcap_file_is_named_and_nothing_stays_open(tmp_path, data, words):
    (tmp_path / "drive.mcap").write_bytes(data)
    (tmp_path / "other.mcap").write_bytes(b"no bag at all")
    with pytest.raises(BagError, match=rf"drive\.mcap: .*{words}"):
        read(tmp_path / "drive.mcap")
    with pytest.raises(BagError, match=r"other\.mcap"):
        read(tmp_path)
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
    assert not any(str(tmp_path) in name for name in open_files)


def _is_link(fd):
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_a_folder_of_bags_names_them(tmp_path):
    drive(tmp_path / "one")
    with pytest.raises(BagError, match="there are bags in it: one"):
        read(tmp_path)
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match="rosbags-convert"):
        read(tmp_path)


def two_types(path):
    """One topic with a text and a number, as merged bags have it."""
    with Writer(path, version=9) as writer:
        for kind, value in ((TEXT, "hello"), ("std_msgs/msg/Int32", 7)):
            connection = writer.add_connection("/x", kind, typestore=STORE)
            writer.write(connection, 10, STORE.serialize_cdr(STORE.types[kind](value), kind))
    return path


@pytest.mark.parametrize("described", [True, False])
def test_a_topic_of_two_types_has_each_ones_own_description(tmp_path, described):
    bag = two_types(tmp_path / "bag")
    with open_bag(bag) as reader:
        expected = {c.msgtype: (c.digest, c.msgcount) for c in reader.connections}
        assert not reader.notes
    if not described:
        (bag / "metadata.yaml").unlink()
    with open_bag(bag) as reader:
        found = {c.msgtype: (c.digest, c.msgcount) for c in reader.connections}
    assert found.keys() == {TEXT, "std_msgs/msg/Int32"} and all(count == 1 for _, count in found.values())
    assert not described or (found == expected and len({digest for digest, _ in found.values()}) == 2)
    import rclpy

    context = rclpy.Context()  # other tests of this process may have begun their own
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("two_types", context=context)
        with open_bag(bag) as reader, pytest.raises(BagError, match="/x has messages of two types"):
            Player(node, reader, None, {}, 1.0, 0.0)
        node.destroy_node()
    finally:
        context.try_shutdown()
