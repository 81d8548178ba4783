"""Bags that are truncated, damaged, split or mislabelled: what can be read is read, and the rest is reported."""

import shutil
import sqlite3
import sys
from contextlib import closing

import lz4.frame
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import ReaderError

from add_ros.bags import types
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages, read
from add_ros.bags.unpacking import unlz4, unzstd

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STORE = types.typestore()
TEXT, BYTES = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
PLUGINS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


# What came into metadata.yaml with which version; Foxy writes 4, Humble 5, Iron 7, Jazzy and later 9.
SINCE = {"files": 5, "custom_data": 6, "ros_distro": 8}


def write(path, numbers, storage="mcap", compressed=False, version=9):
    """A bag of /number and, with each, a quarter of a megabyte on /image; message i is of the time i."""
    header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](0, 0), "")
    writer = Writer(path, version=version, storage_plugin=PLUGINS[storage])
    if compressed:
        mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
        writer.set_compression(mode, CompressionFormat.ZSTD)
    forever = QosTime(0, 0)
    qos = Qos(
        QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE,
        forever, forever, QosLiveliness.AUTOMATIC, forever, False,
    )  # fmt: skip
    with writer:
        text, image = (
            writer.add_connection(topic, kind, typestore=STORE, offered_qos_profiles=[qos])
            for topic, kind in (("/number", TEXT), ("/image", BYTES))
        )
        for i in numbers:
            filler = STORE.types[BYTES](header, str(i), np.random.default_rng(i).integers(0, 255, 250_000, np.uint8))
            writer.write(text, i, STORE.serialize_cdr(STORE.types[TEXT](str(i)), TEXT))
            writer.write(image, i, STORE.serialize_cdr(filler, BYTES))


def join(parts, out):
    """One split bag of several bags."""
    out.mkdir()
    infos = []
    for part in parts:
        (file,) = (file for file in part.iterdir() if file.name != "metadata.yaml")
        shutil.copy(file, out / file.name)
        infos.append(yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"])
    whole = infos[0]
    whole["relative_file_paths"] = [path for info in infos for path in info["relative_file_paths"]]
    whole["files"] = [file for info in infos for file in info["files"]]
    whole["message_count"] = sum(info["message_count"] for info in infos)
    for i, topic in enumerate(whole["topics_with_message_count"]):
        topic["message_count"] = sum(info["topics_with_message_count"][i]["message_count"] for info in infos)
    (out / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": whole}))


def numbers_of(path):
    """The numbers that a bag gives, and the BagError that follows them."""
    found = []
    try:
        for topic, _, message in read(path, STORE, {"/number", "/image"}):
            if topic == "/number":
                found.append(int(message.data))
    except BagError as error:
        return found, str(error)
    return found, None


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def damaged_split(tmp_path, storage, compressed, share):
    for i in range(2):
        write(tmp_path / f"part{i}", range(30 * i, 30 * i + 30), storage, compressed)
    join([tmp_path / "part0", tmp_path / "part1"], tmp_path / "bag")
    (last,) = (tmp_path / "bag").glob("part1.*")
    cut(last, share)
    return tmp_path / "bag", last.name


@pytest.mark.parametrize("version", [4, 5, 7, 8, 9])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_every_version_of_the_metadata_is_read(tmp_path, storage, version):
    write(tmp_path / "bag", range(3), storage, version=max(version, 8))
    metadata = tmp_path / "bag" / "metadata.yaml"
    information = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
    information["version"] = version
    for name in (name for name, since in SINCE.items() if version < since):
        del information[name]
    topics = [topic["topic_metadata"] for topic in information["topics_with_message_count"]]
    assert {type(topic["offered_qos_profiles"]) for topic in topics} == {list if version == 9 else str}
    for topic in topics if version < 7 else ():
        del topic["type_description_hash"]
    metadata.write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    assert numbers_of(tmp_path / "bag") == ([0, 1, 2], None)
    with open_bag(tmp_path / "bag") as reader:
        for connection in reader.connections:
            (qos,) = connection.ext.offered_qos_profiles
            assert (qos.reliability, qos.durability, qos.depth) == (QosReliability.RELIABLE, QosDurability.VOLATILE, 10)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_cut_off_last_file_gives_all_before_the_break_and_then_says_so(tmp_path, storage, compressed):
    counts = []
    for share in (0.0, 0.0001, 0.5, 0.95):
        bag, name = damaged_split(tmp_path / str(share), storage, compressed, share)
        found, error = numbers_of(bag)
        assert found == list(range(len(found))), "in order, without gaps"
        counts.append(len(found))
        assert error is not None and name in error and "damaged" in error and "mcap recover" in error
    assert counts[:2] == [30, 30]
    assert 40 <= counts[2] <= 45 and 53 <= counts[3] <= 59


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_single_cut_off_file_is_read_as_far_as_it_goes(tmp_path, storage):
    write(tmp_path / "bag", range(30), storage)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    (file,) = (tmp_path / "bag").iterdir()
    cut(file, 0.7)
    found, error = numbers_of(file)
    assert found == list(range(len(found))) and 16 <= len(found) <= 21
    assert "damaged" in error
    cut(file, 0)
    with pytest.raises(BagError, match=f"nothing can be read from the bag .*{file.name}"), open_bag(file):
        pass


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_damage_in_the_middle_costs_no_later_file(tmp_path, storage):
    for i in range(3):
        write(tmp_path / f"part{i}", range(20 * i, 20 * i + 20), storage)
    join([tmp_path / f"part{i}" for i in range(3)], tmp_path / "bag")
    (middle,) = (tmp_path / "bag").glob("part1.*")
    cut(middle, 0.5)
    found, error = numbers_of(tmp_path / "bag")
    assert found[:20] == list(range(20)) and found[-20:] == list(range(40, 60)) and 44 < len(found) < 60
    assert "part1" in error and "part2" not in error


def test_a_chunk_that_does_not_decompress_is_not_passed_over(tmp_path):
    write(tmp_path / "bag", range(30), compressed=True)
    file = tmp_path / "bag" / "bag.mcap"
    data = bytearray(file.read_bytes())
    data[data.index(b"\x28\xb5\x2f\xfd", len(data) // 2)] ^= 0x10  # zstd's mark of a frame
    file.write_bytes(data)
    found, error = numbers_of(tmp_path / "bag")
    assert found == list(range(len(found))) and 8 <= len(found) < 30
    assert "bag.mcap" in error


def test_a_storage_that_nobody_reads_here_is_named(tmp_path):
    write(tmp_path / "bag", range(2))
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("storage_identifier: mcap", "storage_identifier: rocks"))
    with pytest.raises(BagError, match="storage 'rocks'; mcap and sqlite3 can be read"), open_bag(tmp_path / "bag"):
        pass
    (tmp_path / "photo.mcap").write_bytes(b"\x89PNG\r\n\x1a\n" * 9)
    with pytest.raises(BagError, match="is no mcap file"), open_bag(tmp_path / "photo.mcap"):
        pass


# --- what unpacks to more than it should ------------------------------------------------------------------------------


@pytest.mark.parametrize(("storage", "packed"), [("mcap", True), ("sqlite3", True)])
def test_what_unpacks_to_too_much_ends_the_reading_with_a_sentence(tmp_path, monkeypatch, storage, packed):
    write(tmp_path / "bag", range(8), storage, compressed=packed)
    monkeypatch.setattr("add_ros.bags.unpacking.MOST_BYTES", 200_000)  # an image has more
    found = []
    with (
        open_bag(tmp_path / "bag") as reader,
        pytest.raises(BagError, match="unpacks to more than 0 MB: it is broken, or made to fill the memory"),
    ):
        found.extend(raw_messages(reader))
    assert len(found) < 16


@settings(max_examples=50)
@given(st.binary(max_size=2000), st.integers(1, 4000))
def test_bounded_unpacking_gives_all_that_was_packed_or_refuses(data, most):
    for packed, unpacked in ((zstd.compress(data), unzstd), (lz4.frame.compress(data), unlz4)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("add_ros.bags.unpacking.MOST_BYTES", most)
            if len(data) <= most:
                assert unpacked(packed) == data
            else:
                with pytest.raises(ReaderError):
                    unpacked(packed)


@pytest.mark.parametrize("name", ["topics", "messages"])
def test_a_view_in_place_of_a_table_is_refused(tmp_path, name):
    """One that counts for ever, as it would be read for ever."""
    write(tmp_path / "bag", range(2), "sqlite3")
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3")) as database:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        database.execute(f"ALTER TABLE {name} RENAME TO hidden")
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT "
        database.execute(f"CREATE VIEW {name} AS {endless} {', '.join(f'1 AS {c}' for c in columns)} FROM n")
        database.commit()
    with pytest.raises(BagError, match=f"{name} of bag.db3 is no table but 'CREATE VIEW"), open_bag(tmp_path / "bag"):
        pass
