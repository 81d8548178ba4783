"""Labels that are damaged, malformed or oddly made: the others are exported, and what is wrong is said."""

from types import SimpleNamespace as Of

import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from support import robot_bench
from support.bag_bench import STORE
from support.robot_bench import PERIOD, START, robot_bag

from add_ros import export_bag
from add_ros.bag_export import label_stream
from add_ros.bag_export.journal import read_rows
from add_ros.bag_export.label_stream import LabelStream

STAMPS = [START + i * PERIOD + 30_000_000 for i in range(4)]


def fail(topic, sentence):
    raise AssertionError(f"{topic}: {sentence}")


def with_label_cut(source, target, which):
    """A copy of a bag in which one message of /labels ends too early."""
    with Reader(source) as reader, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        seen = 0
        for connection, time, data in reader.messages():
            if connection.topic == "/labels":
                data = data[:30] if seen == which else data
                seen += 1
            writer.write(made[connection.id], time, data)
    return target


def test_one_malformed_label_message_costs_its_own_image_alone(tmp_path, capsys):
    bag = with_label_cut(robot_bag(tmp_path / "whole", count=4), tmp_path / "bag", 1)
    assert export_bag.main([str(bag), "--out", str(tmp_path / "out")]) == 0
    rows = list(read_rows(tmp_path / "out" / "frames.tsv"))
    assert [row.objects for row in rows if row.id] == [1, None, 1, 1]
    assert "1 with a note: malformed message on /labels" in capsys.readouterr().out


def test_a_break_in_the_labels_that_are_read_ahead_ends_no_export(tmp_path, capsys):
    # Several chunks of the file; for the image at 2 s there are no labels, which are looked for 5 s ahead.
    lost = START + 20 * PERIOD + 30_000_000
    labels = lambda stamp: robot_bench.detection_labels(stamp + (stamp == lost))  # noqa: E731
    bag = robot_bag(tmp_path / "bag", count=150, labels=labels, tf_late=False)
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 7 // 10])
    stream = LabelStream(bag, STORE, {"/labels"}, fail)
    assert stream.at("/labels", STAMPS[0]) is not None and stream.damage is None
    assert stream.at("/labels", STAMPS[0] + 20 * 10**9) is None and "is damaged" in stream.damage
    assert export_bag.main([str(bag), "--out", str(tmp_path / "out"), "--every", "10"]) == 0
    rows = [row for row in read_rows(tmp_path / "out" / "frames.tsv") if row.id]
    assert 4 <= len(rows) < 15 and [row.stamp for row in rows if row.objects is None] == [lost]
    assert "is damaged" in capsys.readouterr().out


def clear_all_first(stamp):
    """Markers as they are usually published: a DELETEALL without a stamp, then the boxes."""
    message = robot_bench.marker_labels(stamp)
    (first, *_) = robot_bench.marker_labels(0).markers
    first.action = 3
    message.markers.insert(0, first)
    return message


def text_first(stamp):
    message = robot_bench.marker_labels(stamp)
    (_, text) = robot_bench.marker_labels(stamp + 1).markers
    message.markers.insert(0, text)
    return message


@pytest.mark.parametrize("labels", [clear_all_first, text_first])
def test_markers_have_the_stamp_of_their_first_box(tmp_path, labels):
    bag = robot_bag(tmp_path / "bag", count=4, labels=labels)
    stream = LabelStream(bag, STORE, {"/labels"}, fail)
    assert all(stream.at("/labels", stamp) is not None for stamp in STAMPS)
    assert stream.at("/labels", STAMPS[1] + 1) is None
    assert export_bag.main([str(bag), "--out", str(tmp_path / "out")]) == 0
    assert [row.objects for row in read_rows(tmp_path / "out" / "frames.tsv") if row.id] == [1] * 4


def test_a_malformed_static_transform_hides_none_after_it(tmp_path, capsys):
    whole, bag = robot_bag(tmp_path / "whole", count=2), tmp_path / "bag"
    with Reader(whole) as reader, Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        for connection, time, data in reader.messages():
            if connection.topic == "/tf_static":
                writer.write(made[connection.id], time, data[:10])
            writer.write(made[connection.id], time, data)
    for source, out in ((whole, "a"), (bag, "b")):
        assert export_bag.main([str(source), "--out", str(tmp_path / out)]) == 0
    assert "malformed message on /tf_static" in capsys.readouterr().out
    scans = [sorted((tmp_path / out / "training" / "velodyne").iterdir()) for out in "ab"]
    assert len(scans[0]) == 2 and [f.read_bytes() for f in scans[0]] == [f.read_bytes() for f in scans[1]]


def test_what_an_earlier_run_exported_is_read_past_and_not_held(tmp_path, monkeypatch):
    """A stream that is first asked for the last stamp holds as little as one that was asked for each."""
    held = []

    def recorded(*_):
        for i in range(2000):
            stamp = Of(sec=i // 10, nanosec=i % 10 * 100_000_000)
            held.append(len(stream._held))
            yield Of(topic="/labels"), 0, Of(header=Of(stamp=stamp), number=i)

    monkeypatch.setattr(label_stream, "readable_messages", recorded)
    for asked in (range(2000), [1999]):
        del held[:]
        stream = LabelStream(tmp_path, STORE, {"/labels"}, fail)
        assert all(stream.at("/labels", i * 100_000_000)[0].number == i for i in asked)
        assert len(held) == 2000 and max(held) < 200


def stream_of(monkeypatch, folder, stamps):
    """Of labels with these stamps in 0.1 s, in their order."""

    def recorded(*_):
        for i, tenth in enumerate(stamps):
            yield Of(topic="/labels"), 0, Of(header=Of(stamp=Of(sec=tenth // 10, nanosec=tenth % 10 * 10**8)), number=i)

    monkeypatch.setattr(label_stream, "readable_messages", recorded)
    return LabelStream(folder, STORE, {"/labels"}, fail)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("labelled", [1, 3])
def test_a_clock_that_is_set_back_loses_no_labels(tmp_path, monkeypatch, every, labelled):
    """By a minute halfway, of images and labels alike, of which each or each third has labels."""
    images = [*range(1000, 1500), *range(900, 1400)]
    stream = stream_of(monkeypatch, tmp_path, images[::labelled])
    for place in range(0, len(images), every):
        found = stream.at("/labels", images[place] * 10**8)
        assert found is not None or place % labelled, (place, images[place])


def test_one_label_from_the_future_loses_no_others(tmp_path, monkeypatch):
    stamps = list(range(1000, 1400))
    stream = stream_of(monkeypatch, tmp_path, [*stamps[:50], 99_999, *stamps[50:]])
    assert all(stream.at("/labels", tenth * 10**8) is not None for tenth in stamps)
    stream = stream_of(monkeypatch, tmp_path, [*stamps[:50:2], 99_999, *stamps[50::2]])
    found = [stream.at("/labels", tenth * 10**8) is not None for tenth in stamps]
    assert found == [True, False] * 200


def test_one_image_from_the_future_loses_no_labels(tmp_path, monkeypatch):
    stamps = list(range(1000, 1400))
    stream = stream_of(monkeypatch, tmp_path, stamps)
    for tenth in [*stamps[:50], 99_999, *stamps[50:]]:
        assert (stream.at("/labels", tenth * 10**8) is not None) == (tenth != 99_999)
